//! The manifest of the host's reader of documents.

#[path = "src/arguments.rs"]
mod arguments;

fn main() -> std::io::Result<()> {
    vivarium_manifest::Plugin::new("vivarium/documents", "Reads PDF, Word, Excel and HTML files as Markdown.")
        .tool::<arguments::ReadDocument>(
            "read_document",
            "Read a document",
            "Reads a PDF, DOCX, XLSX or HTML file as Markdown.",
            |tool| tool.read_only().idempotent(),
        )
        .emit()
}
