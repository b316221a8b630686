//! Pages whose items may hold long texts, whichever dialect shows them: read in pieces, so that what is in memory for one
//! request is bounded by bytes and not by a number of items alone.

use vivarium_domain::{Agent, OutputFormat};
use vivarium_store::Page;

/// A page ends when its texts have so many bytes, however few its items are.
pub(crate) const MAX_PAGE_BYTES: usize = 4 << 20;

/// Reads a page `piece` items at a time: it ends early where its texts are long. `read` gives the items after a cursor,
/// `bytes_of` how long the texts of an item are.
pub(crate) async fn in_pieces<T, C: Copy, E, F: Future<Output = Result<Page<T, C>, E>>>(
    start: Option<C>,
    limit: usize,
    piece: usize,
    bytes_of: impl Fn(&T) -> usize,
    read: impl Fn(Option<C>, usize) -> F,
) -> Result<Page<T, C>, E> {
    let mut page = Page { items: Vec::new(), next: start };
    let mut bytes = 0;
    loop {
        let Page { items, next } = read(page.next, (limit - page.items.len()).min(piece)).await?;
        bytes += items.iter().map(&bytes_of).sum::<usize>();
        page.items.extend(items);
        page.next = next;
        if next.is_none() || page.items.len() >= limit || bytes >= MAX_PAGE_BYTES {
            return Ok(page);
        }
    }
}

/// How long an agent's texts are.
pub(crate) fn agent_texts(agent: &Agent) -> usize {
    let schema = match &agent.config.output {
        OutputFormat::JsonSchema { schema } => schema.to_string().len(),
        OutputFormat::Text | OutputFormat::JsonObject => 0,
    };
    agent.config.prompt.len() + agent.config.description.len() + schema
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;
    use vivarium_agents::AgentError;
    use vivarium_domain::{AgentConfig, AgentId, Timestamp};

    const PIECE: usize = 25;

    #[test]
    fn a_page_of_long_texts_ends_early_and_the_next_one_goes_on_there() {
        let (total, bytes) = (60_usize, MAX_PAGE_BYTES / 30);
        let read = |after: Option<usize>, limit: usize| {
            let first = after.map_or(0, |after| after + 1);
            let items: Vec<usize> = (first..total.min(first + limit)).collect();
            let next = items.last().copied().filter(|last| last + 1 < total);
            std::future::ready(Ok::<_, ()>(Page { items, next }))
        };
        let page =
            |after, bytes: usize| in_pieces(after, 200, PIECE, move |_| bytes, read).now_or_never().unwrap().unwrap();
        let short = page(None, 1);
        assert_eq!((short.items.len(), short.next), (total, None));
        let long = page(None, bytes);
        assert_eq!((long.items.len(), long.next), (2 * PIECE, Some(2 * PIECE - 1)));
        assert_eq!(page(long.next, bytes).items, (2 * PIECE..total).collect::<Vec<_>>());
    }

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
        let read = |before, limit| std::future::ready(Ok::<_, AgentError>(versions(before, limit, prompt_bytes)));
        let page = in_pieces(Some(start), limit, 50, agent_texts, read).now_or_never().unwrap().unwrap();
        (page.items.iter().map(|agent| agent.version).collect(), page.next)
    }

    #[test]
    fn a_page_ends_with_its_limit_the_list_or_the_length_of_its_texts() {
        assert_eq!(read(201, 120, 1), ((81..=200).rev().collect(), Some(81)));
        assert_eq!(read(61, 100, 1), ((1..=60).rev().collect(), None));
        assert_eq!(read(201, 120, MAX_PAGE_BYTES / 50 + 1), ((151..=200).rev().collect(), Some(151)));
    }
}
