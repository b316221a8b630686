//! The search engines: what each is asked, and what it answers. Keys are no part of it: the host puts them into the
//! requests to the engine's host.

use serde::Deserialize;
use vivarium_sdk::http::{HttpError, Request, Response, Url, parse_url};
use vivarium_sdk::tool::ToolError;

/// How an operator chooses, for every message that says so.
const HOW_TO: &str = "an operator sets `engine` to brave (and grants the secret `brave-key`), to tavily (and grants \
                      `tavily-key`), or to searxng (and sets `base-url` to an instance that allows the format json)";
/// Brave refuses longer ones, and nobody's best hit needs them.
const MAX_QUERY_CHARACTERS: usize = 380;

/// What an operator has set.
#[derive(Debug, Clone, Default)]
pub(crate) struct Configuration {
    pub(crate) engine: Option<String>,
    pub(crate) base_url: Option<String>,
    pub(crate) has_brave_key: bool,
    pub(crate) has_tavily_key: bool,
}

/// An engine, ready to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Engine {
    Brave(Url),
    Tavily(Url),
    Searxng(Url),
}

/// One result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) title: String,
    pub(crate) url: String,
    pub(crate) snippet: String,
}

impl Engine {
    /// The engine that the operator has chosen, by name or by what it needs being there.
    pub(crate) fn choose(configuration: &Configuration) -> Result<Self, ToolError> {
        let named = configuration.engine.as_deref().map(str::trim).filter(|name| !name.is_empty());
        let name = match named {
            Some(name) => name,
            None if configuration.has_brave_key => "brave",
            None if configuration.has_tavily_key => "tavily",
            None if configuration.base_url.is_some() => "searxng",
            None => return Err(ToolError::Unavailable(format!("no search engine is configured: {HOW_TO}"))),
        };
        let base = |default: Option<&str>| {
            let address = configuration.base_url.as_deref().or(default).ok_or_else(|| {
                ToolError::Unavailable(format!("the engine {name} needs an address in `base-url`: {HOW_TO}"))
            })?;
            parse_url(address).map_err(|error| ToolError::Failed(format!("the setting `base-url` is wrong: {error}")))
        };
        let key = |there: bool, secret: &str| match there {
            true => Ok(()),
            false => Err(ToolError::Unavailable(format!("the engine {name} needs the secret `{secret}`: {HOW_TO}"))),
        };
        match name {
            "brave" => {
                key(configuration.has_brave_key, "brave-key")?;
                Ok(Self::Brave(base(Some("https://api.search.brave.com/res/v1/web/search"))?))
            }
            "tavily" => {
                key(configuration.has_tavily_key, "tavily-key")?;
                Ok(Self::Tavily(base(Some("https://api.tavily.com/search"))?))
            }
            "searxng" => {
                let mut url = base(None)?;
                let path = url.path().trim_end_matches('/');
                if !path.ends_with("/search") {
                    let path = format!("{path}/search");
                    url.set_path(&path);
                }
                Ok(Self::Searxng(url))
            }
            other => Err(ToolError::Unavailable(format!("there is no search engine {other:?}: {HOW_TO}"))),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Brave(_) => "Brave",
            Self::Tavily(_) => "Tavily",
            Self::Searxng(_) => "SearXNG",
        }
    }

    /// The request for `query`.
    pub(crate) fn request(&self, query: &str, max_results: u32) -> Request {
        let query: String = query.chars().take(MAX_QUERY_CHARACTERS).collect();
        let request = match self {
            Self::Brave(url) => {
                let mut url = url.clone();
                url.query_pairs_mut()
                    .append_pair("q", &query)
                    .append_pair("count", &max_results.to_string())
                    .append_pair("text_decorations", "false");
                Request::get(url)
            }
            Self::Tavily(url) => {
                let body = serde_json::json!({ "query": query, "max_results": max_results, "search_depth": "basic" });
                Request::post_json(url.clone(), body.to_string().into_bytes())
            }
            Self::Searxng(url) => {
                let mut url = url.clone();
                url.query_pairs_mut().append_pair("q", &query).append_pair("format", "json");
                Request::get(url)
            }
        };
        Request { max_body_bytes: 2 * 1024 * 1024, ..request }
            .header("accept", "application/json")
            .header("accept-encoding", "identity")
    }

    /// The results in the engine's answer, best first.
    pub(crate) fn results(&self, response: &Response) -> Result<Vec<Found>, ToolError> {
        self.check_status(response)?;
        let broken = |error: serde_json::Error| {
            ToolError::Failed(format!("{} gave an answer that can not be read: {error}", self.name()))
        };
        let found = match self {
            Self::Brave(_) => {
                let answer: BraveAnswer = serde_json::from_slice(&response.body).map_err(broken)?;
                answer.web.unwrap_or_default().results
            }
            Self::Tavily(_) | Self::Searxng(_) => {
                serde_json::from_slice::<Results>(&response.body).map_err(broken)?.results
            }
        };
        Ok(found.into_iter().filter(|result| parse_url(&result.url).is_ok()).map(Found::from).collect())
    }

    fn check_status(&self, response: &Response) -> Result<(), ToolError> {
        let engine = self.name();
        match (self, response.status) {
            (_, 200..=299) => Ok(()),
            (Self::Searxng(url), 403) => Err(ToolError::Failed(format!(
                "the SearXNG at {url} refuses the format json: its operator has to add json to `search.formats`"
            ))),
            (_, 401 | 403) => Err(ToolError::Failed(format!("{engine} refuses the key: an operator has to renew it"))),
            (_, 429) => {
                let wait = response.header("retry-after").map(|wait| format!(", ask again after {wait}"));
                let wait = wait.unwrap_or_default();
                Err(ToolError::Unavailable(format!("{engine} is asked too often or its quota is spent{wait}")))
            }
            (_, status @ 500..) => {
                Err(ToolError::Unavailable(format!("{engine} does not work at present (status {status})")))
            }
            (_, status) => Err(ToolError::Failed(format!("{engine} refuses the query (status {status})"))),
        }
    }
}

/// What went wrong on the way to an engine, in words that name it.
pub(crate) fn unreachable(engine: &Engine, error: HttpError) -> ToolError {
    match error {
        HttpError::Denied(why) => ToolError::Denied(format!("{} can not be asked: {why}", engine.name())),
        other => other.into(),
    }
}

#[derive(Default, Deserialize)]
struct Results {
    #[serde(default)]
    results: Vec<Raw>,
}

#[derive(Deserialize)]
struct BraveAnswer {
    web: Option<Results>,
}

/// A result in any engine's words.
#[derive(Deserialize)]
struct Raw {
    #[serde(default)]
    title: String,
    url: String,
    #[serde(default, alias = "description")]
    content: Option<String>,
}

impl From<Raw> for Found {
    fn from(raw: Raw) -> Self {
        Self { title: plain(&raw.title), url: raw.url, snippet: plain(&raw.content.unwrap_or_default()) }
    }
}

/// One line without marks of emphasis.
fn plain(text: &str) -> String {
    let text = text.replace("<strong>", "").replace("</strong>", "");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brave() -> Engine {
        Engine::choose(&Configuration { has_brave_key: true, ..Configuration::default() }).unwrap()
    }

    fn tavily() -> Engine {
        let configuration =
            Configuration { engine: Some("tavily".into()), has_tavily_key: true, ..Configuration::default() };
        Engine::choose(&configuration).unwrap()
    }

    fn searxng() -> Engine {
        let base_url = Some("http://localhost:8888/sx/".to_owned());
        Engine::choose(&Configuration { base_url, ..Configuration::default() }).unwrap()
    }

    fn answer(status: u16, body: &str) -> Response {
        Response {
            url: Url::parse("https://engine.example/").unwrap(),
            status,
            headers: vec![("retry-after".into(), b"7".to_vec())],
            body: body.as_bytes().to_vec(),
            truncated: false,
        }
    }

    #[test]
    fn without_a_choice_the_error_says_what_an_operator_sets() {
        let message = |configuration: Configuration| match Engine::choose(&configuration) {
            Err(ToolError::Unavailable(why)) => why,
            other => format!("{other:?}"),
        };
        let nothing = message(Configuration::default());
        for word in ["no search engine is configured", "`engine`", "brave-key", "tavily-key", "base-url"] {
            assert!(nothing.contains(word), "{nothing}");
        }
        let engine = |name: &str| Configuration { engine: Some(name.into()), ..Configuration::default() };
        assert!(message(engine("brave")).contains("needs the secret `brave-key`"));
        assert!(message(engine("searxng")).contains("needs an address in `base-url`"));
        assert!(message(engine("gopher")).contains("there is no search engine \"gopher\""));
    }

    #[test]
    fn each_engine_is_asked_in_its_own_way_and_no_key_is_sent_from_here() {
        let request = brave().request("rust & c", 5);
        assert_eq!(
            request.url.as_str(),
            "https://api.search.brave.com/res/v1/web/search?q=rust+%26+c&count=5&text_decorations=false"
        );
        let request = tavily().request("rust", 5);
        assert_eq!(request.url.as_str(), "https://api.tavily.com/search");
        let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        assert_eq!(body["query"], "rust");
        assert_eq!(body["max_results"], 5);
        let request = searxng().request("rust", 5);
        assert_eq!(request.url.as_str(), "http://localhost:8888/sx/search?q=rust&format=json");
        for engine in [brave(), tavily(), searxng()] {
            let names: Vec<String> = engine.request("x", 1).headers.into_iter().map(|(name, _)| name).collect();
            assert!(!names.iter().any(|name| name == "authorization" || name == "x-subscription-token"));
        }
    }

    #[test]
    fn each_engines_answer_is_read() {
        let expected =
            [Found { title: "Rust".into(), url: "https://rust-lang.org/".into(), snippet: "A language.".into() }];
        let web = r#"{"type":"search","web":{"results":[{"title":"Rust","url":"https://rust-lang.org/","description":"A <strong>language</strong>."}]}}"#;
        assert_eq!(brave().results(&answer(200, web)).unwrap(), expected);
        let list = r#"{"query":"rust","results":[{"title":"Rust","url":"https://rust-lang.org/","content":"A\n language.","score":0.9},
            {"title":"x","url":"javascript:alert(1)","content":null}]}"#;
        assert_eq!(tavily().results(&answer(200, list)).unwrap(), expected);
        assert_eq!(searxng().results(&answer(200, list)).unwrap(), expected);
        assert!(brave().results(&answer(200, r#"{"type":"search"}"#)).unwrap().is_empty());
    }

    #[test]
    fn a_refusal_says_who_has_to_do_what() {
        assert!(
            matches!(brave().results(&answer(401, "")), Err(ToolError::Failed(why)) if why.contains("refuses the key"))
        );
        assert!(
            matches!(searxng().results(&answer(403, "")), Err(ToolError::Failed(why)) if why.contains("search.formats"))
        );
        assert!(
            matches!(tavily().results(&answer(429, "")), Err(ToolError::Unavailable(why)) if why.contains("after 7"))
        );
        assert!(matches!(tavily().results(&answer(502, "")), Err(ToolError::Unavailable(_))));
        assert!(
            matches!(brave().results(&answer(200, "<html>")), Err(ToolError::Failed(why)) if why.contains("can not be read"))
        );
    }
}
