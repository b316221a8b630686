//! `read_document` turns files of formats that were made for printers and office programs into Markdown. It is the host's
//! own reader of what people attach to their messages and keep in corpora: foreign bytes, which are parsed in here.
//!
//! Text is written until the call's output is full, and parsing ends there; whoever asked sees by the length that there is
//! more, and says so.

mod arguments;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use vivarium_sdk::tool::{Context, Output, ToolError};

use crate::arguments::{Format, ReadDocument};

vivarium_sdk::export_tools! { "read_document" => read_document }

fn read_document(arguments: ReadDocument, context: &Context) -> Result<Output, ToolError> {
    let ReadDocument { format, data, charset } = arguments;
    let bytes = STANDARD.decode(&data).map_err(|error| ToolError::InvalidArguments(format!("data: {error}")))?;
    // From here on only the bytes are needed, and they may be large.
    drop(data);
    let format = match format {
        Format::Pdf => vivarium_reading::Format::Pdf,
        Format::Docx => vivarium_reading::Format::Docx,
        Format::Xlsx => vivarium_reading::Format::Xlsx,
        Format::Html => vivarium_reading::Format::Html,
    };
    let read = vivarium_reading::read(format, &bytes, charset.as_deref(), context.max_output_bytes as usize);
    read.map(|content| Output::text(content.markdown)).map_err(ToolError::Failed)
}
