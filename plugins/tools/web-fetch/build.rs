//! The manifest of the tool `web_fetch`.

#[path = "src/arguments.rs"]
mod arguments;

fn main() -> std::io::Result<()> {
    vivarium_manifest::Plugin::new("vivarium/web-fetch", "Reads pages of the public web as Markdown.")
        .tool::<arguments::Fetch>(
            "web_fetch",
            "Read a web page",
            "Reads a page or a file of the public web: HTML, PDF, DOCX, XLSX and RSS or Atom feeds as Markdown; Markdown, \
             plain text, JSON, XML and CSV as text. Gives the beginning, or the parts that speak of `focus`; of a longer \
             document the end of the answer says which `start` goes on. Keeps to the site's robots.txt.",
            |tool| tool.read_only().idempotent().open_world(),
        )
        .hosts(&["*"])
        .settings(&["dangerously-ignore-robots-txt", "min-delay-ms"])
        .state()
        .emit()
}
