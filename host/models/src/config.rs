//! Which providers there are and how they are reached: what an operator sets, checked once, before anything is asked.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;
use vivarium_domain::ModelName;

use crate::catalog;
use crate::prices::Price;

/// Why the models can not be set up as configured. Holds no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A base URL is none.
    #[error("{variable} must be an http or https URL without a user, query or fragment, such as {example}: {why}")]
    BaseUrl {
        /// Where it was set.
        variable: String,
        /// What would be right.
        example: &'static str,
        /// What is wrong.
        why: String,
    },
    /// A key can not be sent.
    #[error(
        "the key in {variable} holds characters that no HTTP header may hold; set it to the key alone, in one line"
    )]
    Key {
        /// Where it was set.
        variable: String,
    },
    /// `VIVARIUM_MODEL` or its like in a file names no model that can be had.
    #[error("the default model is not usable: {0}")]
    DefaultModel(String),
    /// Two providers have one name, or a name can not be the first part of `provider/model`.
    #[error("{0:?} can not be the name of a provider: a name is used once, is not empty and holds no slash")]
    ProviderName(String),
    /// The server that should list its models did not.
    #[error(
        "{place} was asked which models it has, and {why}; start the server, or set VIVARIUM_MODEL to provider/model"
    )]
    NoModelListed {
        /// The server, without credentials.
        place: String,
        /// What happened.
        why: String,
    },
    /// The weights of the embedded language model can not be used.
    #[error("the embedded language model can not be had: {0}")]
    Weights(String),
    /// The HTTP client can not be made.
    #[error("the HTTP client of {provider} can not be made: {why}")]
    Client {
        /// The provider.
        provider: String,
        /// What the client says.
        why: String,
    },
}

/// The wire that a provider speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProviderKind {
    /// OpenAI's chat completions, and whatever speaks them: Ollama, vLLM, llama.cpp.
    OpenAi,
    /// Anthropic's messages.
    Anthropic,
    /// Google's Gemini.
    Google,
}

impl ProviderKind {
    /// All of them, in the order in which a default is looked for.
    pub const ALL: [Self; 3] = [Self::OpenAi, Self::Anthropic, Self::Google];

    /// The provider's usual name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::Google => "google",
        }
    }

    /// The environment variable of its key.
    #[must_use]
    pub fn key_variable(self) -> &'static str {
        match self {
            Self::OpenAi => "OPENAI_API_KEY",
            Self::Anthropic => "ANTHROPIC_API_KEY",
            Self::Google => "GEMINI_API_KEY",
        }
    }

    /// The environment variable of its base URL.
    #[must_use]
    pub fn base_url_variable(self) -> &'static str {
        match self {
            Self::OpenAi => "OPENAI_BASE_URL",
            Self::Anthropic => "ANTHROPIC_BASE_URL",
            Self::Google => "GEMINI_BASE_URL",
        }
    }

    /// Where the vendor itself answers.
    #[must_use]
    pub fn vendor_url(self) -> &'static str {
        match self {
            Self::OpenAi => "https://api.openai.com/v1",
            Self::Anthropic => "https://api.anthropic.com",
            Self::Google => "https://generativelanguage.googleapis.com",
        }
    }

    /// The version that the path of an address begins with where the operator's leaves it out.
    fn version(self) -> &'static str {
        match self {
            Self::OpenAi | Self::Anthropic => "v1",
            Self::Google => "v1beta",
        }
    }
}

/// How long a provider is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// To connect, TLS included.
    pub connect: Duration,
    /// From sending the request to the first byte of the answer. Models that think first take their time.
    pub first_byte: Duration,
    /// Between two pieces of an answer.
    pub idle: Duration,
    /// For one attempt as a whole.
    pub total: Duration,
    /// To list the models.
    pub list: Duration,
}

/// The models in the host itself.
#[derive(Debug, Clone, Default)]
pub struct EmbeddedConfig {
    /// The weights of the language model, a file; none: there is only the extractive answerer.
    pub weights: Option<PathBuf>,
    /// How long the language model may take. It connects to nothing and lists nothing.
    pub timeouts: Timeouts,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            first_byte: Duration::from_secs(180),
            idle: Duration::from_secs(60),
            total: Duration::from_secs(600),
            list: Duration::from_secs(5),
        }
    }
}

/// What a provider may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// In one answer, as it is on the wire.
    pub response_bytes: usize,
    /// In one event of an answer.
    pub event_bytes: usize,
    /// Tool calls in one answer.
    pub tool_calls: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { response_bytes: 32 << 20, event_bytes: 4 << 20, tool_calls: 64 }
    }
}

/// When a failed attempt is made again: on 429, 5xx and a broken connection, as long as nothing of the answer was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retries {
    /// Attempts after the first.
    pub max: u32,
    /// The wait before the first of them; it doubles each time, and up to half of it is left to chance.
    pub first_wait: Duration,
    /// No wait is longer, whatever `Retry-After` says.
    pub longest_wait: Duration,
}

impl Default for Retries {
    fn default() -> Self {
        Self { max: 3, first_wait: Duration::from_millis(500), longest_wait: Duration::from_secs(30) }
    }
}

/// One provider.
#[derive(Debug, Clone)]
pub struct ProviderConfig {
    /// The first part of its models' names.
    pub name: String,
    /// What it speaks.
    pub kind: ProviderKind,
    /// Where it answers; none: at the vendor's. May be a loopback address: an operator has set it.
    pub base_url: Option<Url>,
    /// Its key. A local server needs none.
    pub api_key: Option<SecretString>,
    /// Where the key is set, for error texts.
    pub key_variable: String,
    /// The model to use where none is named; none: the vendor's usual one, or the first that `base_url` lists.
    pub default_model: Option<String>,
    /// A proxy to go through. The environment's proxies are not used.
    pub proxy: Option<Url>,
    /// How long it is waited for.
    pub timeouts: Timeouts,
    /// What it may send.
    pub limits: Limits,
    /// When an attempt is made again.
    pub retries: Retries,
}

impl ProviderConfig {
    /// A provider of this kind under its usual name, at the vendor's, without a key.
    #[must_use]
    pub fn new(kind: ProviderKind) -> Self {
        Self {
            name: kind.name().to_owned(),
            kind,
            base_url: None,
            api_key: None,
            key_variable: kind.key_variable().to_owned(),
            default_model: None,
            proxy: None,
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            retries: Retries::default(),
        }
    }

    /// The model that the configuration itself names for this provider, if it does.
    pub(crate) fn configured_default(&self) -> Option<&str> {
        let vendors = || self.base_url.is_none().then(|| catalog::default_model(self.kind));
        self.default_model.as_deref().or_else(vendors)
    }

    /// The address that the API's paths are appended to: it has its version and no slash at its end.
    pub(crate) fn endpoint(&self) -> Result<Url, ConfigError> {
        let fail = |why: String| ConfigError::BaseUrl {
            variable: self.kind.base_url_variable().to_owned(),
            example: self.kind.vendor_url(),
            why,
        };
        let mut url = match &self.base_url {
            Some(url) => url.clone(),
            None => Url::parse(self.kind.vendor_url()).map_err(|error| fail(error.to_string()))?,
        };
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(fail("it has another scheme or no host".to_owned()));
        }
        let extras = !url.username().is_empty() || url.password().is_some() || url.query().is_some();
        if extras || url.fragment().is_some() {
            return Err(fail("it has a user, a query or a fragment".to_owned()));
        }
        let path = url.path().trim_end_matches('/').to_owned();
        let named = match self.kind {
            // The convention is that a base URL of OpenAI's wire is whole; only a bare host leaves the version out.
            ProviderKind::OpenAi => !path.is_empty(),
            ProviderKind::Anthropic => path.ends_with("/v1"),
            ProviderKind::Google => path.ends_with("/v1beta") || path.ends_with("/v1"),
        };
        url.set_path(&if named { path } else { format!("{path}/{}", self.kind.version()) });
        Ok(url)
    }
}

/// Which model answers where a request names none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DefaultModel {
    /// This one.
    Named(ModelName),
    /// The default of the provider of this name: the configured one, or the first that its server lists.
    Of(String),
    /// What is built in: the small language model where its weights are there, else the extractive answerer, which is none.
    Embedded,
}

/// All providers and the default model.
#[derive(Debug, Clone)]
pub struct ModelsConfig {
    /// The providers, besides the embedded one, which is always there.
    pub providers: Vec<ProviderConfig>,
    /// The default model.
    pub default: DefaultModel,
    /// The embedded models.
    pub embedded: EmbeddedConfig,
    /// What models cost, over the shipped table.
    pub prices: BTreeMap<ModelName, Price>,
}

impl ModelsConfig {
    /// What the environment says: `OPENAI_API_KEY`, `ANTHROPIC_API_KEY`, `GEMINI_API_KEY`, the same with `_BASE_URL`, and
    /// `VIVARIUM_MODEL`. `variable` gives a variable's value; an empty one counts as not set.
    ///
    /// # Errors
    /// When a base URL is none or `VIVARIUM_MODEL` is not of the form `provider/model`.
    pub fn from_env(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let read = |name: &str| variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let mut providers = Vec::new();
        for kind in ProviderKind::ALL {
            let base_url = read(kind.base_url_variable()).map(|text| parse_base_url(kind, &text)).transpose()?;
            let api_key = read(kind.key_variable()).map(SecretString::from);
            if base_url.is_some() || api_key.is_some() {
                providers.push(ProviderConfig { base_url, api_key, ..ProviderConfig::new(kind) });
            }
        }
        let default = match read("VIVARIUM_MODEL") {
            Some(text) => {
                let name = text.parse().map_err(|why| ConfigError::DefaultModel(format!("VIVARIUM_MODEL: {why}")))?;
                DefaultModel::Named(name)
            }
            None => Self::default_of(&providers),
        };
        Ok(Self { providers, default, embedded: EmbeddedConfig::default(), prices: BTreeMap::new() })
    }

    /// The default of the first provider that has a key, else of the first server that an operator named, else embedded.
    fn default_of(providers: &[ProviderConfig]) -> DefaultModel {
        let with_key = providers.iter().find(|provider| provider.api_key.is_some());
        with_key.or(providers.first()).map_or(DefaultModel::Embedded, |first| DefaultModel::Of(first.name.clone()))
    }
}

fn parse_base_url(kind: ProviderKind, text: &str) -> Result<Url, ConfigError> {
    Url::parse(text).map_err(|error| ConfigError::BaseUrl {
        variable: kind.base_url_variable().to_owned(),
        example: kind.vendor_url(),
        why: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(variables: &[(&str, &str)]) -> Result<ModelsConfig, ConfigError> {
        ModelsConfig::from_env(|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn without_a_variable_the_embedded_model_answers() {
        let config = from(&[("OPENAI_API_KEY", "  ")]).unwrap();
        assert!(config.providers.is_empty());
        assert_eq!(config.default, DefaultModel::Embedded);
    }

    #[test]
    fn the_first_provider_with_a_key_gives_the_default() {
        let config = from(&[("GEMINI_API_KEY", "g"), ("ANTHROPIC_API_KEY", "a")]).unwrap();
        assert_eq!(config.default, DefaultModel::Of("anthropic".to_owned()));
        assert_eq!(config.providers.len(), 2);

        let key_before_server =
            from(&[("GEMINI_API_KEY", "g"), ("OPENAI_BASE_URL", "http://localhost:11434/v1")]).unwrap();
        assert_eq!(key_before_server.default, DefaultModel::Of("google".to_owned()));

        let server_alone = from(&[("OPENAI_BASE_URL", "http://localhost:11434/v1")]).unwrap();
        assert_eq!(server_alone.default, DefaultModel::Of("openai".to_owned()));
        assert_eq!(server_alone.providers[0].configured_default(), None);
    }

    #[test]
    fn vivarium_model_wins() {
        let config = from(&[("OPENAI_API_KEY", "k"), ("VIVARIUM_MODEL", "google/gemini-3.8-flash")]).unwrap();
        assert_eq!(config.default, DefaultModel::Named("google/gemini-3.8-flash".parse().unwrap()));
        let wrong = from(&[("VIVARIUM_MODEL", "gpt")]).unwrap_err();
        assert_eq!(
            wrong.to_string(),
            "the default model is not usable: VIVARIUM_MODEL: a model is written provider/model, such as openai/gpt-5, not \"gpt\""
        );
    }

    #[test]
    fn a_base_url_may_leave_its_version_out() {
        let endpoint = |kind, text: &str| {
            let config = ProviderConfig { base_url: Some(Url::parse(text).unwrap()), ..ProviderConfig::new(kind) };
            config.endpoint().map(String::from)
        };
        assert_eq!(endpoint(ProviderKind::OpenAi, "http://[::1]:8000").unwrap(), "http://[::1]:8000/v1");
        assert_eq!(endpoint(ProviderKind::OpenAi, "http://h/api/v3/").unwrap(), "http://h/api/v3");
        assert_eq!(endpoint(ProviderKind::Anthropic, "http://h/proxy").unwrap(), "http://h/proxy/v1");
        assert_eq!(endpoint(ProviderKind::Anthropic, "http://h/v1/").unwrap(), "http://h/v1");
        assert_eq!(endpoint(ProviderKind::Google, "http://h").unwrap(), "http://h/v1beta");
        for wrong in ["ftp://h", "http://user:secret@h", "http://h?key=secret", "unix:/run/x"] {
            let error = endpoint(ProviderKind::OpenAi, wrong).unwrap_err().to_string();
            assert!(error.starts_with("OPENAI_BASE_URL must be") && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_key_is_not_in_the_debug_form() {
        let config = from(&[("OPENAI_API_KEY", "sk-very-secret")]).unwrap();
        assert!(!format!("{config:?}").contains("very-secret"));
    }
}
