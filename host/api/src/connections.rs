//! Connections: the make dialect knows a model provider by a number, where all others know it by its name. One place says
//! which number is whose, for the make dialect that takes them and for the native one that lists them.

/// The providers that have the same number on every host.
const WELL_KNOWN: [(u64, &str); 4] = [(1, "openai"), (2, "anthropic"), (3, "google"), (4, "embedded")];

/// The number of the first provider with a name of its own; the others follow in the order of their names.
const FIRST_FURTHER: u64 = 101;

/// The connections to these providers: number and name.
pub(crate) fn connections<'a>(providers: &[&'a str]) -> Vec<(u64, &'a str)> {
    let mut providers = providers.to_vec();
    providers.sort_unstable();
    let well_known = |name: &str| WELL_KNOWN.iter().find(|(_, known)| *known == name).map(|(number, _)| *number);
    let mut further = FIRST_FURTHER..;
    let numbered = |name: &'a str| well_known(name).or_else(|| further.next()).map(|number| (number, name));
    providers.into_iter().filter_map(numbered).collect()
}

/// The connection to the provider of this name.
pub(crate) fn connection_of(providers: &[&str], name: &str) -> Option<u64> {
    connections(providers).into_iter().find(|(_, provider)| *provider == name).map(|(number, _)| number)
}

/// The provider that a connection is to.
pub(crate) fn provider_of<'a>(providers: &[&'a str], connection: u64) -> Option<&'a str> {
    connections(providers).into_iter().find(|(number, _)| *number == connection).map(|(_, provider)| provider)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vendors_have_the_same_numbers_everywhere_and_the_others_follow_in_order() {
        let providers = ["ollama", "anthropic", "embedded", "lab"];
        assert_eq!(connections(&providers), [(2, "anthropic"), (4, "embedded"), (101, "lab"), (102, "ollama")]);
        assert_eq!(connection_of(&providers, "embedded"), Some(4));
        assert_eq!(connection_of(&providers, "openai"), None);
        assert_eq!(provider_of(&providers, 102), Some("ollama"));
        assert_eq!(provider_of(&providers, 1), None);
    }
}
