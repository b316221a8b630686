//! A tool that says how long a text takes to read. `reading_time` is plain Rust; below it stands what the host calls.

wit_bindgen::generate!({ path: "wit", world: "vivarium:plugin/tool-plugin", generate_all });

use exports::vivarium::plugin::tool::{Context, Guest, Output, ToolError};
use serde::{Deserialize, Serialize};

/// What most adults read silently.
const WORDS_PER_MINUTE: usize = 230;

#[derive(Deserialize)]
struct Arguments {
    text: String,
}

#[derive(Debug, PartialEq, Serialize)]
struct ReadingTime {
    words: usize,
    minutes: usize,
}

fn reading_time(text: &str) -> ReadingTime {
    let words = text.split_whitespace().filter(|word| word.chars().any(char::is_alphanumeric)).count();
    ReadingTime { words, minutes: words.div_ceil(WORDS_PER_MINUTE) }
}

struct Plugin;

impl Guest for Plugin {
    // The host has checked the arguments against the schema in plugin.toml by now.
    fn call(name: String, arguments_json: String, _context: Context) -> Result<Output, ToolError> {
        let content = match name.as_str() {
            "reading_time" => {
                let Arguments { text } = arguments(&arguments_json)?;
                json(&reading_time(&text))?
            }
            _ => return Err(ToolError::UnknownTool(name)),
        };
        Ok(Output { content, documents: Vec::new() })
    }
}

export!(Plugin);

fn arguments<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, ToolError> {
    serde_json::from_str(json).map_err(|error| ToolError::InvalidArguments(error.to_string()))
}

fn json(value: &impl Serialize) -> Result<String, ToolError> {
    serde_json::to_string(value).map_err(|error| ToolError::Failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dashes_are_no_words() {
        assert_eq!(reading_time("One – two, three!"), ReadingTime { words: 3, minutes: 1 });
    }

    #[test]
    fn an_empty_text_takes_no_time() {
        assert_eq!(reading_time(" \n"), ReadingTime { words: 0, minutes: 0 });
    }
}
