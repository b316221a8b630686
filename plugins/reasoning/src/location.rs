//! One page has many addresses. Here they become one, so that a page is read once.

/// Parameters that say where a reader came from, and nothing about the page.
const TRACKING: &[&str] = &[
    "fbclid", "gclid", "dclid", "msclkid", "yclid", "igshid", "mc_cid", "mc_eid", "ref", "ref_src", "referrer", "spm",
    "_ga", "_gl", "_hsenc", "_hsmi", "mkt_tok", "si",
];
/// What a folder shows when no file is asked for.
const INDEXES: &[&str] = &["index.html", "index.htm", "index.php"];

/// The same for all ways to write one location: without scheme, `www.`, fragment, tracking parameters, `index.html` and the slash at
/// its end.
#[must_use]
pub fn key(location: &str) -> String {
    let bare = location.trim().split('#').next().unwrap_or_default();
    let (address, query) = bare.split_once('?').unwrap_or((bare, ""));
    let (host, path) = match address.split_once("://") {
        Some((scheme, rest)) if !scheme.eq_ignore_ascii_case("file") => {
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            let host = host.to_ascii_lowercase();
            let host = host.strip_suffix(":443").or_else(|| host.strip_suffix(":80")).unwrap_or(&host);
            (Some(host.strip_prefix("www.").unwrap_or(host).to_owned()), path)
        }
        _ => (None, address),
    };
    let path = match path.rsplit_once('/') {
        Some((folder, file)) if INDEXES.contains(&file) => folder,
        None if INDEXES.contains(&path) && host.is_some() => "",
        _ => path,
    };
    let path = path.trim_end_matches('/');
    let mut kept: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty() && !is_tracking(pair)).collect();
    kept.sort_unstable();
    let query = if kept.is_empty() { String::new() } else { format!("?{}", kept.join("&")) };
    match host {
        Some(host) => format!("{host}/{path}{query}"),
        None => format!("{path}{query}"),
    }
}

fn is_tracking(pair: &str) -> bool {
    let name = pair.split('=').next().unwrap_or_default().to_ascii_lowercase();
    name.starts_with("utm_") || TRACKING.contains(&name.as_str())
}

/// An address on the web, and not a path within a corpus.
#[must_use]
pub fn is_web(location: &str) -> bool {
    location.starts_with("https://") || location.starts_with("http://")
}

/// The whole of a book or a manual on one page, made for printers. What stands in it stands on the pages themselves, too.
#[must_use]
pub fn is_print_edition(location: &str) -> bool {
    let key = key(location);
    let file = key.rsplit('/').next().unwrap_or_default();
    matches!(file, "print.html" | "print.htm" | "print" | "singlehtml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_page_has_one_key_however_its_url_is_written() {
        let same = [
            "https://www.Example.com/a/#top",
            "http://example.com/a",
            "http://example.com:80/a/index.html",
            "https://example.com:443/a?utm_source=x&fbclid=9",
        ];
        for url in same {
            assert_eq!(key(url), "example.com/a", "{url}");
        }
        assert_eq!(key("https://example.com"), key("https://example.com/index.html"));
        assert_eq!(key("https://example.com/?b=2&a=1"), key("http://example.com?a=1&b=2&gclid=7"));
        assert_eq!(key("guide/index.html"), key("guide/"));
    }

    #[test]
    fn other_pages_have_other_keys() {
        assert_ne!(key("https://example.com/A"), key("https://example.com/a"));
        assert_ne!(key("https://example.com/?page=1"), key("https://example.com/?page=2"));
        assert_ne!(key("https://example.com:8080/a"), key("https://example.com/a"));
        assert_eq!(key("index.html"), "index.html", "the first file of a corpus");
    }

    #[test]
    fn the_print_edition_of_a_book_is_known() {
        assert!(is_print_edition("book/print.html#ch4") && is_print_edition("https://doc.example.com/book/print.html"));
        assert!(!is_print_edition("book/printing.html"));
    }
}
