//! In which forms a secret can stand in a text: as it is, percent-encoded, escaped for JSON or HTML, as hex, as base64.
//!
//! A form is a list of units, and a unit is everything that one character (or half a byte, or six bits) can be written as.
//! So a text that encodes every second character, in both cases of hex, is found as well as one that encodes none. Units
//! are shared: a secret of a thousand characters has no more of them than it has different characters.

use std::collections::HashMap;

/// How often a text is escaped as JSON: what a service keeps of a request, it often gives back as a text within its own JSON.
const MAX_JSON_IN_JSON: usize = 3;

/// A set of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ByteSet([u64; 4]);

impl ByteSet {
    fn of(bytes: impl IntoIterator<Item = u8>) -> Self {
        let mut set = Self::default();
        for byte in bytes {
            if let Some(word) = set.0.get_mut(usize::from(byte >> 6)) {
                *word |= 1 << (byte & 63);
            }
        }
        set
    }

    pub(crate) fn has(&self, byte: u8) -> bool {
        self.0.get(usize::from(byte >> 6)).is_some_and(|word| word >> (byte & 63) & 1 == 1)
    }
}

/// One way to write a unit, a set for each byte. Never empty.
pub(crate) type Spelling = Vec<ByteSet>;

/// All the ways to write one piece of a secret.
pub(crate) type Unit = Vec<Spelling>;

/// What a unit stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Symbol {
    Char(char),
    Nibble(u8),
    /// Six bits of base64, of which the last `free` belong to what follows the secret. Before all but a form's first one
    /// a line may end.
    Sextet {
        value: u8,
        free: u8,
        is_first: bool,
    },
}

/// The forms of some secrets.
#[derive(Default)]
pub(crate) struct Forms {
    units: Vec<Unit>,
    /// Each form as a list of places in `units`.
    forms: Vec<Vec<u32>>,
    /// For each byte, the forms that can begin with it.
    starts: Vec<Vec<u32>>,
    /// The bytes of the longest way to write any of the forms.
    longest: usize,
}

impl Forms {
    pub(crate) fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut forms = Self::default();
        let mut known = HashMap::new();
        for secret in secrets {
            let bytes = secret.as_bytes();
            forms.add(secret.chars().map(Symbol::Char), &mut known);
            forms.add(bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(Symbol::Nibble), &mut known);
            for before in 0..3 {
                forms.add(sextets(bytes, before), &mut known);
            }
        }
        forms.find_starts();
        forms
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.forms.is_empty()
    }

    pub(crate) fn longest(&self) -> usize {
        self.longest
    }

    /// The unit at `place` of `form`; none at its end.
    pub(crate) fn unit(&self, form: u32, place: u32) -> Option<&Unit> {
        let unit = *self.forms.get(form as usize)?.get(place as usize)?;
        self.units.get(unit as usize)
    }

    /// The forms that can begin with `byte`.
    pub(crate) fn starting_with(&self, byte: u8) -> &[u32] {
        self.starts.get(usize::from(byte)).map_or(&[], Vec::as_slice)
    }

    fn add(&mut self, symbols: impl Iterator<Item = Symbol>, known: &mut HashMap<Symbol, u32>) {
        let mut form = Vec::new();
        let mut longest = 0;
        for symbol in symbols {
            let unit = *known.entry(symbol).or_insert_with(|| {
                self.units.push(spellings(symbol));
                u32::try_from(self.units.len() - 1).unwrap_or(u32::MAX)
            });
            let lengths = self.units.get(unit as usize).into_iter().flatten().map(Vec::len);
            longest += lengths.max().unwrap_or(0);
            form.push(unit);
        }
        self.longest = self.longest.max(longest);
        if !self.forms.contains(&form) {
            self.forms.push(form);
        }
    }

    fn find_starts(&mut self) {
        self.starts = vec![Vec::new(); 256];
        for (form, number) in self.forms.iter().zip(0..) {
            let first = form.first().and_then(|&unit| self.units.get(unit as usize));
            for (starts, byte) in self.starts.iter_mut().zip(0..=u8::MAX) {
                let begins = |spelling: &Spelling| spelling.first().is_some_and(|set| set.has(byte));
                if first.is_some_and(|unit| unit.iter().any(begins)) {
                    starts.push(number);
                }
            }
        }
    }
}

/// The secret in base64 when `before` more bytes stand before it. A first character that is only in part the secret's is
/// left out: it tells at most four bits, and to wait for it would hold back a quarter of all texts' ends.
fn sextets(secret: &[u8], before: usize) -> impl Iterator<Item = Symbol> {
    let bit = move |at: usize| secret.get((at / 8).checked_sub(before)?).map(|byte| byte >> (7 - at % 8) & 1);
    let first = (before * 8).div_ceil(6);
    let end = ((before + secret.len()) * 8).div_ceil(6);
    (first..end).map(move |sextet| {
        let bits = (sextet * 6..sextet * 6 + 6).map(bit);
        let (value, free) = bits.fold((0, 0), |(value, free), bit| match bit {
            Some(bit) => (value << 1 | bit, free),
            None => (value << 1, free + 1),
        });
        Symbol::Sextet { value, free, is_first: sextet == first }
    })
}

fn spellings(symbol: Symbol) -> Unit {
    match symbol {
        Symbol::Char(char) => char_spellings(char),
        Symbol::Nibble(nibble) => vec![vec![hex_digit(nibble)]],
        Symbol::Sextet { value, free, is_first } => sextet_spellings(value, free, is_first),
    }
}

fn exactly(text: &[u8]) -> Spelling {
    text.iter().map(|&byte| ByteSet::of([byte])).collect()
}

fn hex_digit(nibble: u8) -> ByteSet {
    let digit = char::from_digit(u32::from(nibble & 15), 16).unwrap_or('0');
    ByteSet::of([digit, digit.to_ascii_uppercase()].map(|digit| digit as u8))
}

fn hex_digits(value: u32, digits: u32) -> impl Iterator<Item = ByteSet> {
    (0..digits).rev().map(move |digit| hex_digit((value >> (4 * digit) & 15) as u8))
}

fn char_spellings(char: char) -> Unit {
    let mut spellings = percent_spellings(char);
    spellings.extend(json_spellings(char));
    spellings.extend(html_spellings(char));
    spellings
}

/// Each byte as it is or encoded, in every mix, the character as it is among them.
fn percent_spellings(char: char) -> Unit {
    let mut mixes: Unit = vec![Spelling::new()];
    for &byte in char.encode_utf8(&mut [0; 4]).as_bytes() {
        // A form's way to write a space.
        let plain = if byte == b' ' { ByteSet::of([b' ', b'+']) } else { ByteSet::of([byte]) };
        let encoded: Spelling = exactly(b"%").into_iter().chain(hex_digits(u32::from(byte), 2)).collect();
        let with = |end: &[ByteSet]| mixes.iter().map(|mix| [mix.as_slice(), end].concat()).collect::<Unit>();
        mixes = [with(&[plain]), with(&encoded)].concat();
    }
    mixes
}

fn json_spellings(char: char) -> Unit {
    let unit = |&unit: &u16| exactly(br"\u").into_iter().chain(hex_digits(u32::from(unit), 4)).collect::<Spelling>();
    let units = char.encode_utf16(&mut [0; 2]).iter().flat_map(unit).collect();
    let short = match char {
        '"' | '\\' | '/' => Some(char),
        '\u{8}' => Some('b'),
        '\u{c}' => Some('f'),
        '\n' => Some('n'),
        '\r' => Some('r'),
        '\t' => Some('t'),
        _ => None,
    };
    let once = std::iter::once(units).chain(short.map(|short| exactly(&[b'\\', short as u8])));
    once.flat_map(|spelling| std::iter::successors(Some(spelling), |inner| Some(escaped(inner))).take(MAX_JSON_IN_JSON))
        .collect()
}

/// A spelling within a JSON string once more.
fn escaped(spelling: &Spelling) -> Spelling {
    let backslash = ByteSet::of([b'\\']);
    let escape = |set: &ByteSet| set.has(b'\\') || set.has(b'"');
    spelling.iter().flat_map(|set| escape(set).then_some(backslash).into_iter().chain([*set])).collect()
}

fn html_spellings(char: char) -> Unit {
    let code = u32::from(char);
    let digits = u32::BITS.saturating_sub(code.leading_zeros()).div_ceil(4).max(1);
    let hex = exactly(b"&#").into_iter().chain([ByteSet::of(*b"xX")]).chain(hex_digits(code, digits));
    let hex: Spelling = hex.chain(exactly(b";")).collect();
    let name = match char {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        '"' => Some("&quot;"),
        '\'' => Some("&apos;"),
        _ => None,
    };
    let decimal = exactly(format!("&#{code};").as_bytes());
    [decimal, hex].into_iter().chain(name.map(|name| exactly(name.as_bytes()))).collect()
}

/// Either alphabet, its two odd characters also percent-encoded or escaped, and before each character the line break that
/// some encoders put in.
fn sextet_spellings(value: u8, free: u8, is_first: bool) -> Unit {
    let values = value..=value | ((1 << free) - 1);
    let bytes: Vec<u8> = values.flat_map(sextet_bytes).collect();
    let set = ByteSet::of(bytes.iter().copied());
    let odd = bytes.iter().filter(|byte| matches!(byte, b'+' | b'/'));
    let odd = odd.flat_map(|&byte| char_spellings(char::from(byte))).filter(|spelling| spelling.len() > 1);
    let breaks: &[&[u8]] = if is_first { &[] } else { &[b"\n", b"\r\n", br"\n", br"\r\n"] };
    let broken = breaks.iter().map(|text| exactly(text).into_iter().chain([set]).collect());
    std::iter::once(vec![set]).chain(odd).chain(broken).collect()
}

/// How the two alphabets write six bits.
fn sextet_bytes(value: u8) -> Vec<u8> {
    match value {
        0..26 => vec![b'A' + value],
        26..52 => vec![b'a' + (value - 26)],
        52..62 => vec![b'0' + (value - 52)],
        62 => b"+-".to_vec(),
        _ => b"/_".to_vec(),
    }
}
