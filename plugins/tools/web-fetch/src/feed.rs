//! RSS, Atom and JSON Feed as Markdown: what the feed is, and its entries with their links, dates and summaries.

use quick_xml::Reader;
use quick_xml::escape::{escape, unescape};
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::QName;
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
    // A page's marks that are not escaped: how deep they are, and how many of them are called like the element that holds them.
    let (mut within, mut namesakes) = (0_usize, 0_usize);
    while entries.len() <= MAX_ENTRIES {
        match reader.read_event() {
            Ok(Event::Start(tag)) if path.last().is_some_and(|parent| holds_marks(parent)) => {
                let name = local(tag.name());
                text.push_str(&format!("<{}>", String::from_utf8_lossy(&tag)));
                // Nobody ends what can hold nothing.
                if !is_void(&name) {
                    within += 1;
                    namesakes += usize::from(path.last() == Some(&name));
                }
            }
            Ok(Event::Empty(tag)) if path.last().is_some_and(|parent| holds_marks(parent)) => {
                text.push_str(&format!("<{}>", String::from_utf8_lossy(&tag)));
                // In a page only such elements are empty by themselves: any other would hold all that comes.
                if !is_void(&local(tag.name())) {
                    text.push_str(&format!("</{}>", String::from_utf8_lossy(tag.name().as_ref())));
                }
            }
            Ok(Event::End(tag)) if is_mark_end(&path, &local(tag.name()), namesakes) => {
                let name = local(tag.name());
                if !is_void(&name) {
                    within = within.saturating_sub(1);
                    namesakes -= usize::from(path.last() == Some(&name));
                    text.push_str(&format!("</{}>", String::from_utf8_lossy(&tag)));
                }
            }
            Ok(Event::Start(tag)) => {
                let name = local(tag.name());
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
                    link(now, &local(tag.name()), &tag);
                }
            }
            Ok(Event::Text(piece)) => text.push_str(&piece.decode().unwrap_or_default()),
            // Among marks the text is a page's, in which these signs would be marks, too.
            Ok(Event::CData(piece)) if within > 0 => text.push_str(&escape(piece.decode().unwrap_or_default())),
            Ok(Event::CData(piece)) => text.push_str(&piece.decode().unwrap_or_default()),
            Ok(Event::GeneralRef(name)) => {
                let name = name.decode().unwrap_or_default();
                let reference = format!("&{name};");
                match unescape(&reference) {
                    Ok(character) if within == 0 => text.push_str(&character),
                    _ => text.push_str(&reference),
                }
            }
            Ok(Event::End(_)) => {
                // Marks that nobody has ended end with what holds them.
                (within, namesakes) = (0, 0);
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
    Feed { title: bare(&feed.title), markdown: write(&feed, &entries, url) }
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
            "author" | "itunes:author" if is_own => first(&mut self.author),
            // The whole text where there is a summary, too.
            "description" | "summary" | "subtitle" | "content" | "encoded" | "itunes:summary"
                if is_own && text.len() > self.summary.len() =>
            {
                text.clone_into(&mut self.summary);
            }
            _ => {}
        }
    }
}

/// A name in lower case, without its prefix; with it, where what it names is called like a feed's own element and is another thing.
fn local(name: QName<'_>) -> String {
    let is_other = name.prefix().is_some_and(|prefix| matches!(prefix.as_ref(), b"media" | b"itunes"));
    let name = if is_other { name.into_inner() } else { name.local_name().into_inner() };
    String::from_utf8_lossy(name).to_ascii_lowercase()
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
    Some(unescape(&text).map_or_else(|_| text.clone(), std::borrow::Cow::into_owned))
}

/// Elements whose text may be a page's marks as they are.
fn holds_marks(name: &str) -> bool {
    matches!(name, "content" | "summary" | "title" | "subtitle" | "description" | "encoded")
}

/// Whether an end within `path` is that of a mark, and not that of an element of the feed.
fn is_mark_end(path: &[String], name: &str, namesakes: usize) -> bool {
    let Some(holder) = path.last().filter(|holder| holds_marks(holder)) else { return false };
    if holder == name { namesakes > 0 } else { !path.iter().any(|one| one == name) }
}

/// HTML's elements that have no end.
fn is_void(name: &str) -> bool {
    matches!(
        name,
        "area"
            | "base"
            | "br"
            | "col"
            | "embed"
            | "hr"
            | "img"
            | "input"
            | "link"
            | "meta"
            | "param"
            | "source"
            | "track"
            | "wbr"
    )
}

/// Reads a JSON Feed at `url`; none where the JSON is none.
pub(crate) fn read_json(json: &str, url: &Url) -> Option<Feed> {
    #[derive(Deserialize)]
    struct JsonFeed {
        version: String,
        title: Option<String>,
        description: Option<String>,
        items: Vec<Item>,
    }
    #[derive(Deserialize)]
    struct Item {
        title: Option<String>,
        url: Option<String>,
        external_url: Option<String>,
        content_html: Option<String>,
        content_text: Option<String>,
        summary: Option<String>,
        date_published: Option<String>,
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
            title: item.title.unwrap_or_default(),
            link: item.url.or(item.external_url),
            date: item.date_published.unwrap_or_default(),
            author: authors.collect::<Vec<_>>().join(", "),
            summary: item.content_html.or(item.content_text).or(item.summary).unwrap_or_default(),
            ..Entry::default()
        }
    };
    let entries: Vec<Entry> = feed.items.into_iter().take(MAX_ENTRIES).map(entry).collect();
    let about = Entry {
        title: feed.title.unwrap_or_default(),
        summary: feed.description.unwrap_or_default(),
        ..Entry::default()
    };
    Some(Feed { title: bare(&about.title), markdown: write(&about, &entries, url) })
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
    if is_marked(text) { markdown::fragment(text, url) } else { text.trim().to_owned() }
}

/// A title's words without marks; none where it has none.
fn bare(title: &str) -> Option<String> {
    let words = if is_marked(title) { markdown::words(title) } else { title.to_owned() };
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    (!words.is_empty()).then_some(words)
}

fn is_marked(text: &str) -> bool {
    text.contains('<') || text.contains('&')
}
