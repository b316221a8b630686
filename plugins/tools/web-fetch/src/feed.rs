//! RSS, Atom and JSON Feed as Markdown: what the feed is, and its entries with their links, dates and summaries.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use serde::Deserialize;
use vivarium_sdk::http::Url;

use crate::markdown;

/// A feed of a site's whole history says nothing more in its later entries.
const MAX_ENTRIES: usize = 100;
/// Of one entry: the rest is at its link.
const MAX_SUMMARY_BYTES: usize = 4 << 10;

/// A feed as it is read.
pub(crate) struct Feed {
    pub(crate) title: Option<String>,
    pub(crate) markdown: String,
}

#[derive(Default)]
struct Entry {
    title: String,
    link: Option<String>,
    date: String,
    author: String,
    summary: String,
    /// Its `guid` is an address.
    has_lasting_guid: bool,
    guid: Option<String>,
}

/// Reads a feed at `url`; one that is broken is read as far as it is whole.
pub(crate) fn read(xml: &str, url: &Url) -> Feed {
    let mut reader = Reader::from_str(xml);
    let config = reader.config_mut();
    config.check_end_names = false;
    config.allow_unmatched_ends = true;
    config.allow_dangling_amp = true;
    let (mut feed, mut entries) = (Entry::default(), Vec::<Entry>::new());
    let mut path: Vec<String> = Vec::new();
    let mut in_entry = false;
    let mut text = String::new();
    // A page's marks that are not escaped, and how deep they are.
    let mut within = 0_usize;
    while entries.len() <= MAX_ENTRIES {
        match reader.read_event() {
            Ok(Event::Start(tag)) if within > 0 || path.last().is_some_and(|parent| holds_marks(parent)) => {
                within += 1;
                text.push_str(&format!("<{}>", String::from_utf8_lossy(&tag)));
            }
            Ok(Event::Empty(tag)) if path.last().is_some_and(|parent| holds_marks(parent)) => {
                text.push_str(&format!("<{}>", String::from_utf8_lossy(&tag)));
            }
            Ok(Event::End(tag)) if within > 0 => {
                within -= 1;
                text.push_str(&format!("</{}>", String::from_utf8_lossy(&tag)));
            }
            Ok(Event::Start(tag)) => {
                let name = local(&tag);
                if matches!(name.as_str(), "item" | "entry") {
                    entries.push(Entry::default());
                    in_entry = true;
                }
                let now = if in_entry { entries.last_mut() } else { Some(&mut feed) };
                if let Some(now) = now {
                    link(now, &name, &tag);
                    if name == "guid" {
                        now.has_lasting_guid = attribute(&tag, "isPermaLink").is_none_or(|lasts| lasts != "false");
                    }
                }
                text.clear();
                path.push(name);
            }
            Ok(Event::Empty(tag)) => {
                let now = if in_entry { entries.last_mut() } else { Some(&mut feed) };
                if let Some(now) = now {
                    link(now, &local(&tag), &tag);
                }
            }
            Ok(Event::Text(piece)) => text.push_str(&piece.decode().unwrap_or_default()),
            Ok(Event::CData(piece)) => text.push_str(&piece.decode().unwrap_or_default()),
            Ok(Event::GeneralRef(name)) => {
                let name = name.decode().unwrap_or_default();
                let reference = format!("&{name};");
                match quick_xml::escape::unescape(&reference) {
                    Ok(character) => text.push_str(&character),
                    Err(_) => text.push_str(&reference),
                }
            }
            Ok(Event::End(_)) => {
                let Some(name) = path.pop() else { continue };
                if matches!(name.as_str(), "item" | "entry") {
                    in_entry = false;
                    continue;
                }
                let parent = path.last().map(String::as_str).unwrap_or_default();
                let now = if in_entry { entries.last_mut() } else { Some(&mut feed) };
                if let Some(now) = now {
                    now.take(&name, parent, text.trim());
                }
                text.clear();
            }
            Ok(Event::Eof) | Err(_) => break,
            Ok(_) => {}
        }
    }
    entries.truncate(MAX_ENTRIES);
    let title = Some(feed.title.clone()).filter(|title| !title.is_empty());
    Feed { title, markdown: write(&feed, &entries, url) }
}

impl Entry {
    fn take(&mut self, name: &str, parent: &str, text: &str) {
        if text.is_empty() {
            return;
        }
        let is_own = matches!(parent, "item" | "entry" | "channel" | "feed" | "rdf");
        let first = |slot: &mut String| {
            if slot.is_empty() {
                text.clone_into(slot);
            }
        };
        match name {
            "title" if is_own => first(&mut self.title),
            "link" if is_own && self.link.is_none() => self.link = Some(text.to_owned()),
            "guid" if is_own && self.has_lasting_guid && text.starts_with("http") => self.guid = Some(text.to_owned()),
            "pubdate" | "published" | "date" | "issued" | "created" if is_own => first(&mut self.date),
            "updated" | "lastbuilddate" | "modified" if is_own => first(&mut self.date),
            "name" if parent == "author" => first(&mut self.author),
            "creator" => first(&mut self.author),
            "author" if is_own => first(&mut self.author),
            // The whole text where there is a summary, too.
            "description" | "summary" | "subtitle" | "content" | "encoded"
                if is_own && text.len() > self.summary.len() =>
            {
                text.clone_into(&mut self.summary);
            }
            _ => {}
        }
    }
}

/// A tag's name without its prefix, in lower case.
fn local(tag: &BytesStart<'_>) -> String {
    String::from_utf8_lossy(tag.local_name().as_ref()).to_ascii_lowercase()
}

/// Atom's links are attributes.
fn link(entry: &mut Entry, name: &str, tag: &BytesStart<'_>) {
    if name != "link" {
        return;
    }
    let is_page = attribute(tag, "rel").is_none_or(|rel| rel == "alternate");
    if let Some(href) = attribute(tag, "href").filter(|_| is_page && entry.link.is_none()) {
        entry.link = Some(href);
    }
}

fn attribute(tag: &BytesStart<'_>, key: &str) -> Option<String> {
    let mut attributes = tag.attributes();
    let attribute =
        attributes.with_checks(false).flatten().find(|attribute| attribute.key.as_ref() == key.as_bytes())?;
    let text = String::from_utf8_lossy(&attribute.value).into_owned();
    Some(quick_xml::escape::unescape(&text).map_or_else(|_| text.clone(), std::borrow::Cow::into_owned))
}

/// Elements whose text may be a page's marks as they are.
fn holds_marks(name: &str) -> bool {
    matches!(name, "content" | "summary" | "title" | "subtitle" | "description" | "encoded")
}

/// Reads a JSON Feed at `url`; none where the JSON is none.
pub(crate) fn read_json(json: &str, url: &Url) -> Option<Feed> {
    #[derive(Deserialize)]
    struct JsonFeed {
        version: String,
        #[serde(default)]
        title: String,
        #[serde(default)]
        description: String,
        items: Vec<Item>,
    }
    #[derive(Deserialize)]
    struct Item {
        #[serde(default)]
        title: String,
        url: Option<String>,
        external_url: Option<String>,
        content_html: Option<String>,
        content_text: Option<String>,
        summary: Option<String>,
        #[serde(default)]
        date_published: String,
        author: Option<Author>,
        authors: Option<Vec<Author>>,
    }
    #[derive(Deserialize)]
    struct Author {
        name: Option<String>,
    }
    let feed: JsonFeed = serde_json::from_str(json).ok()?;
    if !feed.version.contains("jsonfeed.org/version/") {
        return None;
    }
    let entry = |item: Item| {
        let authors = item.authors.into_iter().flatten().chain(item.author).filter_map(|author| author.name);
        Entry {
            title: item.title,
            link: item.url.or(item.external_url),
            date: item.date_published,
            author: authors.collect::<Vec<_>>().join(", "),
            summary: item.content_html.or(item.content_text).or(item.summary).unwrap_or_default(),
            ..Entry::default()
        }
    };
    let entries: Vec<Entry> = feed.items.into_iter().take(MAX_ENTRIES).map(entry).collect();
    let title = Some(feed.title.clone()).filter(|title| !title.is_empty());
    let about = Entry { title: feed.title, summary: feed.description, ..Entry::default() };
    Some(Feed { title, markdown: write(&about, &entries, url) })
}

fn write(feed: &Entry, entries: &[Entry], url: &Url) -> String {
    let mut out = String::new();
    let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    if !feed.title.is_empty() {
        out.push_str(&format!("# {}\n\n", flat(&plain(&feed.title, url))));
    }
    if !feed.summary.is_empty() {
        out.push_str(&format!("{}\n\n", plain(&feed.summary, url)));
    }
    for entry in entries {
        let title = if entry.title.is_empty() { "Without a title".to_owned() } else { flat(&plain(&entry.title, url)) };
        match entry.link.as_ref().or(entry.guid.as_ref()).and_then(|link| url.join(link).ok()) {
            Some(link) => out.push_str(&format!("## [{title}]({link})\n\n")),
            None => out.push_str(&format!("## {title}\n\n")),
        }
        let about: Vec<&str> =
            [entry.date.as_str(), entry.author.as_str()].into_iter().filter(|text| !text.is_empty()).collect();
        if !about.is_empty() {
            out.push_str(&format!("*{}*\n\n", flat(&about.join(" · "))));
        }
        if !entry.summary.is_empty() {
            let summary = plain(&entry.summary, url);
            out.push_str(vivarium_sdk::excerpt::beginning(&summary, MAX_SUMMARY_BYTES));
            out.push_str("\n\n");
        }
    }
    out.truncate(out.trim_end().len());
    out
}

/// Texts of feeds are often a page's marks.
fn plain(text: &str, url: &Url) -> String {
    if text.contains('<') || text.contains('&') { markdown::fragment(text, url) } else { text.trim().to_owned() }
}
