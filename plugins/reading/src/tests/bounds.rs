//! PDF files that were made to cost more than they are.

use std::time::{Duration, Instant};

use super::files::{pdf_with_links, read_in_font};
use super::*;

/// Much more than any of these files takes, and much less than it took without a bound.
const SOON: Duration = Duration::from_secs(10);

/// A TrueType font of as many glyphs as one can have, with these tables besides those that each must have.
fn true_type(others: &[(&[u8; 4], Vec<u8>)]) -> Vec<u8> {
    let mut head = vec![0; 54];
    head[18..20].copy_from_slice(&1000_u16.to_be_bytes());
    let maxp = [&[0, 0, 0x50, 0][..], &u16::MAX.to_be_bytes()].concat();
    let mut tables = vec![(b"head", head), (b"hhea", vec![0; 36]), (b"maxp", maxp)];
    tables.extend_from_slice(others);
    tables.sort();
    let mut font = [&[0, 1, 0, 0][..], &u16::try_from(tables.len()).unwrap().to_be_bytes(), &[0; 6]].concat();
    let mut at = font.len() + 16 * tables.len();
    for (tag, table) in &tables {
        font.extend_from_slice(*tag);
        for number in [0, at, table.len()] {
            font.extend_from_slice(&u32::try_from(number).unwrap().to_be_bytes());
        }
        at += table.len();
    }
    tables.iter().for_each(|(_, table)| font.extend_from_slice(table));
    font
}

/// What a page says that shows `codes` in a font of numbered glyphs, which says nothing but in its program.
fn read_in_program(codes: &str, program: &[u8]) -> String {
    let digits: String = program.iter().map(|byte| format!("{byte:02x}")).collect();
    let parts = [
        "<< /Type /Font /Subtype /CIDFontType2 /FontDescriptor 7 0 R >>".to_owned(),
        "<< /Type /FontDescriptor /FontFile2 8 0 R >>".to_owned(),
        stream("/Filter /ASCIIHexDecode", &format!("{digits}>")),
    ];
    read_in_font("<< /Type /Font /Subtype /Type0 /Encoding /Identity-H /DescendantFonts [6 0 R] >>", codes, &parts)
}

#[test]
fn a_font_that_says_it_has_all_characters_there_could_be_is_asked_for_those_there_are() {
    // One group of characters, from 0 to the last number, of which the first is glyph 0.
    let mut group = Vec::new();
    for number in [0x0000_0001, 0x0003_000a, 12, 0x000c_0000, 28, 0, 1, 0, u32::MAX, 0_u32] {
        group.extend_from_slice(&number.to_be_bytes());
    }
    let begun = Instant::now();
    assert_eq!(read_in_program("<00480069>", &true_type(&[(b"cmap", group)])), "Hi");
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
}

#[test]
fn the_names_of_a_fonts_glyphs_are_read_once() {
    let mut post = vec![0; 32];
    post[1] = 2;
    post.extend_from_slice(&u16::MAX.to_be_bytes());
    // The first glyphs have names that everybody knows.
    (0..u16::MAX).for_each(|number| post.extend_from_slice(&number.to_be_bytes()));
    for number in 0..u16::MAX - 258 {
        post.extend_from_slice(format!("\x07uni{:04X}", 0x41 + number % 26).as_bytes());
    }
    let begun = Instant::now();
    // 36 is the `A` of the known names, 258 the first and 65534 the last of its own.
    assert_eq!(read_in_program("<00240102fffe>", &true_type(&[(b"post", post)])), "AAQ");
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
}

#[test]
fn a_table_of_more_characters_than_there_are_is_read_as_far_as_it_may_go() {
    let font = "<< /Type /Font /Subtype /Type1 /BaseFont /X /Encoding /WinAnsiEncoding /ToUnicode 6 0 R >>";
    let ranges: String = (0..300).map(|n| format!("<{n:04x}0000> <{n:04x}ffff> <{n:04x}>\n")).collect();
    let table =
        format!("1 beginbfchar <61> <0058> endbfchar 301 beginbfrange {ranges} <0000> <ffff> <0041> endbfrange");
    assert_eq!(read_in_font(font, "(ab)", &[stream("", &table)]), "Xb");
}

#[test]
fn a_name_of_many_names_is_none() {
    let name = format!("/{}a", "a_".repeat(20_000));
    let font = format!(
        "<< /Type /Font /Subtype /Type1 /BaseFont /X /Encoding << /BaseEncoding /WinAnsiEncoding /Differences [65 {name} /f_f_i] >> >>"
    );
    // What a guest has for its stack, at most.
    let thread = std::thread::Builder::new().stack_size(1 << 20);
    let text = thread.spawn(move || read_in_font(&font, "(AB)", &[])).unwrap().join().unwrap();
    assert_eq!(text, "Affi");
}

#[test]
fn a_font_that_stands_in_the_page_itself_is_read_once() {
    let program = format!("%!PS\n/Encoding 256 array\ndup 65 /B put\n{} eexec", "% nothing\n".repeat(100_000));
    let page = "<< /Type /Page /Parent 2 0 R /Contents 4 0 R /Resources << /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /X \
                /FontDescriptor << /Type /FontDescriptor /FontFile 5 0 R >> >> >> >> >>";
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        page.to_owned(),
        stream("", &format!("BT {} 72 700 Td (A) Tj ET", "/F1 12 Tf ".repeat(2_000))),
        stream("", &program),
    ];
    let begun = Instant::now();
    assert_eq!(read(Format::Pdf, &pdf_of(&objects), None, ROOM).unwrap(), "B");
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
}

#[test]
fn links_over_all_of_a_page_cost_no_more_than_looking_for_so_many_words() {
    let font = "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>";
    let words: String =
        (0..7_000).map(|n| format!("1 0 0 1 {} {} Tm (words) Tj ", 50 * (n % 100), 20 * (n / 100))).collect();
    let links: Vec<(&str, String)> =
        (0..5_000).map(|n| ("-9 -9 99999 99999", format!("https://example.com/{n}"))).collect();
    let file = pdf_with_links(font, &format!("{words} (end)"), &links);
    let begun = Instant::now();
    let text = read(Format::Pdf, &file, None, 1 << 20).unwrap();
    let told = text.matches("<https://").count();
    assert!((1..5_000).contains(&told), "{told}");
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
}
