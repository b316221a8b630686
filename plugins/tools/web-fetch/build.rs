//! The manifest of the tool `web_fetch`.

#[path = "src/arguments.rs"]
mod arguments;

fn main() -> std::io::Result<()> {
    vivarium_manifest::Plugin::new("vivarium/web-fetch", "Reads pages of the public web as Markdown.")
        .tool::<arguments::Fetch>(
            "web_fetch",
            "Read a web page",
            "Reads a page of the public web: HTML as Markdown, and Markdown, plain text, JSON, XML and CSV as they are. \
             Gives the page's beginning, or the parts of it that speak of `focus`.",
            |tool| tool.read_only().idempotent().open_world(),
        )
        .hosts(&["*"])
        .emit()
}
