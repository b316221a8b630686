//! What the language has besides itself: numbers for people, lines of the standard input.

use crate::support::{code, run};

#[test]
fn numbers_are_written_as_en_us_has_them_and_percents_and_dollars_too() {
    let told = code(
        r#"
        const say = (...values) => console.log(...values);
        say((12345.678).toLocaleString(), (-1234567).toLocaleString("en-US"), (1.005).toLocaleString("en", { maximumFractionDigits: 2 }));
        say((0.5).toLocaleString("en-US", { style: "percent" }), (0.12345).toLocaleString(undefined, { style: "percent", minimumFractionDigits: 1 }));
        say((1234.5).toLocaleString("en-US", { style: "currency", currency: "USD" }), (-3).toLocaleString("en-US", { style: "currency", currency: "USD", maximumFractionDigits: 0 }));
        say((1e21).toLocaleString(), (1.5e-7).toLocaleString(), (12345678901234567890n).toLocaleString("en-US"), (1234).toLocaleString("en-GB", { useGrouping: false }));
        "#,
    );
    let expected = "12,345.678 -1,234,567 1.01\n50% 12.3%\n$1,234.50 -$3\n\
                    1,000,000,000,000,000,000,000 0 12,345,678,901,234,567,890 1234\n";
    assert_eq!(told.out, expected, "{told:?}");
}

#[test]
fn a_form_of_numbers_that_is_not_there_is_refused() {
    for call in [
        "(1.5).toLocaleString('de-DE')",
        "(1.5).toLocaleString(['en-IN'])",
        "(1n).toLocaleString('fr')",
        "(1.5).toLocaleString('en-US', { style: 'currency', currency: 'EUR' })",
        "(1.5).toLocaleString('en-US', { style: 'unit', unit: 'liter' })",
        "(1.5).toLocaleString('en-US', { notation: 'compact' })",
        "(1.5).toLocaleString('en-US', { maximumSignificantDigits: 2 })",
    ] {
        let told = code(&format!("console.log({call})"));
        assert!(told.code == Some(1) && told.out.is_empty(), "{call}: {told:?}");
        assert!(told.err.contains("RangeError: toLocaleString: ") && told.err.contains("Intl"), "{call}: {told:?}");
    }
}

/// What a program says that reads these lines.
fn reading(lines: &str, code: &str) -> String {
    let told = run(&["-e", &format!("const lines = require('readline').createInterface({{}});\n{code}")], lines);
    assert_eq!(told.code, Some(0), "{told:?}");
    told.out
}

#[test]
fn lines_wait_for_a_listener_that_comes_late() {
    let late = "setTimeout(() => {
        lines.on('line', (line) => console.log(line));
        lines.on('close', () => console.log('closed'));
    }, 20);";
    assert_eq!(reading("1\n2\n", late), "1\n2\nclosed\n");
    let between = "lines.once('line', (line) => {
        console.log(line);
        setTimeout(() => { lines.on('line', (line) => console.log('late', line)); }, 20);
    });";
    assert_eq!(reading("1\n2\n", between), "1\nlate 2\n");
}

#[test]
fn the_end_of_the_lines_is_told_however_they_were_read() {
    let closed = "lines.on('close', () => console.log('closed'));\n";
    assert_eq!(reading("1\n2\n", closed), "closed\n");
    let asked = format!(
        "{closed}lines.question('', (one) => setTimeout(() => lines.question('', (two) => console.log(one, two)), 20));"
    );
    assert_eq!(reading("1\n2\n", &asked), "1 2\nclosed\n");
    let iterated = format!("{closed}for await (const line of lines) console.log(line);");
    assert_eq!(reading("1\n2\n", &iterated), "1\n2\nclosed\n");
}
