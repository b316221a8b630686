//! Pages that were read before: given again while they are fresh, and asked for with their validators when they are not. What a site
//! does not want kept is not kept, and nothing is shared between tenants, because the state that it lies in is not.
//!
//! An entry is its head under `c:KEY` and its text in pieces under `d:KEY:N`. Heads name how many pieces there are, so one that
//! another call has half removed is seen to be none.

use serde::{Deserialize, Serialize};
use vivarium_sdk::http::{Request, Response, Url};
use vivarium_sdk::tool::Document;

use crate::times::ms_until;
use crate::world::{World, short};

/// Pages that are kept; those that were asked for longest ago go first.
const MAX_ENTRIES: usize = 64;
/// Of all of them together.
const MAX_PIECES: u32 = 48;
/// One value of the state.
const PIECE_BYTES: usize = 60 << 10;
/// A longer page would take the place of many.
const MAX_TEXT_BYTES: usize = 480 << 10;
/// Whatever a site says, a page is asked for again after a day.
const MAX_FRESH_MS: u64 = 24 * 3600 * 1000;

/// What is known of a page besides its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    url: String,
    title: String,
    media_type: String,
    etag: Option<String>,
    last_modified: Option<String>,
    /// Until when it is given without asking.
    fresh_until_ms: u64,
    used_ms: u64,
    pieces: u32,
}

/// A page that was read before.
pub(crate) struct Entry {
    head: Head,
    text: String,
}

impl Entry {
    /// What is kept of this URL.
    pub(crate) fn find(world: &mut impl World, url: &Url) -> Option<Self> {
        let url = without_fragment(url);
        let key = short(&url);
        let head: Head = serde_json::from_slice(&world.get(&format!("c:{key}"))?).ok()?;
        if head.url != url {
            return None;
        }
        let mut bytes = Vec::new();
        for piece in 0..head.pieces {
            bytes.append(&mut world.get(&format!("d:{key}:{piece}"))?);
        }
        Some(Self { head, text: String::from_utf8(bytes).ok()? })
    }

    /// Whether it may be given without asking.
    pub(crate) fn is_fresh(&self, now_ms: u64) -> bool {
        // One that is fresh for longer than any is from a clock that was set back since.
        self.head.fresh_until_ms > now_ms && self.head.fresh_until_ms <= now_ms + MAX_FRESH_MS
    }

    /// The request that asks whether it is still so.
    pub(crate) fn ask(&self, mut request: Request) -> Request {
        if let Some(etag) = &self.head.etag {
            request = request.header("if-none-match", etag);
        }
        if let Some(time) = &self.head.last_modified {
            request = request.header("if-modified-since", time);
        }
        request
    }

    /// The document, and a note that it was used. `answer` is the server's word that it is still so.
    pub(crate) fn give(mut self, world: &mut impl World, url: &Url, answer: Option<&Response>) -> Document {
        let now = world.now_ms();
        if let Some(answer) = answer {
            self.head.fresh_until_ms = now + Policy::of(answer, now).fresh_ms;
        }
        self.head.used_ms = now;
        if let Ok(head) = serde_json::to_vec(&self.head) {
            world.set(&format!("c:{}", short(&self.head.url)), head);
        }
        let Head { title, media_type, .. } = self.head;
        Document { title, location: url.to_string(), media_type, text: self.text }
    }
}

/// Keeps a page, if the site lets us and there is room.
pub(crate) fn keep(world: &mut impl World, response: &Response, document: &Document) {
    let url = without_fragment(&response.url);
    let key = short(&url);
    let now = world.now_ms();
    let policy = Policy::of(response, now);
    let (etag, last_modified) = (owned(response, "etag"), owned(response, "last-modified"));
    let is_of_use = policy.fresh_ms > 0 || etag.is_some() || last_modified.is_some();
    remove(world, &key);
    if !policy.may_be_kept || !is_of_use || response.truncated || document.text.len() > MAX_TEXT_BYTES {
        return;
    }
    let pieces: Vec<&[u8]> = document.text.as_bytes().chunks(PIECE_BYTES).collect();
    let Ok(count) = u32::try_from(pieces.len()) else { return };
    make_room(world, count);
    for (n, piece) in pieces.into_iter().enumerate() {
        if !world.set(&format!("d:{key}:{n}"), piece.to_vec()) {
            remove_pieces(world, &key);
            return;
        }
    }
    let head = Head {
        url,
        title: document.title.clone(),
        media_type: document.media_type.clone(),
        etag,
        last_modified,
        fresh_until_ms: now + policy.fresh_ms,
        used_ms: now,
        pieces: count,
    };
    let kept = serde_json::to_vec(&head).is_ok_and(|head| world.set(&format!("c:{key}"), head));
    if !kept {
        remove_pieces(world, &key);
    }
}

/// Removes what was used longest ago until an entry of so many pieces fits.
fn make_room(world: &mut impl World, pieces: u32) {
    let keys = world.list("c:");
    let mut heads: Vec<(u64, u32, String)> = Vec::with_capacity(keys.len());
    for key in keys {
        let head = world.get(&key).and_then(|bytes| serde_json::from_slice::<Head>(&bytes).ok());
        let key = key.trim_start_matches("c:").to_owned();
        heads.push(head.map_or((0, 0, key.clone()), |head| (head.used_ms, head.pieces, key)));
    }
    heads.sort_unstable();
    let mut held: u32 = heads.iter().map(|(_, pieces, _)| pieces).sum();
    let mut left = heads.len();
    for (_, freed, key) in heads {
        if left < MAX_ENTRIES && held + pieces <= MAX_PIECES {
            return;
        }
        remove(world, &key);
        left -= 1;
        held -= freed;
    }
}

fn remove(world: &mut impl World, key: &str) {
    if world.get(&format!("c:{key}")).is_some() {
        world.delete(&format!("c:{key}"));
        remove_pieces(world, key);
    }
}

fn remove_pieces(world: &mut impl World, key: &str) {
    for piece in world.list(&format!("d:{key}:")) {
        world.delete(&piece);
    }
}

/// What a site says about keeping a page.
struct Policy {
    may_be_kept: bool,
    fresh_ms: u64,
}

impl Policy {
    fn of(response: &Response, now_ms: u64) -> Self {
        let control = response.header("cache-control").unwrap_or_default().to_ascii_lowercase();
        let directives: Vec<&str> = control.split(',').map(str::trim).collect();
        let has = |name: &str| directives.iter().any(|one| *one == name || one.starts_with(&format!("{name}=")));
        let varies = response
            .header("vary")
            .is_some_and(|vary| vary.contains('*') || vary.to_ascii_lowercase().contains("cookie"));
        let may_be_kept = response.status < 300 && !has("no-store") && !has("private") && !varies;
        let seconds =
            directives.iter().find_map(|one| one.strip_prefix("max-age=")?.trim_matches('"').parse::<u64>().ok());
        let whole_ms = match seconds {
            Some(seconds) => seconds.saturating_mul(1000),
            // The older way to say it; what is no date there, such as 0, means that it is over.
            None => response.header("expires").and_then(|date| ms_until(response, date, now_ms)).unwrap_or(0),
        };
        let age: u64 = response.header("age").and_then(|age| age.trim().parse().ok()).unwrap_or(0);
        let fresh_ms = if has("no-cache") { 0 } else { whole_ms.saturating_sub(age.saturating_mul(1000)) };
        Self { may_be_kept, fresh_ms: fresh_ms.min(MAX_FRESH_MS) }
    }
}

fn owned(response: &Response, header: &str) -> Option<String> {
    response.header(header).map(str::to_owned).filter(|value| !value.is_empty() && value.len() <= 1024)
}

fn without_fragment(url: &Url) -> String {
    let mut url = url.clone();
    url.set_fragment(None);
    url.into()
}
