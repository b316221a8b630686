//! Agents as tools: `agent_` and the agent's name.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use vivarium_domain::{Agent, TenantId, ToolName};
use vivarium_store::AgentFilter;

use crate::ApiState;
use crate::error::ApiError;

/// The most agents that are tools: those that were made last. A model that is offered more finds none of them.
const MAX_AGENTS: usize = 200;

/// How many are read at a time.
const PIECE: usize = 50;

/// The longest part of a tool's name that is made of an agent's.
const MAX_SLUG_CHARS: usize = 48;

/// The tenant's agents, by the names of their tools. Two whose names make the same one, or one that a tool has, are told apart by
/// the end of their ids, which stays as it is when others come and go.
pub(super) async fn as_tools(
    state: &ApiState,
    tenant: &TenantId,
    is_taken: impl Fn(&str) -> bool + Send,
) -> Result<BTreeMap<String, Agent>, ApiError> {
    let (mut found, mut before) = (Vec::new(), None);
    while found.len() < MAX_AGENTS {
        let filter = AgentFilter { team: None, before, limit: PIECE };
        let page = state.0.agents.list(tenant, filter).await?;
        found.extend(page.items);
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    found.truncate(MAX_AGENTS);
    Ok(named(found, is_taken))
}

fn named(agents: Vec<Agent>, is_taken: impl Fn(&str) -> bool) -> BTreeMap<String, Agent> {
    let mut by_slug: BTreeMap<String, Vec<Agent>> = BTreeMap::new();
    for agent in agents {
        by_slug.entry(format!("agent_{}", slug(&agent.config.name))).or_default().push(agent);
    }
    let mut tools = BTreeMap::new();
    for (name, mut agents) in by_slug {
        match agents.pop() {
            Some(agent) if agents.is_empty() && !is_taken(&name) => drop(tools.insert(name, agent)),
            last => {
                for agent in agents.into_iter().chain(last) {
                    let id = agent.id.to_string();
                    let end = id.get(id.len().saturating_sub(8)..).unwrap_or_default();
                    tools.insert(format!("{name}_{end}"), agent);
                }
            }
        }
    }
    tools.retain(|name, _| name.parse::<ToolName>().is_ok() && !is_taken(name));
    tools
}

/// An agent's name as a part of a tool's.
fn slug(name: &str) -> String {
    let plain = name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { ' ' });
    let plain: String = plain.collect();
    let words: Vec<&str> = plain.split_whitespace().collect();
    let slug: String = words.join("_").chars().take(MAX_SLUG_CHARS).collect();
    if slug.is_empty() { "unnamed".to_owned() } else { slug }
}

/// What an agent takes as a tool.
pub(super) fn input_schema() -> Map<String, Value> {
    let schema = json!({
        "type": "object",
        "properties": {
            "input": {
                "type": "string",
                "minLength": 1,
                "description": "What the agent is to do or to answer, with all that it needs to know.",
            },
            "sessionId": {
                "type": "string",
                "minLength": 1,
                "maxLength": 128,
                "description": "The conversation to go on with: the sessionId of an earlier answer, or a new one of your choice. \
                                Without it the agent remembers nothing of earlier calls.",
            },
        },
        "required": ["input"],
        "additionalProperties": false,
    });
    match schema {
        Value::Object(schema) => schema,
        _ => Map::new(),
    }
}

/// What is told of an agent.
pub(super) fn description(agent: &Agent) -> String {
    let about = &agent.config.description;
    let about = if about.is_empty() { String::new() } else { format!(" {about}") };
    format!(
        "Asks the agent {:?}, which works on it in a run of its own and gives back its answer.{about}",
        agent.config.name
    )
}

#[cfg(test)]
mod tests {
    use vivarium_domain::{AgentConfig, AgentId, Timestamp};

    use super::*;

    fn agent(name: &str) -> Agent {
        let now = Timestamp::UNIX_EPOCH;
        let config = AgentConfig::named(name);
        Agent { id: AgentId::new(), version: 1, created_at: now, updated_at: now, updated_by: None, config }
    }

    #[test]
    fn each_agent_has_a_tools_name_of_its_own_that_does_not_depend_on_the_order() {
        let agents =
            vec![agent("Math Helper"), agent("math-helper"), agent("数学"), agent("taken"), agent(&"x".repeat(128))];
        let names = |agents: Vec<Agent>| {
            let named = named(agents, |name| name == "agent_taken");
            named.into_iter().map(|(name, agent)| (name, agent.id)).collect::<Vec<_>>()
        };
        let once = names(agents.clone());
        assert_eq!(once, names(agents.into_iter().rev().collect()));
        let plain: Vec<&str> = once.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(plain.len(), 5);
        assert!(plain[0].starts_with("agent_math_helper_") && plain[1].starts_with("agent_math_helper_"), "{plain:?}");
        assert!(plain[2].starts_with("agent_taken_"), "{plain:?}");
        assert_eq!(plain[3], "agent_unnamed");
        assert!(plain.iter().all(|name| name.parse::<ToolName>().is_ok()), "{plain:?}");
    }
}
