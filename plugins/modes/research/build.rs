//! The manifest of the mode `research`.

fn main() -> std::io::Result<()> {
    vivarium_manifest::Plugin::new(
        "vivarium/research",
        "Finds documents, reads them, and answers with verified quotes.",
    )
    .mode(
        "research",
        "Research",
        "Searches the corpus and the web, reads what it finds, and answers with quotes that the host has verified.",
        5,
    )
    .emit()
}
