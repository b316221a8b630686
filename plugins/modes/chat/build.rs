//! The manifest of the mode `chat`.

fn main() -> std::io::Result<()> {
    vivarium_manifest::Plugin::new(
        "vivarium/chat",
        "Answers directly, with the agent's tools where the model can use them.",
    )
    .mode("chat", "Chat", "Answers directly; uses tools where that helps.", 1)
    .emit()
}
