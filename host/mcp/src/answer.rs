//! A tool's answer as what a model reads: text. What is no text is named, so that a model does not take silence for nothing.

use rmcp::model::{CallToolResult, ContentBlock, ResourceContents};
use vivarium_domain::Document;

/// How an answer is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The server's name in the tenant.
    pub server: String,
    /// The tool's, as the server has it.
    pub tool: String,
    /// The tool's, for a person.
    pub title: String,
    /// The text of the answer is a document that can be quoted: the tool reads, and does nothing.
    pub is_document: bool,
}

/// What a tool has answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// For the model: the structured content as JSON, or the texts.
    pub content: String,
    /// The tool says that this is what went wrong.
    pub is_error: bool,
    /// What was read on the way: the resources with text, and the text of a tool that only reads.
    pub documents: Vec<Document>,
}

impl Answer {
    pub(crate) fn of(result: CallToolResult, shown: &Shown) -> Self {
        let is_error = result.is_error.unwrap_or(false);
        let mut documents = Vec::new();
        let (mut texts, mut said) = (Vec::new(), Vec::new());
        for block in result.content {
            match block {
                ContentBlock::Text(text) => {
                    said.push(text.text.clone());
                    texts.push(text.text);
                }
                ContentBlock::Resource(embedded) => texts.push(resource(embedded.resource, &mut documents)),
                ContentBlock::ResourceLink(link) => {
                    let about = link.description.map(|about| format!(": {about}")).unwrap_or_default();
                    texts.push(format!("[{} at {}{about}]", link.title.unwrap_or(link.name), link.uri));
                }
                ContentBlock::Image(image) => texts.push(not_shown("an image", &image.mime_type, image.data.len())),
                ContentBlock::Audio(audio) => texts.push(not_shown("a sound", &audio.mime_type, audio.data.len())),
                _ => texts.push("[something that is no text and can not be shown here]".to_owned()),
            }
        }
        let said = said.join("\n");
        if shown.is_document && !is_error && !said.trim().is_empty() {
            documents.push(Document {
                title: if shown.title.is_empty() {
                    format!("{} of {}", shown.tool, shown.server)
                } else {
                    shown.title.clone()
                },
                location: format!("mcp:{}/{}", shown.server, shown.tool),
                media_type: "text/plain".to_owned(),
                text: said,
            });
        }
        let content = match result.structured_content {
            Some(structured) if !is_error => structured.to_string(),
            _ => texts.join("\n"),
        };
        let content = if is_error && content.trim().is_empty() {
            "the tool says that it failed, and not how".to_owned()
        } else {
            content
        };
        Self { content, is_error, documents: if is_error { Vec::new() } else { documents } }
    }
}

/// A resource within an answer.
fn resource(resource: ResourceContents, documents: &mut Vec<Document>) -> String {
    match resource {
        ResourceContents::TextResourceContents { uri, mime_type, text, .. } => {
            documents.push(Document {
                title: uri.clone(),
                location: uri.clone(),
                media_type: mime_type.unwrap_or_else(|| "text/plain".to_owned()),
                text: text.clone(),
            });
            format!("{uri}:\n{text}")
        }
        ResourceContents::BlobResourceContents { uri, mime_type, blob, .. } => {
            let what = format!("the file {uri}");
            not_shown(&what, mime_type.as_deref().unwrap_or("an unknown type"), blob.len())
        }
        _ => "[a resource that is no text and can not be shown here]".to_owned(),
    }
}

/// What stands for something that is no text. Its size is that of what base64 makes of it.
fn not_shown(what: &str, media_type: &str, base64_bytes: usize) -> String {
    format!("[{what} of {media_type}, about {} bytes, which can not be shown as text]", base64_bytes / 4 * 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(json: &str, is_document: bool) -> Answer {
        let shown = Shown { server: "docs".into(), tool: "read".into(), title: "Read".into(), is_document };
        Answer::of(serde_json::from_str(json).unwrap(), &shown)
    }

    #[test]
    fn texts_are_the_answer_and_what_is_no_text_is_named() {
        let json = r#"{"content":[{"type":"text","text":"one"},{"type":"image","data":"AAAABBBB","mimeType":"image/png"},
            {"type":"resource_link","uri":"https://example.com/a","name":"a"},
            {"type":"resource","resource":{"uri":"file:///x","mimeType":"text/markdown","text":"two"}},
            {"type":"resource","resource":{"uri":"file:///y","blob":"AAAA"}}]}"#;
        let answer = answer(json, false);
        assert_eq!(
            answer.content,
            "one\n[an image of image/png, about 6 bytes, which can not be shown as text]\n[a at https://example.com/a]\n\
             file:///x:\ntwo\n[the file file:///y of an unknown type, about 3 bytes, which can not be shown as text]"
        );
        let places: Vec<_> = answer.documents.iter().map(|document| document.location.as_str()).collect();
        assert_eq!(places, ["file:///x"], "a resource can be quoted, the words around it can not");
    }

    #[test]
    fn structured_content_is_the_answer_where_there_is_some() {
        let json = r#"{"content":[{"type":"text","text":"21 degrees"}],"structuredContent":{"degrees":21}}"#;
        let answer = answer(json, true);
        assert_eq!(answer.content, r#"{"degrees":21}"#);
        assert_eq!(
            (answer.documents[0].location.as_str(), answer.documents[0].text.as_str()),
            ("mcp:docs/read", "21 degrees")
        );
    }

    #[test]
    fn an_error_is_no_document_and_never_empty() {
        let told = answer(r#"{"content":[{"type":"text","text":"no such page"}],"isError":true}"#, true);
        assert_eq!((told.content.as_str(), told.is_error, told.documents.len()), ("no such page", true, 0));
        assert!(!answer(r#"{"content":[],"isError":true}"#, true).content.is_empty());
        assert_eq!(answer(r#"{"content":[]}"#, true).content, "");
    }
}
