//! The manifest of the tools over the files of a session.

#[path = "src/arguments.rs"]
mod arguments;

fn main() -> std::io::Result<()> {
    vivarium_manifest::Plugin::new("vivarium/files", "Lists, reads, searches and changes the files of the session.")
        .tool::<arguments::List>(
            "list_files",
            "List files",
            "Lists the files of the workspace with their sizes. What .gitignore files leave out is left out.",
            |tool| tool.read_only().idempotent(),
        )
        .tool::<arguments::Read>(
            "read_file",
            "Read a file",
            "Reads a text file of the workspace, whole or some of its lines, each with its number and a tab before it. Says how many \
             lines there are, and gives the hash that edit_file and write_file need.",
            |tool| tool.read_only().idempotent(),
        )
        .tool::<arguments::Search>(
            "search_files",
            "Search files",
            "Looks for a regular expression in the text files of the workspace, line by line. Gives the lines that match, with their \
             files and numbers.",
            |tool| tool.read_only().idempotent(),
        )
        .tool::<arguments::Write>(
            "write_file",
            "Write a file",
            "Writes a whole file of the workspace: a new one, or over one whose hash you give. For small changes use edit_file.",
            |tool| tool.idempotent().destructive(),
        )
        .tool::<arguments::EditFile>(
            "edit_file",
            "Edit a file",
            "Replaces exact texts in one file of the workspace. Each text must stand in the file exactly once; nothing is guessed. Needs \
             the hash of the file as you have read it.",
            |tool| tool.destructive(),
        )
        .tool::<arguments::Patch>(
            "apply_patch",
            "Apply a patch",
            "Applies a unified diff to the workspace: several files, new ones and removals, all of it or nothing. Lines of context must \
             stand in the files as the patch has them; line numbers may be off.",
            |tool| tool.destructive(),
        )
        .tool::<arguments::Todo>(
            "todo",
            "List of things to do",
            "Keeps the list of things to do for this task, in the file .todo.md, where the person sees it, too. Give the whole list each \
             time something changes; when all of it is done, the file goes.",
            |tool| tool.idempotent(),
        )
        .files("write")
        .emit()
}
