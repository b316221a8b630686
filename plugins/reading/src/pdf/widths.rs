//! How wide the characters of the fonts are that every reader of PDF has, so that files need not say: in thousandths of the
//! font's size, from the space on, as Adobe has published them.

#[rustfmt::skip]
const HELVETICA: [u16; 95] = [
    278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278, 556, 556, 556, 556, 556, 556, 556, 556, 556, 556, 278, 278, 584, 584, 584, 556,
    1015, 667, 667, 722, 722, 667, 611, 778, 722, 278, 500, 667, 556, 833, 722, 778, 667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 278, 278, 278, 469, 556,
    333, 556, 556, 500, 556, 556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556, 556, 556, 333, 500, 278, 556, 500, 722, 500, 500, 500, 334, 260, 334, 584,
];

#[rustfmt::skip]
const HELVETICA_BOLD: [u16; 95] = [
    278, 333, 474, 556, 556, 889, 722, 238, 333, 333, 389, 584, 278, 333, 278, 278, 556, 556, 556, 556, 556, 556, 556, 556, 556, 556, 333, 333, 584, 584, 584, 611,
    975, 722, 722, 722, 722, 667, 611, 778, 722, 278, 556, 722, 611, 833, 722, 778, 667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 333, 278, 333, 584, 556,
    333, 556, 611, 556, 611, 556, 333, 611, 611, 278, 278, 556, 278, 889, 611, 611, 611, 611, 389, 556, 333, 611, 556, 778, 556, 556, 500, 389, 280, 389, 584,
];

#[rustfmt::skip]
const TIMES: [u16; 95] = [
    250, 333, 408, 500, 500, 833, 778, 180, 333, 333, 500, 564, 250, 333, 250, 278, 500, 500, 500, 500, 500, 500, 500, 500, 500, 500, 278, 278, 564, 564, 564, 444,
    921, 722, 667, 667, 722, 611, 556, 722, 722, 333, 389, 722, 611, 889, 722, 722, 556, 722, 667, 556, 611, 722, 722, 944, 722, 722, 611, 333, 278, 333, 469, 500,
    333, 444, 500, 444, 500, 444, 333, 500, 500, 278, 278, 500, 278, 778, 500, 500, 500, 500, 333, 389, 278, 500, 500, 722, 500, 500, 444, 480, 200, 480, 541,
];

#[rustfmt::skip]
const TIMES_BOLD: [u16; 95] = [
    250, 333, 555, 500, 500, 1000, 833, 278, 333, 333, 500, 570, 250, 333, 250, 278, 500, 500, 500, 500, 500, 500, 500, 500, 500, 500, 333, 333, 570, 570, 570, 500,
    930, 722, 667, 722, 722, 667, 611, 778, 778, 389, 500, 778, 667, 944, 722, 778, 611, 778, 722, 556, 667, 722, 722, 1000, 722, 722, 667, 333, 278, 333, 581, 500,
    333, 500, 556, 444, 556, 444, 333, 500, 556, 278, 333, 556, 278, 833, 556, 500, 556, 556, 444, 389, 333, 556, 500, 722, 500, 500, 444, 394, 220, 394, 520,
];

/// A font's characters are all so wide.
const COURIER: f32 = 600.0;
/// A letter with an accent, or a sign that is not in the tables.
const OTHER: f32 = 556.0;

/// The width of a code of one of these fonts, by the font's name; none where it is another font.
pub(crate) fn of(name: &[u8]) -> Option<fn(u8) -> f32> {
    // A part of a font has six letters and a plus before its name.
    let name = name.get(7..).filter(|_| name.get(6) == Some(&b'+')).unwrap_or(name);
    let bold = name.windows(4).any(|part| part.eq_ignore_ascii_case(b"bold"));
    let begins = |beginning: &[u8]| name.starts_with(beginning);
    if begins(b"Courier") {
        Some(|_| COURIER)
    } else if begins(b"Helvetica") || begins(b"Arial") {
        Some(if bold { |code| from(&HELVETICA_BOLD, code) } else { |code| from(&HELVETICA, code) })
    } else if begins(b"Times") {
        Some(if bold { |code| from(&TIMES_BOLD, code) } else { |code| from(&TIMES, code) })
    } else {
        None
    }
}

fn from(table: &[u16; 95], code: u8) -> f32 {
    let width = code.checked_sub(b' ').and_then(|place| table.get(usize::from(place)));
    width.map_or(OTHER, |width| f32::from(*width))
}
