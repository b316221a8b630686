use std::io::{Cursor, Write as _};

use proptest::prelude::*;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;

fn read(format: Format, bytes: &[u8], charset: Option<&str>, max_bytes: usize) -> Result<String, Unreadable> {
    super::read(format, bytes, charset, max_bytes).map(|content| content.markdown)
}

const ROOM: usize = 10_000;

fn archive(parts: &[(&str, &str)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in parts {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(content.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// `_rels/.rels` of an archive whose main part is this one.
fn about(main: &str) -> String {
    relations(&[("rId1", "officeDocument", main)])
}

fn relations(listed: &[(&str, &str, &str)]) -> String {
    let types = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
    let one = |(id, kind, target): &(&str, &str, &str)| {
        format!(r#"<Relationship Id="{id}" Type="{types}/{kind}" Target="{target}"/>"#)
    };
    format!("<Relationships>{}</Relationships>", listed.iter().map(one).collect::<String>())
}

fn word(body: &str) -> Vec<u8> {
    let styles =
        r#"<w:styles xmlns:w="w"><w:style w:styleId="berschrift2"><w:name w:val="heading 2"/></w:style></w:styles>"#;
    let notes = r#"<w:footnotes xmlns:w="w"><w:footnote w:type="separator" w:id="0"><w:p><w:r><w:t>--</w:t></w:r></w:p></w:footnote>
        <w:footnote w:id="1"><w:p><w:r><w:t>Not at night.</w:t></w:r></w:p></w:footnote></w:footnotes>"#;
    let links = relations(&[
        ("rId1", "styles", "styles.xml"),
        ("rId2", "footnotes", "/word/footnotes.xml"),
        ("rId3", "hyperlink", "https://example.com/\" TargetMode=\"External"),
    ]);
    archive(&[
        ("_rels/.rels", &about("word/document.xml")),
        (
            "word/document.xml",
            &format!(r#"<?xml version="1.0"?><w:document xmlns:w="w"><w:body>{body}</w:body></w:document>"#),
        ),
        ("word/_rels/document.xml.rels", &links),
        ("word/styles.xml", styles),
        ("word/footnotes.xml", notes),
    ])
}

fn paragraph(text: &str) -> String {
    format!("<w:p><w:r><w:t xml:space=\"preserve\">{text}</w:t></w:r></w:p>")
}

fn workbook(sheets: &[(&str, &str)]) -> Vec<u8> {
    let listed: String =
        sheets.iter().enumerate().map(|(n, (name, _))| format!(r#"<sheet name="{name}" r:id="s{n}"/>"#)).collect();
    let main = format!(r#"<workbook xmlns:r="r"><sheets>{listed}</sheets></workbook>"#);
    let ids: Vec<(String, String)> =
        (0..sheets.len()).map(|n| (format!("s{n}"), format!("worksheets/sheet{n}.xml"))).collect();
    let mut links: Vec<(&str, &str, &str)> =
        ids.iter().map(|(id, part)| (id.as_str(), "worksheet", part.as_str())).collect();
    links.push(("t", "sharedStrings", "sharedStrings.xml"));
    links.push(("f", "styles", "styles.xml"));
    let (links, root) = (relations(&links), about("xl/workbook.xml"));
    let strings = "<sst><si><t>Harbour</t></si><si><r><t>two </t></r><r><t>words</t></r><rPh><t>x</t></rPh></si></sst>";
    let styles = r#"<styleSheet><numFmts><numFmt numFmtId="164" formatCode="yyyy\-mm\-dd"/></numFmts>
        <cellStyleXfs><xf numFmtId="14"/></cellStyleXfs><cellXfs><xf numFmtId="0"/><xf numFmtId="164"/></cellXfs></styleSheet>"#;
    let contents: Vec<(String, String)> = sheets
        .iter()
        .enumerate()
        .map(|(n, (_, rows))| {
            (format!("xl/worksheets/sheet{n}.xml"), format!("<worksheet><sheetData>{rows}</sheetData></worksheet>"))
        })
        .collect();
    let mut parts = vec![
        ("_rels/.rels", root.as_str()),
        ("xl/workbook.xml", main.as_str()),
        ("xl/_rels/workbook.xml.rels", links.as_str()),
        ("xl/sharedStrings.xml", strings),
        ("xl/styles.xml", styles),
    ];
    parts.extend(contents.iter().map(|(name, content)| (name.as_str(), content.as_str())));
    archive(&parts)
}

/// A PDF of these objects, numbered from 1; the first is the catalog.
fn pdf_of(objects: &[String]) -> Vec<u8> {
    let mut file = b"%PDF-1.7\n".to_vec();
    let mut places = Vec::new();
    for (n, object) in objects.iter().enumerate() {
        places.push(file.len());
        file.extend_from_slice(format!("{} 0 obj\n{object}\nendobj\n", n + 1).as_bytes());
    }
    let table = file.len();
    file.extend_from_slice(format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1).as_bytes());
    for place in places {
        file.extend_from_slice(format!("{place:010} 00000 n \n").as_bytes());
    }
    let size = objects.len() + 1;
    file.extend_from_slice(format!("trailer\n<< /Size {size} /Root 1 0 R >>\nstartxref\n{table}\n%%EOF\n").as_bytes());
    file
}

fn stream(dictionary: &str, content: &str) -> String {
    format!("<< {dictionary} /Length {} >>\nstream\n{content}\nendstream", content.len())
}

/// A PDF of one page with these instructions.
fn pdf(content: &str) -> Vec<u8> {
    pdf_of(&[
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        "<< /Type /Page /Parent 2 0 R /Contents 5 0 R /Resources << /Font << /F1 4 0 R >> /XObject << /X1 6 0 R >> >> >>"
            .to_owned(),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>".to_owned(),
        stream("", content),
        stream("/Type /XObject /Subtype /Form /Resources << /Font << /F1 4 0 R >> /XObject << /X1 6 0 R >> >>", FORM),
    ])
}

const FORM: &str = "BT /F1 12 Tf 72 300 Td (From the form.) Tj ET /X1 Do";

fn read_pdf(content: &str) -> String {
    read(Format::Pdf, &pdf(content), None, ROOM).unwrap()
}

#[test]
fn a_word_document_is_told_with_its_structure() {
    let body = [
        r#"<w:p><w:pPr><w:pStyle w:val="berschrift2"/></w:pPr><w:r><w:t>The gates</w:t></w:r></w:p>"#,
        r#"<w:p><w:r><w:t>They open &amp; close</w:t></w:r><w:r><w:footnoteReference w:id="1"/></w:r><w:r><w:t xml:space="preserve"> &#8211; see </w:t></w:r>
           <w:hyperlink r:id="rId3"><w:r><w:t>the log</w:t></w:r></w:hyperlink><w:r><w:delText>gone</w:delText></w:r></w:p>"#,
        r#"<w:p><w:pPr><w:numPr><w:ilvl w:val="0"/></w:numPr></w:pPr><w:r><w:t>one</w:t></w:r></w:p>"#,
        r#"<w:p><w:pPr><w:numPr><w:ilvl w:val="1"/></w:numPr></w:pPr><w:r><w:t>two</w:t></w:r></w:p>"#,
        r#"<w:tbl><w:tr><w:tc><w:p><w:r><w:t>a|b</w:t></w:r></w:p></w:tc><w:tc><w:p/></w:tc></w:tr>
           <w:tr><w:tc><w:p><w:r><w:t>c</w:t></w:r></w:p><w:p><w:r><w:t>d</w:t></w:r></w:p></w:tc><w:tc/></w:tr></w:tbl>"#,
        r#"<w:p><mc:AlternateContent><mc:Choice><w:r><w:t>new</w:t></w:r></mc:Choice><mc:Fallback><w:r><w:t>old</w:t></w:r></mc:Fallback></mc:AlternateContent></w:p>"#,
    ];
    let text = read(Format::Docx, &word(&body.concat()), None, ROOM).unwrap();
    let expected = "## The gates\n\nThey open & close[^1] – see [the log](https://example.com/)\n\n- one\n  - two\n\n\
                    | a\\|b |  |\n| --- | --- |\n| c d |  |\n\nnew\n\n[^1]: Not at night.";
    assert_eq!(text, expected);
}

#[test]
fn a_workbook_is_told_sheet_by_sheet() {
    let first = r#"<row r="1"><c r="A1" t="s"><v>0</v></c><c r="C1" t="s"><v>1</v></c></row><row r="2"/>
        <row r="3"><c r="A3"><v>12.5</v></c><c r="B3" s="1"><v>46348</v></c><c r="C3" t="b"><v>1</v></c>
        <c r="D3" t="str"><f>A1&amp;"x"</f><v>a "quoted", text</v></c><c r="E3" t="inlineStr"><is><t>inline</t></is></c></row>"#;
    let book = workbook(&[
        ("Ships &amp; piers", first),
        ("Empty", ""),
        ("Last", r#"<row><c><v>1</v></c><c><v>2</v></c></row>"#),
    ]);
    let text = read(Format::Xlsx, &book, None, ROOM).unwrap();
    let expected = "## Ships & piers\n\nHarbour,,two words\n12.5,2026-11-22,TRUE,\"a \"\"quoted\"\", text\",inline\n\n## Last\n\n1,2";
    assert_eq!(text, expected);
}

#[test]
fn a_cell_beside_all_others_costs_no_more_than_the_text_may_have() {
    let rows: String =
        (1..200).map(|n| format!(r#"<row><c r="XFD{n}"><v>1</v></c><c r="ZZZZZZZZZZ1"><v>1</v></c></row>"#)).collect();
    let text = read(Format::Xlsx, &workbook(&[("Wide", &rows)]), None, 100_000).unwrap();
    assert_eq!(text.len(), 100_000);
}

#[test]
fn a_file_of_another_kind_is_refused_with_what_it_is() {
    let error = |format, bytes: &[u8]| read(format, bytes, None, ROOM).unwrap_err();
    assert_eq!(
        error(Format::Xlsx, &word(&paragraph("x"))),
        "its main part is \"word/document.xml\", and that of an Excel workbook is within xl/"
    );
    assert_eq!(error(Format::Docx, &archive(&[("a.txt", "x")])), "its archive is not that of an Office document");
    assert!(error(Format::Docx, b"PK\x03\x04").starts_with("it is no ZIP archive: "));
    assert!(error(Format::Pdf, b"%PDF-1.7\nnonsense").starts_with("it is no valid PDF, or only the beginning"));
    let empty = archive(&[("_rels/.rels", &about("word/document.xml")), ("word/document.xml", "<document/>")]);
    assert_eq!(error(Format::Docx, &empty), "it holds no text");
}

#[test]
fn a_part_that_unpacks_without_end_is_stopped_at_the_bound() {
    // Nothing of it fills the output, so only the bound ends it.
    let bomb = " ".repeat(65 << 20);
    let error = read(Format::Docx, &word(&bomb), None, ROOM).unwrap_err();
    assert!(error.contains("unpacks to more than 64 MiB"), "{error}");
    let text = read(Format::Docx, &word(&paragraph("again ").repeat(1 << 20)), None, ROOM).unwrap();
    assert_eq!(text.len(), ROOM, "a part is read only as far as its text fits");
}

#[test]
fn the_lines_and_words_of_a_page_are_where_they_are_seen() {
    let text = read_pdf(
        "BT /F1 12 Tf 72 700 Td (The sluice) Tj 0 -14 Td [(open) -20 (s) -300 (at) -250 (noon.)] TJ \
         0 -40 Td (Caf\\351) Tj 100 0 Td (right) Tj T* (same) ' ET",
    );
    assert_eq!(text, "The sluice\nopens at noon.\n\nCafé right same");
}

#[test]
fn a_drawing_that_holds_itself_is_read_once() {
    assert_eq!(read_pdf("BT /F1 12 Tf 72 700 Td (Above.) Tj ET q /X1 Do Q"), "Above.\n\nFrom the form.");
}

#[test]
fn a_font_says_what_its_codes_mean_and_how_wide_they_are() {
    let map = "/CIDInit /ProcSet findresource begin\n12 dict begin\nbegincmap\n\
               /CIDSystemInfo << /Registry (Adobe) /Ordering (UCS) /Supplement 0 >> def\n\
               /CMapName /Adobe-Identity-UCS def\n/CMapType 2 def\n\
               1 begincodespacerange\n<0000> <ffff>\nendcodespacerange\n\
               2 beginbfchar\n<0001> <0048>\n<0002> <00e9>\nendbfchar\n\
               endcmap\nCMapName currentdict /CMap defineresource pop\nend\nend";
    let file = pdf_of(&[
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 /Resources << /Font << /F1 4 0 R >> >> >>".to_owned(),
        "<< /Type /Page /Parent 2 0 R /Contents 5 0 R >>".to_owned(),
        "<< /Type /Font /Subtype /Type0 /Encoding /Identity-H /ToUnicode 6 0 R /DescendantFonts [7 0 R] >>".to_owned(),
        stream(
            "",
            "BT /F1 10 Tf 1 0 0 1 72 700 Tm <0001> Tj 1 0 0 1 78 700 Tm <0002> Tj 1 0 0 1 100 700 Tm <0001> Tj ET",
        ),
        stream("", map),
        "<< /Type /Font /Subtype /CIDFontType2 /DW 1000 /W [1 [600 500]] >>".to_owned(),
    ]);
    assert_eq!(read(Format::Pdf, &file, None, ROOM).unwrap(), "Hé H");
}

#[test]
fn pages_are_told_apart_and_empty_ones_left_out() {
    let page = |content: usize| format!("<< /Type /Page /Parent 2 0 R /Contents {content} 0 R >>");
    let show = |text: &str| stream("", &format!("BT /F1 12 Tf 72 700 Td ({text}) Tj ET"));
    let file = pdf_of(&[
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R 4 0 R 5 0 R] /Count 3 /Resources << /Font << /F1 6 0 R >> >> >>".to_owned(),
        page(7),
        page(8),
        page(9),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>".to_owned(),
        show("one"),
        stream("", "0 0 m"),
        show("three"),
    ]);
    assert_eq!(read(Format::Pdf, &file, None, ROOM).unwrap(), "[Page 1]\n\none\n\n[Page 3]\n\nthree");
}

#[test]
fn pages_in_a_circle_and_pictures_of_text_end_with_a_word_about_it() {
    let circle = pdf_of(&[
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [2 0 R 2 0 R] /Parent 2 0 R /Count 9 >>".to_owned(),
    ]);
    let error = read(Format::Pdf, &circle, None, ROOM).unwrap_err();
    assert_eq!(error, "it holds no text; if its pages are pictures, send them as images");
    let error = read(Format::Pdf, &pdf("q 1 0 0 1 0 0 cm Q"), None, ROOM).unwrap_err();
    assert!(error.contains("send them as images"), "{error}");
}

#[test]
fn a_page_is_told_as_a_person_sees_it() {
    let html = "<html><head><title>The  harbour</title><script>alert(1)</script></head><body><nav>Menu</nav>\
                <h2>Gates</h2><p>They <b>open</b>.<p hidden>secret<ul><li>one<li>two</ul></body></html>";
    let text = read(Format::Html, html.as_bytes(), None, ROOM).unwrap();
    assert_eq!(text, "# The harbour\n\nMenu\n\n## Gates\n\nThey **open**.\n\n- one\n- two");
    assert_eq!(read(Format::Html, b"<p>caf\xe9", Some("iso-8859-1"), ROOM).unwrap(), "café");
}

#[test]
fn what_is_written_ends_at_its_bound_on_a_character() {
    let text = read(Format::Html, "<p>ééééé".as_bytes(), None, 5).unwrap();
    assert_eq!(text, "éé");
}

proptest! {
    #[test]
    fn no_bytes_break_a_reader(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        for format in [Format::Pdf, Format::Docx, Format::Xlsx, Format::Html] {
            let _either_way = read(format, &bytes, None, ROOM);
        }
    }

    #[test]
    fn no_broken_file_breaks_its_reader(place in 0_usize..4000, byte in any::<u8>(), cut in 0_usize..4000) {
        let files = [
            (Format::Pdf, pdf("BT /F1 12 Tf 72 700 Td [(a) -300 (b)] TJ ET /X1 Do")),
            (Format::Docx, word(&paragraph("text"))),
            (Format::Xlsx, workbook(&[("S", r#"<row><c r="A1" t="s"><v>0</v></c></row>"#)])),
        ];
        for (format, mut file) in files {
            let length = file.len();
            file[place % length] = byte;
            let _either_way = read(format, &file, None, ROOM);
            file.truncate(cut % length);
            let _either_way = read(format, &file, None, ROOM);
        }
    }

    #[test]
    fn no_instructions_break_a_page(content in "([a-zA-Z*'\"]{1,2}|-?[0-9]{1,6}(\\.[0-9])?|\\[|\\]|\\(ab\\)|<00>|/F1|/X1|\\s| ){0,60}") {
        let _either_way = read(Format::Pdf, &pdf(&content), None, ROOM);
    }
}

/// A line of text at a place, in ten points.
fn at(x: i32, y: i32, text: &str) -> String {
    format!("BT /F1 10 Tf {x} {y} Td ({text}) Tj ET\n")
}

/// A PDF of these pages.
fn pdf_pages(pages: &[String]) -> Vec<u8> {
    let kids: Vec<String> = (0..pages.len()).map(|n| format!("{} 0 R", n * 2 + 4)).collect();
    let mut objects = vec![
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        format!(
            "<< /Type /Pages /Kids [{}] /Count {} /Resources << /Font << /F1 3 0 R >> /XObject << /P 99 0 R >> >> >>",
            kids.join(" "),
            pages.len()
        ),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>".to_owned(),
    ];
    for (n, page) in pages.iter().enumerate() {
        objects.push(format!("<< /Type /Page /Parent 2 0 R /Contents {} 0 R >>", n * 2 + 5));
        objects.push(stream("", page));
    }
    pdf_of(&objects)
}

fn read_pages(pages: &[String]) -> String {
    read(Format::Pdf, &pdf_pages(pages), None, 100_000).unwrap()
}

#[test]
fn columns_are_read_one_after_the_other_below_what_goes_over_both() {
    let mut page =
        at(60, 750, "A title that goes over both of the columns of this page, from one side to the other side");
    for n in 0..12 {
        let y = 700 - n * 12;
        // Drawn row by row, as some programs do, and the columns a little apart in height.
        page += &at(60, y, &format!("Left line {n} has quite a few words to fill"));
        page += &at(320, y - 2, &format!("Right line {n} has about as many as that"));
    }
    let text = read_pages(&[page]);
    let places: Vec<_> = ["A title", "Left line 0", "Left line 11", "Right line 0", "Right line 11"]
        .iter()
        .map(|part| text.find(part).unwrap_or_else(|| panic!("{part} is not there:\n{text}")))
        .collect();
    assert!(places.is_sorted(), "{text}");
}

#[test]
fn the_rows_of_a_table_stay_rows() {
    let mut page = at(60, 760, "The depths of all gates are these.");
    for (n, row) in
        [["Gate", "Opens", "Depth"], ["North", "06:10", "4.2"], ["South | old", "07:45", "3.9"]].iter().enumerate()
    {
        for (x, cell) in [60, 200, 300].iter().zip(row) {
            page += &at(*x, 700 - i32::try_from(n).unwrap() * 14, cell);
        }
    }
    assert_eq!(
        read_pages(&[page]),
        "The depths of all gates are these.\n\n| Gate | Opens | Depth |\n| --- | --- | --- |\n| North | 06:10 | 4.2 |\n| South \\| old | 07:45 | 3.9 |"
    );
}

#[test]
fn words_that_a_lines_end_has_broken_are_whole_again_and_ligatures_are_letters() {
    let page = at(60, 700, "The harbour master explained the considera-")
        + &at(60, 688, "ble length of the well-known state-of-the-")
        + &at(60, 676, "art gates of Saint-Malo and of Port-")
        + &at(60, 664, "Louis at noon.");
    assert_eq!(
        read_pages(&[page]),
        "The harbour master explained the considerable length of the well-known state-of-the-art gates of Saint-Malo and of Port-\nLouis at noon."
    );
}

#[test]
fn what_stands_on_every_page_is_left_out_and_what_does_not_stays() {
    let pages: Vec<String> = (1..6)
        .map(|n| {
            at(60, 800, "Journal of Harbours, Vol. 12")
                + &at(60, 700, &format!("What page {n} says is its own."))
                + &at(60, 690, "And this stands on each.")
                + &at(280, 30, &format!("{n}"))
        })
        .collect();
    let text = read_pages(&pages);
    assert!(!text.contains("Journal"), "{text}");
    assert!(text.starts_with("[Page 1]\n\nWhat page 1 says is its own."), "{text}");
    let short = read_pages(&pages[..2]);
    assert_eq!(short.matches("Journal").count(), 2, "two pages are too few to tell: {short}");
}

#[test]
fn a_shadow_is_not_read_twice_and_a_stamp_on_the_margin_comes_last() {
    let page = "BT /F1 10 Tf 0 1 -1 0 20 300 Tm (A stamp on the margin) Tj ET\n".to_owned()
        + &at(60, 700, "Bold by a trick.")
        + "BT /F1 10 Tf 60.3 700 Td (Bold by a trick.) Tj ET\n"
        + &at(60, 660, "The rest of the page.");
    assert_eq!(read_pages(&[page]), "Bold by a trick.\n\nThe rest of the page.\n\nA stamp on the margin");
}

#[test]
fn what_is_set_larger_is_a_heading() {
    let mut page = "BT /F1 20 Tf 60 760 Td (On gates) Tj ET\nBT /F1 12 Tf 60 730 Td (How they open) Tj ET\n".to_owned();
    for n in 0..12 {
        page += &at(60, 700 - n * 12, "They open at slack water when the keeper turns the wheel slowly.");
    }
    let text = read_pages(&[page]);
    assert!(text.starts_with("# On gates\n\n### How they open\n\nThey open at slack water"), "{text}");
}

mod bounds;
mod files;
mod pages;
