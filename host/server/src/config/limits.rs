//! Limits of plugins as the configuration has them: the names of the manifest's limits with underscores, as everything in
//! the file is written.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use vivarium_domain::{PluginLimits, Tier};

/// Limits in a configuration file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LimitsTable(pub PluginLimits);

impl Serialize for LimitsTable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let json = serde_json::to_value(self.0).map_err(serde::ser::Error::custom)?;
        let table: BTreeMap<String, u64> = serde_json::from_value(json).map_err(serde::ser::Error::custom)?;
        serializer.collect_map(table.into_iter().map(|(name, value)| (underscored(&name), value)))
    }
}

impl<'de> Deserialize<'de> for LimitsTable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let table = BTreeMap::<String, u64>::deserialize(deserializer)?;
        let known = serde_json::to_value(everything()).map_err(serde::de::Error::custom)?;
        let known: BTreeMap<String, u64> = serde_json::from_value(known).map_err(serde::de::Error::custom)?;
        let names: BTreeMap<String, String> = known.into_keys().map(|name| (underscored(&name), name)).collect();
        let mut json = serde_json::Map::new();
        for (name, value) in table {
            let Some(camel) = names.get(&name) else {
                let known: Vec<&str> = names.keys().map(String::as_str).collect();
                return Err(serde::de::Error::custom(format!(
                    "{name} is no limit; the limits are: {}",
                    known.join(", ")
                )));
            };
            json.insert(camel.clone(), value.into());
        }
        serde_json::from_value(json.into()).map(Self).map_err(serde::de::Error::custom)
    }
}

/// Limits of which each one is there: for their names.
fn everything() -> PluginLimits {
    tool_defaults()
}

/// `wallMs` as `wall_ms`.
fn underscored(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            text.push('_');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

const MIB: u64 = 1 << 20;

/// What a call of a tool may use where nobody says anything.
#[must_use]
pub fn tool_defaults() -> PluginLimits {
    PluginLimits {
        wall_ms: Some(60_000),
        cpu_ms: Some(10_000),
        memory_bytes: Some(128 * MIB),
        table_elements: Some(50_000),
        output_bytes: Some(MIB),
        host_calls: Some(20_000),
        log_lines: Some(200),
        handles: Some(256),
        egress_requests: Some(32),
        egress_bytes: Some(32 * MIB),
        file_bytes: Some(64 * MIB),
        files: Some(2_000),
        state_bytes: Some(4 * MIB),
    }
}

/// What a run of a mode may use where nobody says anything: it waits for models and tools, so it may live long; it
/// computes little.
#[must_use]
pub fn mode_defaults() -> PluginLimits {
    PluginLimits { wall_ms: Some(600_000), cpu_ms: Some(20_000), host_calls: Some(5_000), ..tool_defaults() }
}

/// What no limit goes beyond, for the tenants of a tier.
#[must_use]
pub fn maxima() -> BTreeMap<Tier, LimitsTable> {
    let most = |factor: u64| {
        LimitsTable(PluginLimits {
            wall_ms: Some(60_000 * factor),
            cpu_ms: Some(10_000 * factor),
            memory_bytes: Some((128 * MIB * factor).min(1024 * MIB)),
            table_elements: Some(50_000 * factor),
            output_bytes: Some(MIB * factor),
            host_calls: Some(20_000 * factor),
            log_lines: Some(200 * factor),
            handles: Some(256 * factor),
            egress_requests: Some(32 * factor),
            egress_bytes: Some(32 * MIB * factor),
            file_bytes: Some(64 * MIB * factor),
            files: Some(2_000 * factor),
            state_bytes: Some(4 * MIB * factor),
        })
    };
    BTreeMap::from([(Tier::Free, most(1)), (Tier::Pro, most(2)), (Tier::Max, most(4)), (Tier::Enterprise, most(10))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_limits_is_read_as_it_is_written() {
        let table = LimitsTable(PluginLimits { wall_ms: Some(5), file_bytes: Some(7), ..PluginLimits::default() });
        let text = toml::to_string(&table).unwrap();
        assert_eq!(text, "file_bytes = 7\nwall_ms = 5\n");
    }

    #[test]
    fn a_limit_that_does_not_exist_is_told_with_those_that_do() {
        let error = serde_json::from_str::<LimitsTable>(r#"{"wallMs": 5}"#).unwrap_err().to_string();
        assert!(error.contains("wallMs is no limit") && error.contains("wall_ms"), "{error}");
    }
}
