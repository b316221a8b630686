//! MCP configurations: this dialect names a remote server by a number, and its tools by the names that the server has for them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use vivarium_domain::{AgentTool, Approval, McpServer, McpTool, PluginName, TenantId};

use super::scenario::scenario_id;
use crate::ApiState;
use crate::body::Object;
use crate::error::{ApiError, Kind};

/// The tools of one remote server that an agent may use.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = McpConfigForm)]
pub(super) struct McpForm {
    /// The server's number: `mcpConnectionId` in `GET /v1/mcp-servers`.
    #[schema(minimum = 0, maximum = 281_474_976_710_655_u64)]
    mcp_connection_id: u64,
    /// The tools, by the server's names for them; all that were accepted, if left out.
    #[serde(default)]
    #[schema(nullable = false, max_items = 200)]
    tool_ids: Option<Vec<String>>,
}

/// The tools of one remote server that an agent may use without asking a person, as far as the server's approvals let it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct McpConfig {
    /// The server's number.
    mcp_connection_id: u64,
    /// The tools, by the server's names for them.
    tool_ids: Vec<String>,
    /// The server's name.
    name: String,
}

/// A server's number, the same for ever, as a tool's is.
pub(crate) fn connection_id(server: &McpServer) -> u64 {
    scenario_id(PluginName::from(&server.name).as_str())
}

/// The remote servers that a tenant has.
pub(super) struct Connections(Vec<McpServer>);

impl Connections {
    pub(super) async fn of(state: &ApiState, tenant: &TenantId) -> Result<Self, ApiError> {
        Ok(Self(state.0.registry.mcp_servers(tenant).await?))
    }

    /// The tools that a client means. `field` is where the list stands.
    pub(super) fn tools(&self, field: &'static str, forms: &[Object<McpForm>]) -> Result<Vec<AgentTool>, ApiError> {
        let mut tools = Vec::new();
        for (index, Object(form)) in forms.iter().enumerate() {
            let server = self.0.iter().find(|server| connection_id(server) == form.mcp_connection_id);
            let server = server.ok_or_else(|| self.unknown(field, index))?;
            let wanted = |tool: &&McpTool| match &form.tool_ids {
                Some(ids) => ids.contains(&tool.remote_name),
                None => server.approval(&tool.manifest) != Approval::Never,
            };
            let has = |id: &&String| !server.tools.iter().any(|tool| tool.remote_name == **id);
            if let Some(unknown) = form.tool_ids.iter().flatten().find(has) {
                let there_are: Vec<&str> = server.tools.iter().map(|tool| tool.remote_name.as_str()).collect();
                let unknown: String = unknown.chars().take(80).collect();
                let param = format!("{field}[{index}].toolIds");
                let there_are = there_are.join(", ");
                let message = format!("{param} names {unknown:?}; the tools of {} are: {there_are}", server.name);
                return Err(ApiError::new(Kind::InvalidParameter, message).about(param));
            }
            let named = server.tools.iter().filter(wanted).map(|tool| tool.manifest.name.clone());
            tools.extend(named.map(|name| AgentTool { name, approval: Approval::Auto }));
        }
        Ok(tools)
    }

    fn unknown(&self, field: &'static str, index: usize) -> ApiError {
        let listed = |server: &McpServer| format!("{} ({})", connection_id(server), server.name);
        let there_are: Vec<String> = self.0.iter().map(listed).collect();
        let there_are = if there_are.is_empty() { "none".to_owned() } else { there_are.join(", ") };
        let param = format!("{field}[{index}].mcpConnectionId");
        let message = format!("{param} must be the number of an MCP server; there are: {there_are}");
        ApiError::new(Kind::InvalidParameter, message).about(param)
    }

    /// The tool is shown as its server's, and not as a scenario: those can say that a person is asked.
    pub(super) fn shows(&self, tool: &AgentTool) -> bool {
        let provides = |server: &McpServer| server.tools.iter().any(|known| known.manifest.name == tool.name);
        tool.approval == Approval::Auto && self.0.iter().any(provides)
    }

    /// Which of these tools are whose.
    pub(super) fn configs(&self, tools: &[AgentTool]) -> Vec<McpConfig> {
        let of_server = |server: &McpServer| {
            let used = |tool: &&McpTool| {
                tools.iter().any(|used| used.name == tool.manifest.name && used.approval == Approval::Auto)
            };
            let tool_ids: Vec<String> = server.tools.iter().filter(used).map(|tool| tool.remote_name.clone()).collect();
            let (mcp_connection_id, name) = (connection_id(server), server.name.to_string());
            (!tool_ids.is_empty()).then_some(McpConfig { mcp_connection_id, tool_ids, name })
        };
        self.0.iter().filter_map(of_server).collect()
    }
}

/// The tools of an agent in two parts, of which a change may name either, both or none.
#[derive(Debug, Default)]
pub(super) struct ToolChange {
    scenarios: Option<Vec<AgentTool>>,
    mcp: Option<Vec<AgentTool>>,
    /// The names of the tools that are a server's.
    of_servers: Vec<AgentTool>,
    /// All that the tenant has: what an agent has that names none.
    all: Vec<AgentTool>,
}

impl ToolChange {
    /// What `scenarios` and `mcpConfigs` name; none: that part stays.
    pub(super) fn new(
        scenarios: Option<Vec<AgentTool>>,
        mcp: Option<Vec<AgentTool>>,
        connections: &Connections,
        all: &[AgentTool],
    ) -> Self {
        let of_servers = connections.0.iter().flat_map(|server| &server.tools);
        let of_servers =
            of_servers.map(|tool| AgentTool { name: tool.manifest.name.clone(), approval: Approval::Auto }).collect();
        Self { scenarios, mcp, of_servers, all: all.to_vec() }
    }

    pub(super) fn apply(&self, tools: &mut Option<Vec<AgentTool>>) {
        if self.scenarios.is_none() && self.mcp.is_none() {
            return;
        }
        let before = tools.take().unwrap_or_else(|| self.all.clone());
        let (mcp, scenarios): (Vec<_>, Vec<_>) = before.into_iter().partition(|tool| self.of_servers.contains(tool));
        let mut now = self.scenarios.clone().unwrap_or(scenarios);
        for tool in self.mcp.clone().unwrap_or(mcp) {
            // One that both parts name is as the scenario says.
            if !now.iter().any(|named| named.name == tool.name) {
                now.push(tool);
            }
        }
        *tools = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(name: &str, approval: Approval) -> AgentTool {
        AgentTool { name: name.parse().unwrap(), approval }
    }

    #[test]
    fn either_part_of_an_agents_tools_is_changed_without_the_other() {
        let (auto, ask) = (Approval::Auto, Approval::Ask);
        let of_servers = vec![tool("s_a", auto), tool("s_b", auto)];
        let all = vec![tool("plain", auto), tool("s_a", auto)];
        let change = |scenarios: Option<Vec<AgentTool>>, mcp: Option<Vec<AgentTool>>, before| {
            let mut tools = before;
            ToolChange { scenarios, mcp, of_servers: of_servers.clone(), all: all.clone() }.apply(&mut tools);
            tools
        };
        let before = Some(vec![tool("plain", auto), tool("s_a", auto), tool("s_b", ask)]);
        assert_eq!(change(None, None, before.clone()), before);
        let expected = vec![tool("other", auto), tool("s_a", auto)];
        assert_eq!(change(Some(vec![tool("other", auto)]), None, before.clone()), Some(expected));
        let expected = vec![tool("plain", auto), tool("s_b", ask)];
        assert_eq!(change(None, Some(vec![tool("s_b", auto)]), before), Some(expected.clone()));
        assert_eq!(change(None, Some(Vec::new()), None), Some(vec![tool("plain", auto)]));
        assert_eq!(change(Some(Vec::new()), None, None), Some(vec![tool("s_a", auto)]));
    }
}
