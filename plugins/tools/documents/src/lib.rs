//! `read_document` turns files of formats that were made for printers and office programs into Markdown. It is the host's
//! own reader of what people attach to their messages: foreign bytes, in formats whose parsers have been broken before, so
//! they are parsed in here, where the worst that a file can do is to waste its own call's time and memory.
//!
//! Text is written until the call's output is full, and parsing ends there; whoever asked sees by the length that there is
//! more, and says so.

mod arguments;
#[cfg(target_arch = "wasm32")]
mod dice;
mod html;
mod office;
mod pdf;
mod text;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use vivarium_sdk::tool::{Context, Output, ToolError};

use crate::arguments::{Format, ReadDocument};
use crate::text::Text;

vivarium_sdk::export_tools! { "read_document" => read_document }

/// Why a file can not be read: a clause that goes on after "it can not be read: ".
type Unreadable = String;

fn read_document(arguments: ReadDocument, context: &Context) -> Result<Output, ToolError> {
    let ReadDocument { format, data, charset } = arguments;
    let bytes = STANDARD.decode(&data).map_err(|error| ToolError::InvalidArguments(format!("data: {error}")))?;
    // From here on only the bytes are needed, and they may be large.
    drop(data);
    read(format, &bytes, charset.as_deref(), context.max_output_bytes as usize)
        .map(Output::text)
        .map_err(ToolError::Failed)
}

fn read(format: Format, bytes: &[u8], charset: Option<&str>, max_bytes: usize) -> Result<String, Unreadable> {
    let mut text = Text::new(max_bytes);
    match format {
        Format::Pdf => pdf::read(bytes, &mut text)?,
        Format::Docx => office::word::read(bytes, &mut text)?,
        Format::Xlsx => office::sheets::read(bytes, &mut text)?,
        Format::Html => html::read(bytes, charset, &mut text),
    }
    text.finish().ok_or_else(|| match format {
        Format::Pdf => "it holds no text; if its pages are pictures, send them as images".to_owned(),
        _ => "it holds no text".to_owned(),
    })
}

#[cfg(test)]
mod tests;
