//! `robots.txt`, by RFC 9309: which paths of a site its owner closes to us. Its rules are matched here and not by a library that
//! makes a regular expression of each: a site may have thousands, and every call reads them anew.

use serde::{Deserialize, Serialize};
use vivarium_sdk::http::{HttpError, Request, Url, get_following};
use vivarium_sdk::tool::ToolError;

use crate::page;
use crate::world::{World, short};

/// What names us in a robots.txt.
pub(crate) const AGENT: &str = "vivarium";
/// The RFC has at least so much read.
const MAX_BYTES: usize = 500 << 10;
/// One value of the state; larger rules are asked for each time.
const MAX_KEPT_BYTES: usize = 60 << 10;
const MAX_REDIRECTS: usize = 5;
/// The RFC has it asked for again after a day.
const KEPT_MS: u64 = 24 * 3600 * 1000;
/// A site that did not answer may soon.
const KEPT_FAILED_MS: u64 = 5 * 60 * 1000;
const TIMEOUT_MS: u32 = 10_000;
/// A longer delay is asked of crawlers, and no call can keep it.
const MAX_DELAY_MS: u64 = 30_000;

/// What a site says to us.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Rules {
    /// Whether a path is open, and which.
    rules: Vec<(bool, String)>,
    /// Between two requests, where the site asks for it.
    pub(crate) delay_ms: Option<u64>,
    /// The site could not say: everything is closed.
    unreachable: bool,
}

/// Rules as they are kept between calls.
#[derive(Serialize, Deserialize)]
struct Kept {
    until_ms: u64,
    rules: Rules,
}

/// What the site of `url` says, from memory or from the site.
///
/// # Errors
/// When the host does not let us ask there.
pub(crate) fn rules(world: &mut impl World, url: &Url) -> Result<Rules, ToolError> {
    let Ok(place) = url.join("/robots.txt") else { return Ok(Rules::default()) };
    let key = format!("r:{}", short(place.as_str()));
    let now = world.now_ms();
    let kept = world.get(&key).and_then(|bytes| serde_json::from_slice::<Kept>(&bytes).ok());
    // What is kept for longer than we keep is from a clock that was set back since.
    if let Some(kept) = kept.filter(|kept| kept.until_ms > now && kept.until_ms <= now + KEPT_MS) {
        return Ok(kept.rules);
    }
    let mut request = crate::request(place);
    (request.max_body_bytes, request.timeout_ms) = (MAX_BYTES, TIMEOUT_MS);
    let rules = ask(world, request)?;
    let until_ms = now + if rules.unreachable { KEPT_FAILED_MS } else { KEPT_MS };
    if let Ok(bytes) = serde_json::to_vec(&Kept { until_ms, rules: rules.clone() })
        && bytes.len() <= MAX_KEPT_BYTES
    {
        world.set(&key, bytes);
    }
    Ok(rules)
}

fn ask(world: &mut impl World, request: Request) -> Result<Rules, ToolError> {
    let asked = request.url.host_str().map(str::to_owned);
    let closed = Rules { unreachable: true, ..Rules::default() };
    match get_following(world, request, MAX_REDIRECTS) {
        Ok(response) => Ok(match response.status {
            200..=299 => match page::unpacked(&response) {
                Ok(body) => Rules::read(&String::from_utf8_lossy(body.get(..MAX_BYTES).unwrap_or(&body))),
                // What it closes is there, and can not be known.
                Err(_) => closed,
            },
            // The site works and has none: everything is open.
            300..=499 if response.status != 429 => Rules::default(),
            _ => closed,
        }),
        // A host that we may not ask is refused for the page's sake, in the host's own words.
        Err(HttpError::Denied(why)) if asked.is_some_and(|host| why.contains(&host)) => Err(ToolError::Denied(why)),
        Err(HttpError::Unavailable(_)) => Ok(closed),
        Err(HttpError::Denied(_) | HttpError::InvalidUrl(_) | HttpError::TooManyRedirects(_)) => Ok(Rules::default()),
    }
}

impl Rules {
    /// The rules of the groups that name us, else of those for everybody.
    fn read(text: &str) -> Self {
        let (mut ours, mut everybodys) = (None::<Self>, Self::default());
        let (mut in_ours, mut in_everybodys, mut in_names) = (false, false, false);
        for line in text.trim_start_matches('\u{feff}').lines() {
            let line = line.split('#').next().unwrap_or_default();
            let Some((name, value)) = line.split_once(':') else { continue };
            let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
            if name == "user-agent" {
                if !in_names {
                    (in_ours, in_everybodys) = (false, false);
                }
                in_names = true;
                in_everybodys |= value == "*";
                if is_us(value) {
                    in_ours = true;
                    ours.get_or_insert_default();
                }
                continue;
            }
            let rule = match name.as_str() {
                "allow" => Some((true, value)),
                "disallow" => Some((false, value)),
                "crawl-delay" => None,
                // A line of another kind, such as a sitemap's, ends no group.
                _ => continue,
            };
            in_names = false;
            let groups = [(in_ours, ours.as_mut()), (in_everybodys, Some(&mut everybodys))];
            for group in groups.into_iter().filter_map(|(is_in, group)| group.filter(|_| is_in)) {
                match rule {
                    // An empty path closes nothing.
                    Some((_, "")) => {}
                    Some((open, path)) => group.rules.push((open, unescaped(path))),
                    None => group.delay_ms = value.parse().ok().and_then(milliseconds).or(group.delay_ms),
                }
            }
        }
        ours.unwrap_or(everybodys)
    }

    /// Whether the page at `url` is open to us: the longest rule that fits decides, and among equal ones the opening one.
    pub(crate) fn allow(&self, url: &Url) -> bool {
        if self.unreachable {
            return false;
        }
        let path = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let path = unescaped(&path);
        let fitting = self.rules.iter().filter(|(_, pattern)| fits(pattern.as_bytes(), path.as_bytes()));
        fitting.map(|(open, pattern)| (pattern.len(), *open)).max().is_none_or(|(_, open)| open)
    }

    /// Why a page is closed.
    pub(crate) fn refusal(&self, url: &Url) -> ToolError {
        if self.unreachable {
            return ToolError::Unavailable(format!(
                "the robots.txt of {} can not be had at present, so the site is taken for closed: try again later, or another source",
                url.host_str().unwrap_or_default()
            ));
        }
        ToolError::Denied(format!(
            "the site's robots.txt closes {url} to programs: take another source, or ask a person to read it"
        ))
    }
}

/// A product's name, whatever version stands behind it.
fn is_us(value: &str) -> bool {
    let token = value.split(|c: char| !c.is_ascii_alphabetic() && c != '-' && c != '_').next().unwrap_or_default();
    token.eq_ignore_ascii_case(AGENT)
}

fn milliseconds(seconds: f64) -> Option<u64> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is positive, and bounded")]
    let ms = (seconds.clamp(0.0, 3600.0) * 1000.0) as u64;
    (seconds.is_finite() && seconds > 0.0).then_some(ms.min(MAX_DELAY_MS))
}

/// Escapes of characters that need none are the characters, so that both ways to write a path are one.
fn unescaped(path: &str) -> String {
    let mut out: Vec<u8> = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let code = after.get(..2).filter(|_| *byte == b'%').and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            // The signs with a meaning in a path or in a rule stay escaped.
            Some(code) if !b"/?#*$%".contains(&code) => {
                out.push(code);
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                out.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Whether a path begins as a rule says: `*` is anything, and `$` at its end is the path's end. Takes at most as many steps as both
/// lengths multiplied.
fn fits(pattern: &[u8], path: &[u8]) -> bool {
    let (pattern, whole) = match pattern.strip_suffix(b"$") {
        Some(pattern) => (pattern, true),
        None => (pattern, false),
    };
    let (mut at, mut in_path) = (0, 0);
    // Where the last star stands, and how much of the path it has taken.
    let mut star: Option<(usize, usize)> = None;
    loop {
        match (pattern.get(at), path.get(in_path)) {
            (Some(b'*'), _) => {
                star = Some((at, in_path));
                at += 1;
            }
            (Some(wanted), Some(found)) if wanted == found => (at, in_path) = (at + 1, in_path + 1),
            (None, _) if !whole || in_path == path.len() => return true,
            _ => match star {
                Some((place, taken)) if taken < path.len() => {
                    star = Some((place, taken + 1));
                    (at, in_path) = (place + 1, taken + 1);
                }
                _ => return false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(robots: &str, path: &str) -> bool {
        Rules::read(robots).allow(&Url::parse("https://example.com").unwrap().join(path).unwrap())
    }

    #[test]
    fn the_longest_rule_of_our_group_decides() {
        let robots = "User-agent: *\nDisallow: /\n\nUser-Agent: other\nUser-agent: Vivarium/1.0\nDisallow: /private\nAllow: /private/open\n\
                      Sitemap: https://example.com/s.xml\nCrawl-delay: 1.5\n";
        assert!(allows(robots, "/") && allows(robots, "/private/open/x"));
        assert!(!allows(robots, "/private/x"));
        assert_eq!(Rules::read(robots).delay_ms, Some(1500));
        let everybody = "user-agent: *\ndisallow: /cgi # not for you\nuser-agent: another\ndisallow: /\n";
        assert!(allows(everybody, "/a") && !allows(everybody, "/cgi/x"));
        assert!(allows("User-agent: *\nDisallow:\n", "/anything"), "an empty path closes nothing");
        assert!(allows("User-agent: *\nDisallow: /a\nAllow: /a\n", "/a"), "of equal rules the opening one counts");
        assert!(allows("<!doctype html><p>Disallow: /</p>", "/"), "a page is no robots.txt");
    }

    #[test]
    fn stars_and_ends_are_matched_and_never_for_long() {
        let robots = "User-agent: *\nDisallow: /*.pdf$\nDisallow: /a*b*c\nDisallow: /caf%C3%A9\n";
        assert!(!allows(robots, "/x/y.pdf") && allows(robots, "/x.pdf?page=1"));
        assert!(!allows(robots, "/a-b-c-d") && allows(robots, "/a-c-b"));
        assert!(!allows(robots, "/café/x"));
        let stars = format!("User-agent: *\nDisallow: /{}x$\n", "a*".repeat(2_000));
        assert!(allows(&stars, &format!("/{}", "a".repeat(8_000))));
    }
}
