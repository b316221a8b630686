//! Which model answers: what the environment says, and what a server lists.

use std::time::Duration;

use vivarium_domain::ModelError;
use vivarium_models::{Models, ModelsConfig};

use crate::server::{Play, Server};

fn environment(variables: &[(&str, &str)]) -> ModelsConfig {
    ModelsConfig::from_env(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
        .unwrap()
}

#[tokio::test]
async fn a_key_alone_gives_the_vendors_usual_model_and_asks_nobody() {
    for (variable, model) in [
        ("OPENAI_API_KEY", "openai/gpt-6-sol"),
        ("ANTHROPIC_API_KEY", "anthropic/claude-sonnet-5-5"),
        ("GEMINI_API_KEY", "google/gemini-3.8-flash"),
    ] {
        let models = Models::new(environment(&[(variable, "k")])).await.unwrap();
        assert_eq!(models.default_model().to_string(), model);
        let info = models.describe(models.default_model()).unwrap();
        assert!(info.abilities.free_text && info.abilities.tool_calls && info.context_tokens > 100_000);
    }
}

#[tokio::test]
async fn without_any_variable_the_embedded_answerer_is_the_default() {
    let models = Models::new(environment(&[])).await.unwrap();
    assert_eq!(models.default_model().to_string(), "embedded/extractive");
    let info = models.describe(models.default_model()).unwrap();
    assert!(info.abilities.passages && !info.abilities.free_text && info.hint.is_some());
}

#[tokio::test]
async fn a_servers_first_model_that_speaks_is_the_default() {
    let list = r#"{"data":[{"id":"nomic-embed-text"},{"id":"hf.co/x/llama3.2:3b"}]}"#;
    let server = Server::playing([Play::json(200, list)]).await;
    let models = Models::new(environment(&[("OPENAI_BASE_URL", server.url().as_str())])).await.unwrap();
    assert_eq!(models.default_model().to_string(), "openai/hf.co/x/llama3.2:3b");
    let (provider, name) = models.resolve(None).unwrap();
    assert_eq!((provider.name(), name.model()), ("openai", "hf.co/x/llama3.2:3b"));
}

#[tokio::test]
async fn a_server_that_lists_nothing_is_told_of_at_once() {
    let server = Server::playing([Play::json(200, r#"{"data":[]}"#), Play::json(500, ""), Play::nothing()]).await;
    let url = server.url();
    for why in ["it lists none", "failed (500)", "did not list its models within 0.05 s"] {
        let mut config = environment(&[("OPENAI_BASE_URL", url.as_str())]);
        if why.starts_with("did") {
            config.providers[0].timeouts.list = Duration::from_millis(50);
        }
        let error = Models::new(config).await.unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
        assert!(error.ends_with("start the server, or set VIVARIUM_MODEL to provider/model"), "{error}");
    }
}

#[tokio::test]
async fn a_named_model_wins_and_nobody_is_asked() {
    let server = Server::playing([]).await;
    let variables = [("OPENAI_BASE_URL", server.url().to_string()), ("VIVARIUM_MODEL", "openai/my/model".to_owned())];
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let models = Models::new(environment(&variables)).await.unwrap();
    assert_eq!(models.default_model().to_string(), "openai/my/model");
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn a_model_without_its_provider_is_refused_with_the_variable_to_set() {
    let error = Models::new(environment(&[("VIVARIUM_MODEL", "anthropic/claude-sonnet-5-5")])).await.unwrap_err();
    assert!(error.to_string().ends_with("set ANTHROPIC_API_KEY to have anthropic"), "{error}");

    let models = Models::new(environment(&[("OPENAI_API_KEY", "k")])).await.unwrap();
    let Err(ModelError::InvalidRequest(text)) = models.resolve(Some(&"acme/x".parse().unwrap())).map(|_| ()) else {
        panic!("acme is known");
    };
    assert!(
        text.starts_with("acme/x needs the provider \"acme\", and there is none of that name (there are: openai"),
        "{text}"
    );
}
