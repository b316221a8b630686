//! What real PDF files are like: fonts that say half of what they are, forms, links, missing ends.

use super::*;

/// A PDF of one page that shows `content` in the font `/F1`, which is this one; what the font refers to comes after it, from 6 on.
fn pdf_in_font(font: &str, content: &str, parts: &[String]) -> Vec<u8> {
    pdf_of_page("", font, content, parts)
}

/// The same, with links: where they lie, and where they lead.
pub(super) fn pdf_with_links(font: &str, content: &str, links: &[(&str, String)]) -> Vec<u8> {
    let link = |(place, to): &(&str, String)| {
        format!("<< /Type /Annot /Subtype /Link /Rect [{place}] /A << /S /URI /URI ({to}) >> >>")
    };
    let links: String = links.iter().map(link).collect();
    pdf_of_page(&format!("/Annots [{links}]"), font, content, &[])
}

fn pdf_of_page(more: &str, font: &str, content: &str, parts: &[String]) -> Vec<u8> {
    let mut objects = vec![
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        format!("<< /Type /Page /Parent 2 0 R /Contents 5 0 R {more} /Resources << /Font << /F1 4 0 R >> >> >>"),
        font.to_owned(),
        stream("", &format!("BT /F1 12 Tf 72 700 Td {content} Tj ET")),
    ];
    objects.extend_from_slice(parts);
    pdf_of(&objects)
}

pub(super) fn read_in_font(font: &str, content: &str, parts: &[String]) -> String {
    read(Format::Pdf, &pdf_in_font(font, content, parts), None, ROOM).unwrap()
}

/// A table of characters of these lines, such as `<0b> <00660066>`.
fn characters(lines: &[&str]) -> String {
    let content = format!(
        "/CIDInit /ProcSet findresource begin begincmap\n1 begincodespacerange <00> <ff> endcodespacerange\n{} beginbfchar\n{}\nendbfchar\nendcmap",
        lines.len(),
        lines.join("\n")
    );
    stream("", &content)
}

#[test]
fn a_font_is_read_by_all_that_its_file_says_of_it() {
    // The table names one code; the others are what their glyphs are called, and a made-up name is no reason to give up all.
    let font = "<< /Type /Font /Subtype /Type1 /BaseFont /X /ToUnicode 6 0 R /Encoding << /BaseEncoding /WinAnsiEncoding \
                /Differences [1 /f_f_i /uni0416 /eacute.sc 11 /nonsense 65 /g17 /Zcaronsmall] >> >>";
    let text = read_in_font(font, "(di\\013cult \\001 \\002 \\003 A na\\357ve)", &[characters(&["<0b> <00660066>"])]);
    assert_eq!(text, "diffcult ffi Ж é A naïve");
    // A file may leave out that a font is a font.
    assert_eq!(read_in_font("<< /Subtype /TrueType /BaseFont /X >>", "(caf\\351 \\223x\\224)", &[]), "café “x”");
}

#[test]
fn a_font_that_says_nothing_is_read_by_its_program() {
    let font = "<< /Type /Font /Subtype /Type1 /BaseFont /X /FontDescriptor 6 0 R >>";
    let program = "%!PS\n/Encoding 256 array 0 1 255 {1 index exch /.notdef put} for\ndup 12 /fi put\ndup 65/A put\ndup 66 /germandbls put\n\
                   readonly def currentfile eexec dup 67 /C put";
    let parts = ["<< /Type /FontDescriptor /FontFile 7 0 R >>".to_owned(), stream("", program)];
    assert_eq!(read_in_font(font, "(A\\014BC)", &parts), "Afiß");
}

#[test]
fn a_font_that_is_drawn_in_the_file_is_taken_for_one_of_tex() {
    let font = "<< /Type /Font /Subtype /Type3 /FontMatrix [1 0 0 1 0 0] /Encoding << /Differences [12 /a12 97 /a97 /a98] >> >>";
    assert_eq!(read_in_font(font, "(a\\014b \\036x gr\\366\\377e)", &[]), "afib fflx größe".replace("ffl", "ffi"));
}

#[test]
fn east_asian_text_is_read_in_the_encoding_that_its_font_names() {
    let font = |encoding: &str| {
        format!("<< /Type /Font /Subtype /Type0 /BaseFont /X /Encoding /{encoding} /DescendantFonts [] >>")
    };
    assert_eq!(read_in_font(&font("90ms-RKSJ-H"), "<83658358836700>", &[]), "テスト");
    assert_eq!(read_in_font(&font("GBK-EUC-H"), "<d6d0cec4>", &[]), "中文");
    assert_eq!(read_in_font(&font("ETen-B5-V"), "<a4a4a4e5>", &[]), "中文");
    assert_eq!(read_in_font(&font("KSCms-UHC-H"), "<c7d1b1b9>", &[]), "한국");
    assert_eq!(read_in_font(&font("UniJIS-UTF16-H"), "<65e5672c>", &[]), "日本");
    let unknown = read(Format::Pdf, &pdf_in_font(&font("Made-Up-H"), "<65e5672c>", &[]), None, ROOM);
    assert!(unknown.unwrap_err().starts_with("it holds no text"), "what nobody can know is not made up");
}

#[test]
fn lines_from_right_to_left_are_told_as_they_are_read() {
    let font = "<< /Type /Font /Subtype /Type1 /BaseFont /X /ToUnicode 6 0 R >>";
    // Drawn from the left: "(12) םולש", which is read from the right.
    let table = characters(&["<61> <05dd>", "<62> <05d5>", "<63> <05dc>", "<64> <05e9>", "<65> <fefb>"]);
    assert_eq!(read_in_font(font, "(\\(12\\) abcd)", std::slice::from_ref(&table)), "שלום (12)");
    assert_eq!(read_in_font(font, "(THEY MUST abcd NOW.)", std::slice::from_ref(&table)), "THEY MUST שלום NOW.");
    assert_eq!(read_in_font(font, "(eabcd)", &[table]), "שלוםلا");
}

#[test]
fn numbers_beside_each_other_are_read_from_right_to_left_too() {
    let font = "<< /Type /Font /Subtype /Type1 /BaseFont /X /ToUnicode 6 0 R >>";
    let hebrew = characters(&["<61> <05dd>", "<62> <05d5>", "<63> <05dc>", "<64> <05e9>"]);
    let read = |drawn: &str| read_in_font(font, drawn, std::slice::from_ref(&hebrew));
    assert_eq!(read("(33 22 11 abcd)"), "שלום 11 22 33");
    assert_eq!(read("(14:30 1,250.50 abcd)"), "שלום 1,250.50 14:30");
    // A hyphen joins the numbers of a date.
    assert_eq!(read("(12-03-2026 abcd)"), "שלום 12-03-2026");
    // What was drawn behind a word of another language belongs to it, and what was drawn before it does not.
    assert_eq!(read("(70 USB 3.0 abcd)"), "שלום USB 3.0 70");
    assert_eq!(read("(THEY MUST ab 12 cd NOW.)"), "THEY MUST של 12 ום NOW.");
    let arabic = characters(&["<61> <0645>", "<62> <0627>", "<63> <0644>", "<64> <0633>"]);
    assert_eq!(read_in_font(font, "(12-03-2026 abcd)", &[arabic]), "سلام 2026-03-12");
}

#[test]
fn a_link_is_told_though_its_words_end_its_address_or_are_a_sign() {
    let font = "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding << /BaseEncoding /WinAnsiEncoding /Differences [1 /uni2192] >> >>";
    // Each link lies over a line.
    let page = |words: &str, links: &[&str]| {
        let places = ["70 698 400 712", "70 678 400 692"];
        let links: Vec<(&str, String)> = places.into_iter().zip(links.iter().map(|to| (*to).to_owned())).collect();
        read(Format::Pdf, &pdf_with_links(font, words, &links), None, ROOM).unwrap()
    };
    let log = "https://example.com/log";
    assert_eq!(page("(log)", &[log]), "log <https://example.com/log>");
    assert_eq!(page("(\\001)", &[log]), "→ <https://example.com/log>");
    let two_lines = page("(See the) Tj 0 -20 Td (log)", &[log, log]);
    assert!(two_lines.ends_with("log <https://example.com/log>"), "{two_lines}");
    // Words that are the address say it already, in one line or in two.
    assert_eq!(page("(example.com/log)", &["https://www.example.com/log"]), "example.com/log");
    let wrapped = page("(https://example.com/) Tj 0 -20 Td (log)", &[log, log]);
    assert!(wrapped.ends_with("log") && !wrapped.contains('<'), "{wrapped}");
}

#[test]
fn an_encoding_that_nobody_knows_does_not_empty_its_font() {
    let font = "<< /Type /Font /Subtype /TrueType /BaseFont /X /Encoding /SomethingEncoding >>";
    assert_eq!(read_in_font(font, "(caf\\351)", &[]), "café");
    let font = "<< /Type /Font /Subtype /TrueType /BaseFont /X /Encoding << /BaseEncoding /AnEncoding /Differences [66 /a] >> >>";
    assert_eq!(read_in_font(font, "(cBf\\351)", &[]), "café");
}

#[test]
fn what_is_filled_into_a_form_and_where_links_lead_is_told() {
    let content = "BT /F1 12 Tf 72 700 Td (Name:) Tj ET BT /F1 12 Tf 72 600 Td (See the log) Tj 70 0 Td (or not, see) Tj 100 0 Td (example.com/a) Tj ET";
    let link = |place: &str, to: &str| format!("<< /Type /Annot /Subtype /Link /Rect [{place}] {to} >>");
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        "<< /Type /Page /Parent 2 0 R /Contents 5 0 R /Annots [6 0 R 8 0 R 9 0 R 10 0 R 11 0 R] /Resources << /Font << /F1 4 0 R >> >> >>".to_owned(),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>".to_owned(),
        stream("", content),
        "<< /Type /Annot /Subtype /Widget /Rect [120 695 300 715] /AS /On /AP << /N << /On 7 0 R /Off 12 0 R >> >> >>".to_owned(),
        stream("/Type /XObject /Subtype /Form /BBox [10 10 190 30] /Resources << /Font << /F1 4 0 R >> >>", "BT /F1 12 Tf 12 15 Td (Ada Keeper) Tj ET"),
        link("72 598 135 612", "/A << /S /URI /URI (https://example.com/log) >>"),
        link("142 598 210 612", "/A << /S /GoTo /D [3 0 R /XYZ 0 0 0] >>"),
        link("242 598 320 612", "/A << /S /URI /URI (https://example.com/a) >>"),
        "<< /Type /Annot /Subtype /Widget /F 2 /Rect [120 500 300 520] /AP << /N 12 0 R >> >>".to_owned(),
        stream("/Type /XObject /Subtype /Form /BBox [0 0 1 1] /Resources << /Font << /F1 4 0 R >> >>", "BT /F1 12 Tf (Unseen) Tj ET"),
    ];
    let text = read(Format::Pdf, &pdf_of(&objects), None, ROOM).unwrap();
    assert!(text.starts_with("Name: Ada Keeper"), "{text}");
    assert!(text.contains("See the log <https://example.com/log>"), "{text}");
    assert!(text.contains("or not, see") && text.ends_with("example.com/a") && !text.contains("Unseen"), "{text}");
}

#[test]
fn a_file_whose_end_is_missing_is_read_as_far_as_it_goes() {
    let page = |n: usize, content: usize| {
        format!("<< /Type /Page /Contents {content} 0 R /Resources << /Font << /F1 1 0 R >> >> /N {n} >>")
    };
    let words = |n: usize| stream("", &format!("BT /F1 12 Tf 72 700 Td (The words of page {n}.) Tj ET"));
    let objects = [
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>".to_owned(),
        page(1, 3),
        words(1),
        page(2, 5),
        words(2),
        page(3, 7),
        words(3),
    ];
    let whole = pdf_of(&objects);
    let at = whole.windows(16).position(|window| window == b"words of page 3.").unwrap();
    let text = read(Format::Pdf, &whole[..at], None, ROOM).unwrap();
    assert!(
        text.contains("The words of page 1.") && text.contains("The words of page 2.") && !text.contains("page 3"),
        "{text}"
    );
    let error = read(Format::Pdf, &whole[..40], None, ROOM).unwrap_err();
    assert_eq!(error, "it is no valid PDF, or only the beginning of one: its end is missing");
}

#[test]
fn pictures_and_places_take_no_memory_and_a_page_of_a_picture_is_still_one() {
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R 7 0 R] /Count 2 >>".to_owned(),
        "<< /Type /Page /Parent 2 0 R /Contents 4 0 R /Resources << /XObject << /I 5 0 R >> >> >>".to_owned(),
        stream("", "/I Do"),
        stream("/Type /XObject /Subtype /Image /Width 1 /Height 1", "dots"),
        "[3 0 R /XYZ 0 0 0]".to_owned(),
        "<< /Type /Page /Parent 2 0 R /Contents 8 0 R /Resources << /Font << /F1 9 0 R >> >> >>".to_owned(),
        stream("", "BT /F1 12 Tf 72 700 Td (Words.) Tj ET"),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>".to_owned(),
    ];
    let file = pdf_of(&objects);
    assert_eq!(
        read(Format::Pdf, &file, None, ROOM).unwrap(),
        "[Page 1]\n\n[This page is a picture without text.]\n\n[Page 2]\n\nWords."
    );
    let loaded = crate::pdf::load(&file).unwrap();
    assert_eq!(loaded.get_object((5, 0)).unwrap().as_stream().unwrap().content.len(), 1);
    assert!(loaded.get_object((6, 0)).is_err());
}

#[test]
fn digits_that_hang_below_the_line_are_digits() {
    // Adobe's own places for them, which a file's table may name, and their names.
    let font = "<< /Type /Font /Subtype /Type1 /BaseFont /X /ToUnicode 6 0 R /Encoding << /Differences [4 /twooldstyle /Asmall] >> >>";
    let table = characters(&["<01> <f644>", "<02> <f739>", "<03> <f762>", "<06> <e123>"]);
    assert_eq!(read_in_font(font, "(\\001\\002\\004\\005\\003\\006)", &[table]), "192AB");
}

#[test]
fn a_table_of_characters_is_read_whatever_stands_around_it() {
    let font = "<< /Type /Font /Subtype /Type1 /BaseFont /X /ToUnicode 6 0 R >>";
    // A name with spaces, sections on one line, and a range without end, which is left out.
    let table = "/CMapName //home/me/Sabon LT Std/Sabon.otf,000-UTF16 def 1 begincodespacerange<00><ff>endcodespacerange \
                 1 beginbfchar <01><0041>endbfchar 2 beginbfrange <02><03>[<0042><00430044>]<00000000><ffffffff><0000>endbfrange";
    assert_eq!(read_in_font(font, "(\\001\\002\\003)", &[stream("", table)]), "ABCD");
}

#[test]
fn a_line_of_a_table_that_means_nothing_takes_no_other_with_it() {
    let font = "<< /Type /Font /Subtype /Type1 /BaseFont /X /Encoding /WinAnsiEncoding /ToUnicode 6 0 R >>";
    let long = format!("beginbfchar <62> <{}> endbfchar", "0041".repeat(300));
    let lines = [
        ("beginbfchar <62> <> endbfchar", "b"),
        ("beginbfchar <62> <59> endbfchar", "Y"),
        ("beginbfrange <62> <62> [<59>] endbfrange", "Y"),
        ("beginbfrange <62> <63> <> endbfrange", "b"),
        ("beginbfrange <62> <63> [] endbfrange", "b"),
        ("beginbfrange <61> <63> [<> <0059>] endbfrange", "Y"),
        ("beginbfrange <62> <0063> <0059> endbfrange", "b"),
        ("begincodespacerange <00> <ffff> endcodespacerange", "b"),
        ("begincodespacerange <00> <> endcodespacerange", "b"),
        (long.as_str(), "b"),
    ];
    for (line, meant) in lines {
        let table = format!("1 {line} 1 beginbfchar <61> <0058> endbfchar");
        assert_eq!(read_in_font(font, "(ab)", &[stream("", &table)]), format!("X{meant}"), "{line}");
    }
}
