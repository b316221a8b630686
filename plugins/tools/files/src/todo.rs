//! The list of things to do: a file of the workspace, so that the person sees it and it lasts as long as the session.

use std::fmt::Write as _;

use crate::arguments::{Item, Status};

/// Where it is.
pub(crate) const FILE: &str = ".todo.md";

/// The list as Markdown.
pub(crate) fn written(items: &[Item]) -> String {
    let mut text = String::new();
    for item in items {
        let mark = match item.status {
            Status::Open => "[ ]",
            Status::Doing => "[~]",
            Status::Done => "[x]",
        };
        let line = item.text.split_whitespace().collect::<Vec<_>>().join(" ");
        // Writing to a String does not fail.
        let _ = writeln!(text, "- {mark} {line}");
    }
    text
}
