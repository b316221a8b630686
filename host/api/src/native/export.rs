//! `GET /v1/sessions/{id}/export`: a whole conversation, for a program or for a person. It is read and sent piece by piece, so
//! that a long one takes no more memory than a short one.

use std::fmt::Write as _;

use axum::extract::State;
use axum::http::{HeaderValue, Uri, header};
use axum::response::Response;
use bytes::Bytes;
use futures::stream;
use vivarium_domain::{Scope, Session, SessionMessage, TenantId};
use vivarium_runs::SessionError;

use super::NativeError;
use super::list::Parameters;
use super::sessions::{MessageJson, Role, session_id};
use crate::ApiState;
use crate::download;
use crate::error::ApiError;
use crate::gate::CallerExt;
use crate::segment::Segment;

/// How many messages are read at a time.
const PAGE: usize = 16;

/// What an export is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Markdown,
}

impl Format {
    fn of(uri: &Uri) -> Result<Self, ApiError> {
        let asked = Parameters::of(uri, &["format"])?;
        match asked.text("format") {
            None | Some("json") => Ok(Self::Json),
            Some("markdown") => Ok(Self::Markdown),
            Some(_) => Err(ApiError::invalid("format", "must be json or markdown")),
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Markdown => "text/markdown; charset=utf-8",
        }
    }

    fn file_name(self) -> &'static str {
        match self {
            Self::Json => "attachment; filename=\"session.json\"",
            Self::Markdown => "attachment; filename=\"session.md\"",
        }
    }

    fn head(self, session: &Session) -> String {
        match self {
            Self::Json => format!("{{\"session\":{},\"messages\":[", json(session)),
            Self::Markdown => markdown_head(session),
        }
    }

    fn message(self, number: u64, message: SessionMessage) -> String {
        let message = MessageJson::new(number, message);
        match self {
            Self::Json if number == 0 => json(&message),
            Self::Json => format!(",{}", json(&message)),
            Self::Markdown => markdown_message(&message),
        }
    }

    fn tail(self) -> &'static str {
        match self {
            Self::Json => "]}",
            Self::Markdown => "",
        }
    }
}

/// Our own types serialise without fail.
fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// Export a session
///
/// The whole conversation: as JSON, `{"session", "messages"}`, or as Markdown for a person to read. Needs the scope `runs`.
#[utoipa::path(
    get, path = "/v1/sessions/{session}/export", operation_id = "exportSession", tag = "Native",
    params(
        ("session" = String, Path, description = "The session's id."),
        ("format" = Option<String>, Query, nullable = false, pattern = "^(json|markdown)$", description = "`json`, also without it, or `markdown`."),
    ),
    responses((status = 200, description = "The conversation.", content(
        (super::schemas::SessionExport = "application/json"),
        (String = "text/markdown"),
    ), headers(("Content-Disposition" = String, description = "It is a file to be kept."))))
)]
pub(super) async fn export(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment(session): Segment<String>,
    uri: Uri,
) -> Result<Response, NativeError> {
    caller.needs(Scope::Runs)?;
    let format = Format::of(&uri)?;
    let session = state.0.runs.session(&caller.tenant, &session_id(&session)?).await?;
    let export = Export { state, tenant: caller.tenant.clone(), session, format, next: None };
    let pieces = stream::unfold(Some(export), async |export| export?.piece().await);
    let mut response = Response::new(download::body(pieces, &caller));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(format.media_type()));
    response.headers_mut().insert(header::CONTENT_DISPOSITION, HeaderValue::from_static(format.file_name()));
    Ok(response)
}

/// An export that is under way.
struct Export {
    state: ApiState,
    tenant: TenantId,
    session: Session,
    format: Format,
    /// The number of the next message; none: nothing is sent yet.
    next: Option<u64>,
}

impl Export {
    /// The next piece, and what is to come after it. What is said meanwhile is not part of it.
    async fn piece(mut self) -> Option<(Result<Bytes, SessionError>, Option<Self>)> {
        let Some(first) = self.next else {
            let head = self.format.head(&self.session);
            self.next = Some(0);
            return Some((Ok(head.into()), Some(self)));
        };
        let left = usize::try_from(self.session.messages.saturating_sub(first)).unwrap_or(PAGE).min(PAGE);
        if left == 0 {
            return Some((Ok(Bytes::from_static(self.format.tail().as_bytes())), None));
        }
        match self.state.0.runs.messages(&self.tenant, &self.session.id, first, left).await {
            Ok(messages) if messages.len() == left => {
                let shown = (first..).zip(messages).map(|(number, message)| self.format.message(number, message));
                let piece: String = shown.collect();
                self.next = Some(first + left as u64);
                Some((Ok(piece.into()), Some(self)))
            }
            // The session is deleted meanwhile: the connection breaks off, so that nobody takes what there is for the whole.
            Ok(_) => Some((Err(SessionError::NotFound), None)),
            Err(error) => {
                tracing::warn!(%error, "an export broke off");
                Some((Err(error), None))
            }
        }
    }
}

fn markdown_head(session: &Session) -> String {
    let title = session.title.as_deref().map_or_else(|| "A conversation".to_owned(), escaped);
    let mut out = format!("# {title}\n\n- Session: {}\n", code(session.id.as_str()));
    // Writing to a text does not fail.
    if let Some(agent) = session.agent_id {
        let _ = writeln!(out, "- Agent: {}", code(&agent.to_string()));
    }
    let _ = writeln!(out, "- Begun: {}", session.created_at);
    let _ = writeln!(out, "- Messages: {}", session.messages);
    out
}

fn markdown_message(message: &MessageJson) -> String {
    let who = match message.role {
        Role::System => "System",
        Role::User => "User",
        Role::Assistant => "Assistant",
        Role::Tool => "Tool",
    };
    let mut out = format!("\n## {} · {who} · {}\n", message.number, message.at);
    if let Some(answered) = &message.answers {
        let failed = if answered.is_error { ", which failed" } else { "" };
        let _ = writeln!(out, "\nOf {}, call {}{failed}:", code(&answered.name), code(&answered.call_id));
    }
    for file in &message.attachments {
        let (name, media_type) = (code(&file.file_name), code(&file.media_type));
        let _ = writeln!(out, "\n- File {name}, {media_type}, {} bytes", file.length_bytes);
    }
    if !message.text.is_empty() {
        let language = if matches!(message.role, Role::Assistant) { "markdown" } else { "text" };
        out.push_str(&fenced(language, &message.text));
    }
    for call in &message.tool_calls {
        let _ = writeln!(out, "\nCalls {} as {}:", code(&call.name), code(&call.id));
        out.push_str(&fenced("json", &call.arguments_json));
    }
    out
}

/// A block that its content can not end: the fence is longer than any row of backquotes in it.
fn fenced(language: &str, content: &str) -> String {
    let fence = "`".repeat(longest_row(content).max(2) + 1);
    let end = if content.ends_with('\n') { "" } else { "\n" };
    format!("\n{fence}{language}\n{content}{end}{fence}\n")
}

/// A text within a line, as it is: a code span that its content can not end.
fn code(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mark = "`".repeat(longest_row(&line) + 1);
    // The spaces next to the marks belong to the form; they keep a backquote at an end apart.
    let pad = if line.starts_with('`') || line.ends_with('`') || line.trim().is_empty() { " " } else { "" };
    format!("{mark}{pad}{line}{pad}{mark}")
}

/// How many backquotes stand in a row at most.
fn longest_row(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or_default()
}

/// A text within a heading, without any meaning to Markdown.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '&' | '#' | '|' | '~' | '!' | '$') {
            out.push('\\');
        }
        out.push(if c.is_control() { ' ' } else { c });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use insta::assert_snapshot;
    use proptest::prelude::*;
    use vivarium_domain::{
        AssistantMessage, AttachmentKind, ContentHash, KeptAttachment, Message, ToolCall, ToolMessage,
    };

    fn kept(message: Message) -> SessionMessage {
        SessionMessage {
            run_id: "0192f000-0000-7000-8000-000000000001".parse().unwrap(),
            at: "2026-11-22T00:00:00Z".parse().unwrap(),
            message,
            attachments: Vec::new(),
        }
    }

    fn conversation() -> (Session, Vec<SessionMessage>) {
        let at = "2026-11-22T00:00:00Z".parse().unwrap();
        let mut session = Session::new("s`1".parse().unwrap(), at);
        session.title = Some("# [What](x) is <b>?".to_owned());
        session.messages = 4;
        let call = ToolCall { id: "c1".into(), name: "web\nsearch".into(), arguments_json: "{\"q\":\"```\"}".into() };
        let mut question = kept(Message::user("Hello\n```\n## 9 · Assistant\n````"));
        question.attachments.push(KeptAttachment {
            file_name: "`a`.pdf".into(),
            media_type: "application/pdf".into(),
            kind: AttachmentKind::Text,
            length_bytes: 3,
            content: ContentHash::of(b"abc"),
        });
        let asks = AssistantMessage { text: String::new(), tool_calls: vec![call] };
        let found =
            ToolMessage { call_id: "c1".into(), name: "web_search".into(), content: "no".into(), is_error: true };
        let messages =
            vec![question, kept(Message::Assistant(asks)), kept(Message::Tool(found)), kept(Message::assistant("Hi."))];
        (session, messages)
    }

    fn exported(format: Format) -> String {
        let (session, messages) = conversation();
        let shown = (0..).zip(messages).map(|(number, message)| format.message(number, message));
        format!("{}{}{}", format.head(&session), shown.collect::<String>(), format.tail())
    }

    #[test]
    fn a_person_can_read_the_markdown_and_nothing_in_it_breaks_out() {
        assert_snapshot!(exported(Format::Markdown), @r#"
        # \# \[What\](x) is \<b\>?

        - Session: ``s`1``
        - Begun: 2026-11-22T00:00:00Z
        - Messages: 4

        ## 0 · User · 2026-11-22T00:00:00Z

        - File `` `a`.pdf ``, `application/pdf`, 3 bytes

        `````text
        Hello
        ```
        ## 9 · Assistant
        ````
        `````

        ## 1 · Assistant · 2026-11-22T00:00:00Z

        Calls `web search` as `c1`:

        ````json
        {"q":"```"}
        ````

        ## 2 · Tool · 2026-11-22T00:00:00Z

        Of `web_search`, call `c1`, which failed:

        ```text
        no
        ```

        ## 3 · Assistant · 2026-11-22T00:00:00Z

        ```markdown
        Hi.
        ```
        "#);
    }

    #[test]
    fn the_json_is_one_object_with_every_message() {
        let json: serde_json::Value = serde_json::from_str(&exported(Format::Json)).unwrap();
        assert_eq!(json["messages"].as_array().unwrap().len(), 4);
        assert_eq!(json["messages"][2]["answers"]["isError"], true);
        assert_eq!(json["session"]["id"], "s`1");
    }

    proptest! {
        #[test]
        fn no_content_ends_its_fence(content in "[`~ab\\n #>-]{0,60}") {
            let block = fenced("text", &content);
            let fence = block.trim_start().split("text").next().unwrap();
            let ends = block.lines().skip(2).filter(|line| {
                let line = line.trim();
                line.len() >= fence.len() && line.chars().all(|c| c == '`')
            });
            prop_assert_eq!(ends.count(), 1);
            let end = format!("{fence}\n");
            prop_assert!(block.ends_with(&end));
        }
    }
}
