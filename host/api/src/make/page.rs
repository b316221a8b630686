//! Pages of agents: a prompt may be long, so a page is read in pieces, and ends early where their texts are long together.

use vivarium_agents::AgentError;
use vivarium_domain::Agent;
use vivarium_store::Page;

/// A page ends when its texts have so many bytes, however few its agents are.
const MAX_BYTES: usize = 4 << 20;

/// How many are read at a time.
const PIECE: usize = 50;

/// At most `limit` agents, or versions of one, from `start` on. `read` gives the next so many.
pub(super) async fn page<C: Copy, F>(
    start: Option<C>,
    limit: usize,
    read: impl Fn(Option<C>, usize) -> F,
) -> Result<Page<Agent, C>, AgentError>
where
    F: Future<Output = Result<Page<Agent, C>, AgentError>>,
{
    let mut page = Page { items: Vec::new(), next: start };
    let mut bytes = 0;
    loop {
        let piece = read(page.next, (limit - page.items.len()).min(PIECE)).await?;
        bytes += piece.items.iter().map(text_bytes).sum::<usize>();
        page.items.extend(piece.items);
        page.next = piece.next;
        if page.next.is_none() || page.items.len() >= limit || bytes >= MAX_BYTES {
            return Ok(page);
        }
    }
}

fn text_bytes(agent: &Agent) -> usize {
    agent.config.prompt.len() + agent.config.description.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;
    use vivarium_domain::{AgentConfig, AgentId, Timestamp};

    /// Versions below a number, downwards to 1, each with a prompt of so many bytes.
    fn versions(before: Option<u64>, limit: usize, prompt_bytes: usize) -> Page<Agent, u64> {
        let newest = before.unwrap_or(1000);
        let items: Vec<Agent> = (1..newest).rev().take(limit).map(|version| agent(version, prompt_bytes)).collect();
        let next = items.last().map(|agent| agent.version).filter(|version| *version > 1);
        Page { items, next }
    }

    fn agent(version: u64, prompt_bytes: usize) -> Agent {
        let now = Timestamp::UNIX_EPOCH;
        let config = AgentConfig { prompt: "x".repeat(prompt_bytes), ..AgentConfig::named("a") };
        Agent { id: AgentId::new(), version, created_at: now, updated_at: now, updated_by: None, config }
    }

    fn read(start: u64, limit: usize, prompt_bytes: usize) -> (Vec<u64>, Option<u64>) {
        let read = |before, limit| std::future::ready(Ok(versions(before, limit, prompt_bytes)));
        let page = page(Some(start), limit, read).now_or_never().unwrap().unwrap();
        (page.items.iter().map(|agent| agent.version).collect(), page.next)
    }

    #[test]
    fn a_page_ends_with_its_limit_the_list_or_the_length_of_its_texts() {
        assert_eq!(read(201, 120, 1), ((81..=200).rev().collect(), Some(81)));
        assert_eq!(read(61, 100, 1), ((1..=60).rev().collect(), None));
        assert_eq!(read(201, 120, MAX_BYTES / PIECE + 1), ((151..=200).rev().collect(), Some(151)));
    }
}
