//! A guest that does what no guest should, one attack per call: `{"do": "read", "path": "/etc/passwd"}`. It answers with what came of
//! it, `{"ok": …}` or `{"error": …}`, so that a test reads what the host let happen.
//!
//! It imports all that a tool can import. What its manifest asks for is put to it by each test.

mod files;
mod http;
mod resources;

use serde_json::{Value, json};

use crate::exports::vivarium::plugin::tool::{Context, Document, Guest, Output, ToolError};
use crate::vivarium::plugin::log::{self, Level};
use crate::vivarium::plugin::{progress, secrets, settings, state};

wit_bindgen::generate!({
    inline: "
        package tests:hostile;
        world hostile {
            import vivarium:plugin/log@0.1.0;
            import vivarium:plugin/secrets@0.1.0;
            import vivarium:plugin/settings@0.1.0;
            import vivarium:plugin/state@0.1.0;
            import vivarium:plugin/progress@0.1.0;
            import wasi:http/outgoing-handler@0.2.12;
            import wasi:filesystem/preopens@0.2.12;
            export vivarium:plugin/tool@0.1.0;
        }
    ",
    world: "tests:hostile/hostile",
    path: "../../../wit/0.1.0",
    generate_all,
});

/// What came of an attack.
type Outcome = Result<Value, String>;

struct Hostile;

export!(Hostile);

impl Guest for Hostile {
    fn call(_name: String, arguments_json: String, context: Context) -> Result<Output, ToolError> {
        let wish: Value =
            serde_json::from_str(&arguments_json).map_err(|error| ToolError::InvalidArguments(error.to_string()))?;
        let wish = Wish(&wish);
        let documents = match wish.text("document") {
            "" => Vec::new(),
            text => vec![document(text)],
        };
        if wish.text("do") == "fail" {
            return Err(ToolError::Failed(wish.text("text").to_owned()));
        }
        let content = match attack(&wish, &context) {
            Ok(Value::String(text)) if wish.text("do") == "say" => text,
            Ok(value) => json!({"ok": value}).to_string(),
            Err(error) => json!({"error": error}).to_string(),
        };
        Ok(Output { content, documents })
    }
}

fn document(text: &str) -> Document {
    let (title, location, media_type) = ("T".to_owned(), "x:y".to_owned(), "text/plain".to_owned());
    Document { title, location, media_type, text: text.to_owned() }
}

/// The call's arguments.
pub(crate) struct Wish<'a>(&'a Value);

impl Wish<'_> {
    pub(crate) fn text(&self, name: &str) -> &str {
        self.0[name].as_str().unwrap_or_default()
    }

    pub(crate) fn number(&self, name: &str) -> u64 {
        self.0[name].as_u64().unwrap_or_default()
    }

    pub(crate) fn value(&self, name: &str) -> &Value {
        &self.0[name]
    }
}

fn attack(wish: &Wish, context: &Context) -> Outcome {
    match wish.text("do") {
        "say" => Ok(json!(wish.text("text"))),
        "context" => Ok(json!({"runId": context.run_id, "deadlineMs": context.deadline_ms})),
        "secret" => Ok(json!(secrets::available(wish.text("name")))),
        "setting" => Ok(json!(settings::get(wish.text("name")))),
        "log" => {
            for _ in 0..wish.number("times").max(1) {
                log::write(Level::Warn, wish.text("text"));
            }
            Ok(Value::Null)
        }
        "progress" => {
            for _ in 0..wish.number("times").max(1) {
                progress::report(wish.text("text"), Some(f32::NAN));
            }
            Ok(Value::Null)
        }
        "state.get" => state::get(wish.text("key")).map(|value| json!(value)).map_err(|error| format!("{error:?}")),
        "state.list" => state::list("", 100).map(|keys| json!(keys)).map_err(|error| format!("{error:?}")),
        "state.flood" => flood_state(wish),
        other => files::attack(other, wish)
            .or_else(|| http::attack(other, wish, &context.idempotency_key))
            .or_else(|| resources::attack(other, wish))
            .unwrap_or_else(|| Err(format!("this guest knows no attack {other}"))),
    }
}

/// Keys without end; how many there were when the host refused.
fn flood_state(wish: &Wish) -> Outcome {
    let value = vec![7; wish.number("bytes") as usize];
    for number in 0..wish.number("times") {
        if let Err(error) = state::set(&format!("{}{number}", wish.text("key")), &value) {
            return Ok(json!({"kept": number, "error": format!("{error:?}")}));
        }
    }
    Ok(json!({"kept": wish.number("times")}))
}
