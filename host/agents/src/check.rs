//! What an agent's fields may be.

use std::collections::BTreeSet;

use vivarium_domain::{
    AgentConfig, AgentId, MAX_CORPUS_CHARS, ModelName, OutputFormat, TenantId, bounds, is_corpus_name,
};

use crate::{AgentError, Agents};

pub(crate) const MAX_NAME_CHARS: usize = 128;
const MAX_DESCRIPTION_CHARS: usize = 4_000;
const MAX_MODEL_CHARS: usize = 200;
/// Agents that one agent's runs may start.
const MAX_AGENTS: usize = 16;
const MAX_CONTEXTS: usize = 200;
const MAX_CORPORA: usize = 16;

/// A text within its length, without control characters but line breaks and tabs.
pub(crate) fn text(field: &'static str, text: &str, least: usize, most: usize) -> Result<(), AgentError> {
    let chars = text.chars().count();
    if chars > most || chars < least || (least > 0 && text.trim().is_empty()) {
        let range = if least > 0 { format!("{least} to {most}") } else { format!("at most {most}") };
        return Err(AgentError::invalid(field, format!("must have {range} characters, not {chars}")));
    }
    match text.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        Some(c) => {
            Err(AgentError::invalid(field, format!("must not hold the control character U+{:04X}", u32::from(c))))
        }
        None => Ok(()),
    }
}

/// Corpora by name. One that holds nothing yet may be named: what is added to it later is found.
fn corpora(names: &[String]) -> Result<(), AgentError> {
    if names.len() > MAX_CORPORA {
        return Err(AgentError::invalid("corpora", format!("may name {MAX_CORPORA} corpora, not {}", names.len())));
    }
    let mut seen = BTreeSet::new();
    for name in names {
        if !is_corpus_name(name) {
            let must = format!(
                "must name corpora by 1 to {MAX_CORPUS_CHARS} letters, digits, '-', '_' and '.', the first a letter or a digit"
            );
            return Err(AgentError::invalid("corpora", must));
        }
        if !seen.insert(name) {
            return Err(AgentError::invalid("corpora", format!("names {name:?} twice")));
        }
    }
    Ok(())
}

fn number<T: PartialOrd + std::fmt::Display>(
    field: &'static str,
    value: Option<T>,
    least: T,
    most: T,
) -> Result<(), AgentError> {
    match value {
        Some(value) if value < least || value > most => {
            Err(AgentError::invalid(field, format!("must be an integer from {least} to {most}, not {value}")))
        }
        _ => Ok(()),
    }
}

impl Agents {
    /// Checks a configuration. What was there `before` and is the same stays, though it may be gone by now: a renamed agent
    /// must not be refused for a tool that was removed since.
    ///
    /// # Errors
    /// When a field is wrong, or names what is not there.
    pub async fn check(
        &self,
        tenant: &TenantId,
        config: &AgentConfig,
        before: Option<&AgentConfig>,
    ) -> Result<(), AgentError> {
        name(&config.name)?;
        text("description", &config.description, 0, MAX_DESCRIPTION_CHARS)?;
        text("prompt", &config.prompt, 0, bounds::INSTRUCTIONS_CHARS)?;
        number("historyTurns", config.history_turns, 0, bounds::HISTORY_TURNS)?;
        number("maxOutputTokens", config.max_output_tokens, 1, bounds::OUTPUT_TOKENS)?;
        number("maxCycles", config.max_cycles, 1, bounds::CYCLES)?;
        number("timeoutSeconds", config.timeout_seconds, 1, bounds::TIMEOUT_SECONDS)?;
        number("sessionTtlSeconds", config.session_ttl_seconds, 1, bounds::SESSION_TTL_SECONDS)?;
        output(&config.output)?;
        number("modelTimeoutSeconds", config.model_timeout_seconds, 1, bounds::MODEL_TIMEOUT_SECONDS)?;
        config.model_options.check().map_err(|wrong| AgentError::invalid(wrong.field, wrong.message))?;
        if before.is_none_or(|before| before.model != config.model) {
            self.model("model", config.model.as_ref())?;
        }
        if before.is_none_or(|before| before.fallback_models != config.fallback_models || before.model != config.model)
        {
            self.fallback_models(config)?;
        }
        if before.is_none_or(|before| before.mode != config.mode || before.tools != config.tools) {
            self.plugins(tenant, config).await?;
        }
        if before.is_none_or(|before| before.contexts != config.contexts) {
            self.contexts(tenant, config).await?;
        }
        corpora(&config.corpora)?;
        if before.is_none_or(|before| before.agents != config.agents) {
            self.agents(tenant, config).await?;
        }
        if before.is_none_or(|before| before.team != config.team) {
            self.team(tenant, config.team).await?;
        }
        Ok(())
    }

    fn model(&self, field: &'static str, model: Option<&ModelName>) -> Result<(), AgentError> {
        let Some(model) = model else { return Ok(()) };
        text(field, &model.to_string(), 1, MAX_MODEL_CHARS)?;
        let resolved = self.models.resolve(Some(model));
        resolved.map(|_| ()).map_err(|error| AgentError::invalid(field, format!("can not be used: {error}")))
    }

    fn fallback_models(&self, config: &AgentConfig) -> Result<(), AgentError> {
        const FIELD: &str = "fallbackModels";
        let models = &config.fallback_models;
        if models.len() > bounds::FALLBACK_MODELS {
            let wrong = format!("may name {} models, not {}", bounds::FALLBACK_MODELS, models.len());
            return Err(AgentError::invalid(FIELD, wrong));
        }
        let mut seen = BTreeSet::from_iter(&config.model);
        for model in models {
            self.model(FIELD, Some(model))?;
            if !seen.insert(model) {
                return Err(AgentError::invalid(FIELD, format!("names {model} a second time")));
            }
        }
        Ok(())
    }

    async fn plugins(&self, tenant: &TenantId, config: &AgentConfig) -> Result<(), AgentError> {
        let catalog = self.registry.catalog(tenant).await?;
        if catalog.mode(&config.mode).is_none() {
            return Err(AgentError::invalid("mode", format!("must be one of: {}", catalog.mode_names())));
        }
        let tools = config.tools.as_deref().unwrap_or_default();
        if tools.len() > bounds::TOOLS {
            return Err(AgentError::invalid("tools", format!("may name {} tools, not {}", bounds::TOOLS, tools.len())));
        }
        let mut seen = BTreeSet::new();
        for tool in tools {
            if !catalog.knows_tool(tool.name.as_str()) {
                let there_are = catalog.tool_names();
                return Err(AgentError::invalid(
                    "tools",
                    format!("names {:?}; there are: {there_are}", tool.name.as_str()),
                ));
            }
            if !seen.insert(&tool.name) {
                return Err(AgentError::invalid("tools", format!("names {:?} twice", tool.name.as_str())));
            }
        }
        Ok(())
    }

    async fn contexts(&self, tenant: &TenantId, config: &AgentConfig) -> Result<(), AgentError> {
        if config.contexts.len() > MAX_CONTEXTS {
            let named = config.contexts.len();
            return Err(AgentError::invalid("contexts", format!("may name {MAX_CONTEXTS} documents, not {named}")));
        }
        let mut seen = BTreeSet::new();
        for id in &config.contexts {
            if !seen.insert(id) {
                return Err(AgentError::invalid("contexts", format!("names the document {id} twice")));
            }
            if self.store.document(tenant, *id).await?.is_none() {
                return Err(AgentError::invalid(
                    "contexts",
                    format!("names the document {id}, and there is none of this id"),
                ));
            }
        }
        Ok(())
    }

    async fn agents(&self, tenant: &TenantId, config: &AgentConfig) -> Result<(), AgentError> {
        if config.agents.len() > MAX_AGENTS {
            let named = config.agents.len();
            return Err(AgentError::invalid("agents", format!("may name {MAX_AGENTS} agents, not {named}")));
        }
        let mut seen = BTreeSet::new();
        for id in &config.agents {
            if !seen.insert(id) {
                return Err(AgentError::invalid("agents", format!("names the agent {id} twice")));
            }
            if self.store.agent(tenant, *id).await?.is_none() {
                let text = format!("names the agent {id}, and there is none of this id");
                return Err(AgentError::invalid("agents", text));
            }
        }
        Ok(())
    }
}

/// A name stands in paths beside ids, so it is none.
fn name(name: &str) -> Result<(), AgentError> {
    text("name", name, 1, MAX_NAME_CHARS)?;
    if name.trim() != name || name.contains(char::is_control) {
        return Err(AgentError::invalid("name", "must not begin or end with a space, nor hold a line break or a tab"));
    }
    if name.parse::<AgentId>().is_ok() {
        return Err(AgentError::invalid("name", "must not be a UUID: those are ids"));
    }
    Ok(())
}

fn output(output: &OutputFormat) -> Result<(), AgentError> {
    let OutputFormat::JsonSchema { schema } = output else { return Ok(()) };
    let bytes = schema.to_string().len();
    if bytes > bounds::SCHEMA_BYTES {
        return Err(AgentError::invalid(
            "output",
            format!("may hold a schema of {} bytes, not {bytes}", bounds::SCHEMA_BYTES),
        ));
    }
    let compiled = jsonschema::validator_for(schema);
    compiled.map(|_| ()).map_err(|error| AgentError::invalid("output", format!("holds no valid JSON Schema: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_plain_and_no_id() {
        for good in ["a", "my-assistant", "Köln 7", &"x".repeat(MAX_NAME_CHARS)] {
            assert!(name(good).is_ok(), "{good:?}");
        }
        let uuid = AgentId::new().to_string();
        for bad in ["", " ", " a", "a ", "a\nb", "a\u{1b}[2J", &uuid, &"x".repeat(MAX_NAME_CHARS + 1)] {
            assert!(name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_number_out_of_its_range_is_named_with_the_range() {
        let error = number("maxCycles", Some(101), 1, bounds::CYCLES).unwrap_err();
        assert_eq!(error.to_string(), "maxCycles must be an integer from 1 to 100, not 101");
    }

    #[test]
    fn a_schema_that_is_none_is_refused() {
        let broken = OutputFormat::JsonSchema { schema: serde_json::json!({"type": "nonsense"}) };
        assert!(output(&broken).unwrap_err().to_string().starts_with("output holds no valid JSON Schema"));
        assert!(output(&OutputFormat::JsonObject).is_ok());
    }
}
