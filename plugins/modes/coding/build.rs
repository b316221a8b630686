//! The manifest of the mode `coding`.

fn main() -> std::io::Result<()> {
    vivarium_manifest::Plugin::new("vivarium/coding", "Finds, reads and explains code and its documentation.")
        .mode(
            "coding",
            "Coding",
            "Plans, uses the agent's tools to find and read what the task needs, and explains where things stand.",
            5,
        )
        .emit()
}
