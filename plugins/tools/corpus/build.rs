//! The manifest of the tools over the corpus.

#[path = "src/arguments.rs"]
mod arguments;

fn main() -> std::io::Result<()> {
    vivarium_manifest::Plugin::new("vivarium/corpus", "Searches and reads the documents of the corpus.")
        .tool::<arguments::Search>(
            "corpus_search",
            "Search the corpus",
            "Full-text search over the documents that the operator has put into the corpus. Gives the passages that \
             answer best, each with its document's location. Read a document with corpus_read before you cite it.",
            |tool| tool.read_only().idempotent(),
        )
        .tool::<arguments::Read>(
            "corpus_read",
            "Read a document of the corpus",
            "Reads a document of the corpus, by the location that corpus_search gave. Gives its beginning, or the parts \
             of it that speak of `focus`.",
            |tool| tool.read_only().idempotent(),
        )
        .corpus()
        .emit()
}
