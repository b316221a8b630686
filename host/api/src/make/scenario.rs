//! Scenarios: this dialect names a tool by a number.

use vivarium_domain::{AgentTool, Approval, ContentHash, TenantId, ToolName};

use super::config::{ApprovalMode, ScenarioForm};
use crate::ApiState;
use crate::body::Object;
use crate::error::{ApiError, Kind};

/// The most tools that an error lists.
const MAX_LISTED: usize = 50;

/// A tool's number: 48 bits of its name's SHA-256, so that it is the same on every host, whatever is installed besides,
/// and every JSON parser reads it exactly. Among a thousand tools, two have the same number once in 500 million hosts.
pub(crate) fn scenario_id(tool: &str) -> u64 {
    let hash = ContentHash::of(tool.as_bytes());
    hash.as_bytes().iter().take(6).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The tools that a tenant has.
pub(super) struct Scenarios(Vec<AgentTool>);

impl Scenarios {
    pub(super) async fn of(state: &ApiState, tenant: &TenantId) -> Result<Self, ApiError> {
        let tools = state.0.runs.tools(tenant).await?;
        let tool =
            |tool: vivarium_runs::ToolInfo| AgentTool { name: tool.manifest.name.clone(), approval: tool.approval };
        Ok(Self(tools.into_iter().map(tool).collect()))
    }

    /// All of them: what an agent has that names none.
    pub(super) fn all(&self) -> &[AgentTool] {
        &self.0
    }

    /// The tools that a client means. `field` is where the list stands.
    pub(super) fn tools(
        &self,
        field: &'static str,
        forms: &[Object<ScenarioForm>],
    ) -> Result<Vec<AgentTool>, ApiError> {
        let tool = |(index, Object(form)): (usize, &Object<ScenarioForm>)| {
            let name = self.name(form.make_scenario_id).ok_or_else(|| self.unknown(field, index))?;
            let approval = match form.approval_mode {
                None | Some(ApprovalMode::AutoRun) => Approval::Auto,
                Some(ApprovalMode::ApprovalRequired) => Approval::Ask,
            };
            Ok(AgentTool { name: name.clone(), approval })
        };
        forms.iter().enumerate().map(tool).collect()
    }

    fn name(&self, number: u64) -> Option<&ToolName> {
        self.0.iter().map(|tool| &tool.name).find(|name| scenario_id(name.as_str()) == number)
    }

    fn unknown(&self, field: &'static str, index: usize) -> ApiError {
        let listed = |tool: &AgentTool| format!("{} ({})", scenario_id(tool.name.as_str()), tool.name);
        let there_are: Vec<String> = self.0.iter().take(MAX_LISTED).map(listed).collect();
        let param = format!("{field}[{index}].makeScenarioId");
        let message = format!("{param} must be the number of a tool; there are: {}", there_are.join(", "));
        ApiError::new(Kind::InvalidParameter, message).about(param)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tools_number_is_the_same_for_ever() {
        // printf web_search | sha256sum
        assert_eq!(scenario_id("web_search"), 0x2a71_9626_4238);
        assert!(scenario_id("corpus_search") < 1 << 53);
    }
}
