//! What lies over a page: what was filled into its fields, and where its links lead.

use lopdf::{Dictionary, Object, ObjectId, Stream};

use crate::pdf::page::{PageReader, Run};

/// More than these lie over no page.
const MAX_ANNOTATIONS: usize = 5_000;
/// A longer address is not for reading.
const MAX_ADDRESS_BYTES: usize = 500;
/// Pieces of text of one page that are looked at for what lies under its links. Beyond that, the links are not told.
const MAX_LOOKED_AT: usize = 30_000_000;
/// Bits of an annotation's flags: not to be seen at all, or not on a screen.
const UNSEEN: i64 = 0b10_0010;

/// Where something lies: left, lower, right and upper border.
type Place = [f32; 4];

/// Reads what lies over `page`, into the runs of its reader.
pub(crate) fn read(reader: &mut PageReader<'_, '_>, page: ObjectId) {
    let document = reader.document();
    let listed =
        document.get_dictionary(page).and_then(|page| page.get_deref(b"Annots", document)).and_then(Object::as_array);
    let mut links: Vec<(Place, String)> = Vec::new();
    for annotation in listed.into_iter().flatten().take(MAX_ANNOTATIONS) {
        let Ok(annotation) = document.dereference(annotation).and_then(|(_, annotation)| annotation.as_dict()) else {
            continue;
        };
        let kind = annotation.get_deref(b"Subtype", document).and_then(Object::as_name).unwrap_or_default();
        let flags = annotation.get_deref(b"F", document).and_then(Object::as_i64).unwrap_or(0);
        let Some(place) = place(reader, annotation).filter(|_| flags & UNSEEN == 0) else { continue };
        match kind {
            b"Link" => links.extend(address(reader, annotation).map(|address| (place, address))),
            b"Widget" | b"FreeText" => draw(reader, annotation, place),
            _ => {}
        }
    }
    // Words that go on in the next line have a link in each, and their address is said at their end.
    let (mut words, mut looked_at) = (String::new(), 0_usize);
    for (n, (place, address)) in links.iter().enumerate() {
        let runs = reader.runs_mut();
        looked_at = looked_at.saturating_add(runs.len());
        if looked_at > MAX_LOOKED_AT {
            break;
        }
        let last = take_words(runs, *place, &mut words);
        if links.get(n + 1).is_some_and(|(_, next)| next == address) {
            continue;
        }
        if let Some(last) = last.filter(|_| !says(&words, address)) {
            last.text.push_str(&format!(" <{address}>"));
        }
        words.clear();
    }
}

fn place(reader: &PageReader<'_, '_>, annotation: &Dictionary) -> Option<Place> {
    let document = reader.document();
    let rectangle = annotation.get_deref(b"Rect", document).and_then(Object::as_array).ok()?;
    let numbers: Vec<f32> = rectangle.iter().filter_map(|number| number.as_float().ok()).collect();
    let [a, b, c, d] = numbers.try_into().ok()?;
    Some([f32::min(a, c), f32::min(b, d), f32::max(a, c), f32::max(b, d)])
}

/// Where a link leads on the web; none where it leads to another page of the file, or is for sending mail.
fn address(reader: &PageReader<'_, '_>, link: &Dictionary) -> Option<String> {
    let document = reader.document();
    let action = link.get_deref(b"A", document).and_then(Object::as_dict).ok()?;
    let Object::String(address, _) = action.get_deref(b"URI", document).ok()? else { return None };
    let address = std::str::from_utf8(address).ok()?.trim();
    let is_plain = address.len() <= MAX_ADDRESS_BYTES && !address.contains(['<', '>', ' ', '\n']);
    (is_plain && address.starts_with("http")).then(|| address.to_owned())
}

/// Takes the words that a link lies over, and finds the last of their runs, where there is a place for its address behind them.
fn take_words<'r>(runs: &'r mut [Run], [left, lower, right, upper]: Place, words: &mut String) -> Option<&'r mut Run> {
    let is_over = |run: &Run| {
        let (x, y) = ((run.from.0 + run.to.0) / 2.0, (run.from.1 + run.to.1) / 2.0);
        x > left && x < right && y > lower - 0.3 * run.size && y < upper
    };
    let mut last: Option<&mut Run> = None;
    for run in runs.iter_mut().filter(|run| is_over(run)) {
        // In more words than an address can have, nobody looks for one.
        let room = (2 * MAX_ADDRESS_BYTES).saturating_sub(words.len());
        words.extend(run.text.chars().take(room));
        if last.as_ref().is_none_or(|last| run.to.0 >= last.to.0) {
            last = Some(run);
        }
    }
    // A line that goes on behind the link was drawn as one.
    last.filter(|run| run.to.0 < right + run.size)
}

/// Whether a link's words are its address.
fn says(words: &str, address: &str) -> bool {
    let bare = |text: &str| -> String {
        let text = text.trim().trim_start_matches("https:").trim_start_matches("http:").trim_start_matches('/');
        let text = text.trim_start_matches("www.");
        text.chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_lowercase()
    };
    bare(words).contains(&bare(address))
}

/// Draws what a field shows.
fn draw<'d>(reader: &mut PageReader<'d, '_>, annotation: &'d Dictionary, [left, lower, ..]: Place) {
    let document = reader.document();
    let Some(looks) = annotation.get_deref(b"AP", document).and_then(Object::as_dict).ok() else { return };
    let Ok(shown) = looks.get(b"N") else { return };
    let state = annotation.get_deref(b"AS", document).and_then(Object::as_name).ok();
    let form = |object: &'d Object| -> Option<(ObjectId, &'d Stream)> {
        let id = object.as_reference().ok()?;
        Some((id, document.get_object(id).ok()?.as_stream().ok()?))
    };
    // A box to tick has a look for each of its states.
    let states = document.dereference(shown).ok().and_then(|(_, states)| states.as_dict().ok());
    let form = states.and_then(|states| states.get(state?).ok()).and_then(form).or_else(|| form(shown));
    let Some((id, form)) = form else { return };
    let corner = form.dict.get_deref(b"BBox", document).and_then(Object::as_array).ok();
    let corner = |n: usize| corner.and_then(|corner| corner.get(n)?.as_float().ok()).unwrap_or(0.0);
    reader.draw_at(id, form, (left - corner(0), lower - corner(1)));
}
