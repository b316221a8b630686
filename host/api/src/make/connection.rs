//! Connections, as this dialect's clients name them.

use vivarium_agents::Agents;
use vivarium_domain::ModelName;

use crate::connections::{connections, provider_of};
use crate::error::{ApiError, Kind};

/// The provider that a client means by a number, among these.
pub(super) fn provider_named<'a>(providers: &[&'a str], number: u64) -> Result<&'a str, ApiError> {
    provider_of(providers, number).ok_or_else(|| {
        let mut there_are = connections(providers);
        there_are.sort_unstable();
        let there_are: Vec<String> = there_are.iter().map(|(number, name)| format!("{number} ({name})")).collect();
        let message = format!("makeConnectionId must be one of {}", there_are.join(", "));
        ApiError::new(Kind::InvalidParameter, message).about("makeConnectionId")
    })
}

/// The model that an agent's requests go to: its own, or the host's default one.
pub(super) fn model_of<'a>(agents: &'a Agents, own: Option<&'a ModelName>) -> &'a ModelName {
    own.unwrap_or_else(|| agents.default_model())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_connection_is_told_which_there_are() {
        assert_eq!(provider_named(&["openai", "embedded"], 4).unwrap(), "embedded");
        let told = provider_named(&["openai", "embedded"], 2).unwrap_err();
        assert_eq!(told.message(), "makeConnectionId must be one of 1 (openai), 4 (embedded)");
    }
}
