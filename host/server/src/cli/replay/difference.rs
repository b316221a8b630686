//! A difference, for a person: both calls as lines, and what differs between them.

use serde_json::Value;
use similar::TextDiff;
use vivarium_runs::{Asked, Difference};

/// How many equal lines stand around those that differ.
const CONTEXT_LINES: usize = 3;

/// The difference as a unified diff.
pub(super) fn shown(difference: &Difference) -> String {
    let (before, now) = (lines(&difference.before), lines(&difference.now));
    let diff = TextDiff::from_lines(&before, &now);
    diff.unified_diff().context_radius(CONTEXT_LINES).header("before", "now").to_string().trim_end().to_owned()
}

fn lines(asked: &Asked) -> String {
    let mut out = String::new();
    write(&mut out, 0, asked.call, &asked.with);
    out
}

/// A value under its name: what is in it is indented, and a text has the lines that it has.
fn write(out: &mut String, depth: usize, name: &str, value: &Value) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            out.push_str(&format!("{indent}{name}:\n"));
            for (name, value) in fields {
                write(out, depth.saturating_add(1), name, value);
            }
        }
        Value::Array(values) if !values.is_empty() => {
            out.push_str(&format!("{indent}{name}:\n"));
            for (number, value) in values.iter().enumerate() {
                write(out, depth.saturating_add(1), &format!("[{number}]"), value);
            }
        }
        Value::String(text) if text.contains('\n') => {
            out.push_str(&format!("{indent}{name}: |\n"));
            for line in text.split('\n') {
                out.push_str(&format!("{indent}  {line}\n"));
            }
        }
        plain => out.push_str(&format!("{indent}{name}: {plain}\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn asked(text: &str) -> Asked {
        Asked {
            call: "model.generate",
            with: json!({"request": {"messages": [{"role": "system", "text": text}], "tools": [], "temperature": null}}),
        }
    }

    #[test]
    fn a_long_text_is_compared_line_by_line() {
        let difference = Difference {
            seq: 3,
            before: asked("You are kind.\nAnswer in Markdown.\nBe brief."),
            now: asked("You are kind.\nAnswer in HTML.\nBe brief."),
        };
        let shown = shown(&difference);
        let changed: Vec<&str> = shown.lines().filter(|line| line.starts_with(['-', '+'])).collect();
        assert_eq!(
            changed,
            ["--- before", "+++ now", "-          Answer in Markdown.", "+          Answer in HTML."],
            "{shown}"
        );
        assert!(shown.contains("Be brief."), "what stands around it is shown: {shown}");
    }

    #[test]
    fn another_call_is_shown_whole() {
        let before = Asked { call: "steps.report", with: json!({"message": "Looking"}) };
        let now = Asked { call: "end", with: json!({"outcome": {"answer": "Done."}}) };
        let shown = shown(&Difference { seq: 1, before, now });
        for line in ["-steps.report:", "-  message: \"Looking\"", "+end:", "+    answer: \"Done.\""] {
            assert!(shown.lines().any(|shown| shown == line), "{line:?} in {shown}");
        }
    }
}
