//! Connections: this dialect names a model provider by a number.

use vivarium_agents::Agents;
use vivarium_domain::ModelName;

use crate::error::{ApiError, Kind};

/// The providers that every host knows have the same number on all of them, configured or not.
const KNOWN: [(&str, u64); 4] = [("openai", 1), ("anthropic", 2), ("google", 3), ("embedded", 4)];

/// Where the numbers of all others begin, in the order of their names.
const FIRST_OTHER: u64 = 101;

/// The connections that there are: each provider that is configured, with its number.
pub(super) struct Connections(Vec<(u64, String)>);

impl Connections {
    pub(super) fn of(agents: &Agents) -> Self {
        Self::of_providers(agents.providers())
    }

    fn of_providers(mut names: Vec<&str>) -> Self {
        names.sort_unstable();
        let mut other = FIRST_OTHER..;
        let mut connections: Vec<(u64, String)> = names
            .into_iter()
            .filter_map(|name| {
                let known = KNOWN.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
                Some((known.or_else(|| other.next())?, name.to_owned()))
            })
            .collect();
        connections.sort_unstable();
        Self(connections)
    }

    /// The number of a provider; none of one that is neither known nor configured.
    pub(super) fn number(&self, provider: &str) -> Option<u64> {
        let configured = self.0.iter().find(|(_, name)| name == provider).map(|(number, _)| *number);
        configured.or_else(|| KNOWN.iter().find(|(known, _)| *known == provider).map(|(_, number)| *number))
    }

    /// The provider of a number.
    pub(super) fn provider(&self, number: u64) -> Result<&str, ApiError> {
        self.0.iter().find(|(known, _)| *known == number).map(|(_, name)| name.as_str()).ok_or_else(|| {
            let there_are: Vec<String> = self.0.iter().map(|(number, name)| format!("{number} ({name})")).collect();
            let message = format!("makeConnectionId must be one of {}", there_are.join(", "));
            ApiError::new(Kind::InvalidParameter, message).about("makeConnectionId")
        })
    }
}

/// The model that an agent's requests go to: its own, or the host's default one.
pub(super) fn model_of<'a>(agents: &'a Agents, own: Option<&'a ModelName>) -> &'a ModelName {
    own.unwrap_or_else(|| agents.default_model())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_providers_do_not_depend_on_which_are_configured() {
        let all = Connections::of_providers(vec!["zeta", "openai", "acme", "embedded"]);
        assert_eq!(all.0.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 4, 101, 102]);
        assert_eq!((all.provider(102).unwrap(), all.number("acme")), ("zeta", Some(101)));
        let one = Connections::of_providers(vec!["embedded"]);
        assert_eq!((one.provider(4).unwrap(), one.number("openai"), one.number("acme")), ("embedded", Some(1), None));
        assert_eq!(one.provider(1).unwrap_err().message(), "makeConnectionId must be one of 4 (embedded)");
    }
}
