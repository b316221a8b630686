//! The manifest of the mode `coding`.

fn main() -> std::io::Result<()> {
    vivarium_manifest::Plugin::new("vivarium/coding", "Reads, writes, runs and repairs code, and explains it.")
        .mode(
            "coding",
            "Coding",
            "Plans, uses the agent's tools to read and change files and to run code, repairs what fails, and shows what has changed.",
            20,
        )
        .emit()
}
