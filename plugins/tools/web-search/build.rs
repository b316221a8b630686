//! The manifest of the tool `web_search`.

#[path = "src/arguments.rs"]
mod arguments;

fn main() -> std::io::Result<()> {
    vivarium_manifest::Plugin::new(
        "vivarium/web-search",
        "Searches the web with the engine that the operator has chosen: SearXNG, Brave or Tavily.",
    )
    .tool::<arguments::Search>(
        "web_search",
        "Search the web",
        "Searches the web. Gives titles, URLs and snippets. Read a page with web_fetch before you cite it.",
        |tool| tool.read_only().idempotent().open_world(),
    )
    // The star is for an instance of SearXNG, whose host only the operator knows.
    .hosts(&["api.search.brave.com", "api.tavily.com", "*"])
    .secrets(&["brave-key", "tavily-key"])
    .settings(&["engine", "base-url"])
    .emit()
}
