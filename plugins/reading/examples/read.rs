//! Shows what is read of a file: `cargo run -p vivarium-reading --example read -- FILE`.

#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use std::error::Error;

use vivarium_reading::{Format, read};

fn main() -> Result<(), Box<dyn Error>> {
    for file in std::env::args().skip(1) {
        let format = match file.rsplit('.').next() {
            Some("docx") => Format::Docx,
            Some("xlsx") => Format::Xlsx,
            Some("html" | "htm") => Format::Html,
            _ => Format::Pdf,
        };
        let content = read(format, &std::fs::read(&file)?, None, 1 << 20)?;
        println!("title: {:?}\n{}", content.title, content.markdown);
    }
    Ok(())
}
