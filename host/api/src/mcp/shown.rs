//! What tools, their answers and runs look like to a client.

use std::collections::BTreeSet;

use rmcp::model::{CallToolResult, ContentBlock, MetaObject, Resource, Tool, ToolAnnotations};
use serde_json::{Map, Value, json};
use vivarium_domain::{Agent, Approval, Document, Outcome, Source, ToolManifest, ToolOutcome};
use vivarium_runs::{Started, ToolInfo, ToolTrial};

use super::agents;

/// The most documents that an answer points at.
const MAX_LINKS: usize = 50;

/// Said of a tool that a person is asked about.
const ASKS: &str = "Needs a person's approval for each call, for which nobody can be asked here: the call is refused. An agent can use it; \
                    its run waits for the approval.";

/// What is answered to a call of such a tool.
pub(super) fn asks(name: &str) -> CallToolResult {
    error(format!(
        "{name} needs a person's approval for each call, and over this protocol nobody can be asked. Call an agent that has it: its \
         run waits until a person decides (POST /v1/runs/{{id}}/approve). Or let the grant of the plugin or the MCP server that \
         provides it say auto."
    ))
}

/// A tool of the catalog.
pub(super) fn tool(info: &ToolInfo) -> Tool {
    let ToolManifest { name, title, description, input_schema, output_schema, .. } = &*info.manifest;
    let description = match info.approval {
        Approval::Ask => format!("{description}\n\n{ASKS}"),
        Approval::Auto | Approval::Never => description.clone(),
    };
    let tool = Tool::new(name.to_string(), description, object(input_schema)).with_title(title.clone());
    let tool = tool.with_annotations(
        ToolAnnotations::new()
            .read_only(info.manifest.read_only)
            .destructive(info.manifest.destructive)
            .idempotent(info.manifest.idempotent)
            .open_world(info.manifest.open_world),
    );
    match output_schema.as_ref().filter(|schema| is_of_object(schema)) {
        Some(schema) => tool.with_raw_output_schema(object(schema).into()),
        None => tool,
    }
}

/// An agent.
pub(super) fn agent(name: &str, agent: &Agent) -> Tool {
    let tool = Tool::new(name.to_owned(), agents::description(agent), agents::input_schema())
        .with_title(agent.config.name.clone())
        .with_annotations(ToolAnnotations::new().read_only(false).idempotent(false).open_world(true));
    match agent.config.output.schema().filter(is_of_object) {
        Some(schema) => tool.with_raw_output_schema(object(&schema).into()),
        None => tool,
    }
}

/// Structured content is an object in all versions of the protocol but the newest.
fn is_of_object(schema: &Value) -> bool {
    schema.get("type").and_then(Value::as_str) == Some("object")
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

pub(super) fn error(text: impl Into<String>) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(text)])
}

/// What came of a tool's call.
pub(super) fn trial(manifest: &ToolManifest, trial: ToolTrial) -> CallToolResult {
    let content = match trial.outcome {
        ToolOutcome::Output(content) => content,
        ToolOutcome::Error(message) => return error(message),
    };
    let structured = manifest.output_schema.as_ref().filter(|schema| is_of_object(schema));
    let structured = structured.and_then(|_| serde_json::from_str(&content).ok());
    let links =
        trial.documents.iter().map(|Document { title, location, media_type, .. }| (title, location, media_type));
    let mut result = CallToolResult::success(with_links(content, links));
    result.structured_content = structured;
    result
}

/// How a run ended well: its answer, the documents that it cites, and what to ask for more of it with.
pub(super) fn outcome(agent: &Agent, started: &Started, outcome: &Outcome, sources: &[Source]) -> CallToolResult {
    let verified = outcome.citations.iter().filter(|citation| citation.verified);
    let cited: BTreeSet<&str> = verified.map(|citation| citation.source_id.as_str()).collect();
    let cited = sources.iter().filter(|source| cited.contains(source.id.as_str()));
    let links = cited.map(|Source { title, location, media_type, .. }| (title, location, media_type));
    let mut result = CallToolResult::success(with_links(outcome.answer.clone(), links));
    let has_schema = agent.config.output.schema().is_some_and(|schema| is_of_object(&schema));
    result.structured_content = outcome.output.clone().filter(|output| has_schema && output.is_object());
    result.meta = Some(about(started, &outcome.citations));
    result
}

/// What a client that knows this host can read of a run.
fn about(started: &Started, citations: &impl serde::Serialize) -> MetaObject {
    let mut meta = MetaObject::new();
    meta.insert("vivarium/runId".to_owned(), json!(started.run_id));
    meta.insert("vivarium/sessionId".to_owned(), json!(started.session_id));
    if let Ok(citations) = serde_json::to_value(citations) {
        meta.insert("vivarium/citations".to_owned(), citations);
    }
    meta
}

/// A text, and links to the documents that have an address.
fn with_links<'a>(
    text: String,
    documents: impl Iterator<Item = (&'a String, &'a String, &'a String)>,
) -> Vec<ContentBlock> {
    let mut content = vec![ContentBlock::text(text)];
    let mut seen = BTreeSet::new();
    for (title, location, media_type) in documents {
        if seen.len() >= MAX_LINKS || url::Url::parse(location).is_err() || !seen.insert(location) {
            continue;
        }
        let name = if title.is_empty() { location } else { title };
        let mut link = Resource::new(location.clone(), name.clone());
        link.mime_type = Some(media_type.clone());
        content.push(ContentBlock::resource_link(link));
    }
    content
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_linked_once_where_they_have_an_address_and_so_many_at_most() {
        let (title, html) = ("A".to_owned(), "text/html".to_owned());
        let links = |locations: &[String]| {
            let documents = locations.iter().map(|location| (&title, location, &html));
            with_links("text".to_owned(), documents).len() - 1
        };
        let of = |n: usize| format!("https://example.com/{n}");
        assert_eq!(links(&[of(1), of(2), of(1), "notes/a.md".to_owned()]), 2);
        assert_eq!(links(&(0..MAX_LINKS + 10).map(of).collect::<Vec<_>>()), MAX_LINKS);
    }
}
