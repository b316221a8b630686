//! The names of glyphs: `eacute`, `uni20AC`, `f_f_i`, `A.small`. Fonts name their drawings so, and where a file does not say which
//! characters its codes are, the names do.

use lopdf::{Document, Encoding, Object, dictionary};

/// A longer name is of no glyph.
const MAX_NAME_BYTES: usize = 127;

/// The characters that a glyph of this name stands for; none where the name is made up.
pub(crate) fn text(name: &str) -> Option<String> {
    if name.len() > MAX_NAME_BYTES {
        return None;
    }
    // What is behind a point is how it is drawn.
    let name = name.split('.').next().filter(|name| !name.is_empty())?;
    name.split('_').map(part).collect()
}

/// One of the characters that are drawn as one.
fn part(name: &str) -> Option<String> {
    if let Some(text) = known(name) {
        return Some(text);
    }
    // Small capitals, and digits of other heights.
    let plain = ["small", "oldstyle", "inferior", "superior"].iter().find_map(|way| name.strip_suffix(way));
    plain.and_then(known)
}

/// A name of one character: of Adobe's list, or with the character's number.
fn known(name: &str) -> Option<String> {
    if let Some(text) = numbered(name) {
        return Some(text);
    }
    let names = vec![0.into(), Object::Name(name.as_bytes().to_vec())];
    let font = dictionary! { "Type" => "Font", "Encoding" => dictionary! { "Differences" => names } };
    let nothing = Document::new();
    let Ok(encoding @ Encoding::Differences(_)) = font.get_font_encoding(&nothing) else {
        // Names of TeX that are not on the list.
        return Some(match name {
            "visiblespace" | "compwordmark" => " ".to_owned(),
            "suppress" => "ł".to_owned(),
            "dotlessj" => "j".to_owned(),
            "hyphenchar" | "rangedash" => "-".to_owned(),
            "ffi" | "ffl" | "ff" | "fi" | "fl" => name.to_owned(),
            _ => return None,
        });
    };
    encoding.bytes_to_string(&[0]).ok()?.chars().map(meant).collect()
}

/// `uni` and four digits for each character, or `u` and four to six.
fn numbered(name: &str) -> Option<String> {
    let one = |digits: &str| u32::from_str_radix(digits, 16).ok().and_then(char::from_u32);
    if let Some(digits) = name.strip_prefix("uni").filter(|digits| digits.len() >= 4 && digits.len() % 4 == 0) {
        return (0..digits.len() / 4).map(|n| digits.get(4 * n..4 * n + 4).and_then(one)).collect();
    }
    let digits = name.strip_prefix('u').filter(|digits| (4..=6).contains(&digits.len()))?;
    one(digits).map(String::from)
}

/// The character that everybody knows for one that may be its font's alone; none where nobody does.
pub(crate) fn meant(c: char) -> Option<char> {
    let nth = |first: char, from: char| char::from_u32(u32::from(from) + u32::from(c) - u32::from(first));
    match c {
        // Where Adobe's fonts have digits that hang below the line, and small capitals.
        '\u{f643}'..='\u{f64c}' => nth('\u{f643}', '0'),
        '\u{f730}'..='\u{f739}' => nth('\u{f730}', '0'),
        '\u{f761}'..='\u{f77a}' => nth('\u{f761}', 'A'),
        '\0'..='\u{8}' | '\u{b}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{fffd}' => None,
        '\u{e000}'..='\u{f8ff}' | '\u{f0000}'.. => None,
        c => Some(c),
    }
}
