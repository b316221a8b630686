//! What models cost: the operator's prices over a table that is shipped (`prices.toml`), which says of each line when and
//! where it was read. A model that stands in neither has no price; nobody guesses one by a name that is like it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use vivarium_domain::{Date, ModelName, Money, Usage};

/// What a million tokens cost, in US dollars.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Tokens that are read.
    pub input: Money,
    /// Of these, those that the provider has in its cache; none: as any other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_input: Option<Money>,
    /// Of the tokens that are read, those that the provider puts into its cache; none: as any other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<Money>,
    /// Tokens that are written, thoughts included.
    pub output: Money,
    /// What holds instead for the whole of a request with a long input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub long: Option<LongPrice>,
}

/// What a million tokens cost where a request's input is long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LongPrice {
    /// An input with more tokens than so many is long.
    pub above_input_tokens: u64,
    /// As in [`Price`].
    pub input: Money,
    /// As in [`Price`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_input: Option<Money>,
    /// As in [`Price`].
    pub output: Money,
}

impl Price {
    /// What a call has cost that has used this.
    #[must_use]
    pub fn of(&self, usage: Usage) -> Money {
        let (input, cached_input, output) = match self.long {
            Some(long) if usage.input_tokens > long.above_input_tokens => (long.input, long.cached_input, long.output),
            _ => (self.input, self.cached_input, self.output),
        };
        let cached = usage.cached_input_tokens.min(usage.input_tokens);
        let kept = usage.cache_write_tokens.min(usage.input_tokens - cached);
        input
            .of_a_million(usage.input_tokens - cached - kept)
            .saturating_add(cached_input.unwrap_or(input).of_a_million(cached))
            .saturating_add(self.cache_write.unwrap_or(input).of_a_million(kept))
            .saturating_add(output.of_a_million(usage.output_tokens))
    }

    /// The most that a call can cost that uses at most so many tokens: nothing of it is in the provider's cache.
    #[must_use]
    pub fn at_most(&self, input_tokens: u64, output_tokens: u64) -> Money {
        let usage = Usage { input_tokens, output_tokens, ..Usage::default() };
        let short = Self { long: None, ..*self };
        // A cached token that costs more than another would be odd, and is still covered; one that is put into the cache does.
        let dearest = short.cached_input.unwrap_or_default().max(short.cache_write.unwrap_or_default());
        let written = self.long.map_or(short.output, |long| long.output.max(short.output));
        let all_dear = dearest.of_a_million(input_tokens).saturating_add(written.of_a_million(output_tokens));
        self.of(usage).max(short.of(usage)).max(all_dear)
    }
}

/// A line of the shipped table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Shipped {
    model: ModelName,
    #[cfg_attr(not(test), expect(dead_code, reason = "for who reads the table"))]
    source: String,
    #[serde(default)]
    #[expect(dead_code, reason = "for who reads the table")]
    via: Option<String>,
    /// The first day on which it holds; none: from ever.
    #[serde(default)]
    from: Option<Date>,
    input: Money,
    #[serde(default)]
    cached_input: Option<Money>,
    #[serde(default)]
    cache_write: Option<Money>,
    output: Money,
    #[serde(default)]
    long: Option<LongPrice>,
}

#[derive(Debug, Default, Deserialize)]
struct ShippedTable {
    price: Vec<Shipped>,
}

static SHIPPED: LazyLock<ShippedTable> =
    // A test reads it, so it reads.
    LazyLock::new(|| toml::from_str(include_str!("prices.toml")).unwrap_or_default());

/// The prices of all models that have one.
#[derive(Debug, Clone, Default)]
pub struct Prices(BTreeMap<String, Price>);

impl Prices {
    /// The operator's, over the shipped ones.
    #[must_use]
    pub fn new(own: impl IntoIterator<Item = (ModelName, Price)>) -> Self {
        Self(own.into_iter().map(|(model, price)| (model.to_string(), price)).collect())
    }

    /// What a model costs on this day. None: it has no price.
    #[must_use]
    pub fn of(&self, model: &ModelName, on: Date) -> Option<Price> {
        let name = model.to_string();
        let without_date = without_date(&name);
        let own = self.0.get(&name).or_else(|| self.0.get(without_date?));
        own.copied().or_else(|| shipped(&name, on)).or_else(|| shipped(without_date?, on))
    }
}

fn shipped(name: &str, on: Date) -> Option<Price> {
    let lines = SHIPPED.price.iter().filter(|line| line.model.to_string() == name);
    let holds = lines.filter(|line| line.from.is_none_or(|from| from <= on));
    holds.max_by_key(|line| line.from).map(|line| Price {
        input: line.input,
        cached_input: line.cached_input,
        cache_write: line.cache_write,
        output: line.output,
        long: line.long,
    })
}

/// The name of a model without the day of its snapshot, which costs what the model does: `gpt-5.4-2026-03-05`,
/// `claude-haiku-4-5-20251001`.
fn without_date(name: &str) -> Option<&str> {
    let (rest, last) = name.rsplit_once('-')?;
    let digits = |text: &str, count: usize| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits(last, 8) {
        return Some(rest);
    }
    let (rest, month) = rest.rsplit_once('-')?;
    let (rest, year) = rest.rsplit_once('-')?;
    (digits(last, 2) && digits(month, 2) && digits(year, 4)).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Date {
        text.parse().unwrap()
    }

    fn model(text: &str) -> ModelName {
        text.parse().unwrap()
    }

    fn usage(input_tokens: u64, cached_input_tokens: u64, output_tokens: u64) -> Usage {
        Usage { input_tokens, cached_input_tokens, output_tokens, ..Usage::default() }
    }

    #[test]
    fn the_shipped_table_reads_and_says_where_each_line_is_from() {
        let table: ShippedTable = toml::from_str(include_str!("prices.toml")).unwrap();
        assert!(table.price.len() > 20);
        for line in &table.price {
            assert!(line.source.starts_with("https://") || line.model.provider() == "embedded", "{}", line.model);
            let double = |other: &&Shipped| other.model == line.model && other.from == line.from;
            assert_eq!(table.price.iter().filter(double).count(), 1, "{}", line.model);
        }
    }

    #[test]
    fn a_model_costs_what_the_operator_says_else_what_its_vendor_does_else_nothing_is_known() {
        let own = Price {
            input: Money::from_nanos(7),
            cached_input: None,
            cache_write: None,
            output: Money::from_nanos(9),
            long: None,
        };
        let prices = Prices::new([(model("openai/gpt-5.4"), own), (model("openai/llama3"), own)]);
        let today = day("2026-11-22");
        assert_eq!(prices.of(&model("openai/llama3"), today), Some(own));
        assert_eq!(prices.of(&model("openai/gpt-5.4-2026-03-05"), today), Some(own));
        let haiku = prices.of(&model("anthropic/claude-haiku-4-5-20251001"), today).unwrap();
        assert_eq!(haiku.output.to_string(), "5");
        for unknown in ["openai/gpt-5.4-extra", "openai/gpt", "other/gpt-5.1", "openai/20251001"] {
            assert_eq!(prices.of(&model(unknown), today), None, "{unknown}");
        }
    }

    #[test]
    fn a_price_that_changes_on_a_day_changes_on_that_day() {
        let flash = |on| Prices::default().of(&model("google/gemini-3.8-flash"), day(on)).unwrap().input.to_string();
        assert_eq!((flash("2026-12-31").as_str(), flash("2027-01-01").as_str()), ("0.75", "1.5"));
    }

    #[test]
    fn a_call_costs_by_what_it_read_from_where_and_wrote_and_a_long_one_more() {
        let sol = Prices::default().of(&model("openai/gpt-6.2-sol"), day("2026-11-22")).unwrap();
        assert_eq!(sol.of(usage(1_000_000 / 10, 50_000, 1_000)).to_string(), "0.115");
        assert_eq!(sol.of(usage(272_000, 0, 0)).to_string(), "0.544");
        assert_eq!(sol.of(usage(272_001, 0, 0)).to_string(), "1.088004");
        assert_eq!(sol.at_most(272_001, 100), sol.of(usage(272_001, 0, 100)));
        for cached in [0, 10_000, 300_000] {
            assert!(sol.of(usage(300_000, cached, 500)) <= sol.at_most(300_000, 500));
        }
        let kept = |kept| Usage { cache_write_tokens: kept, ..usage(1_000_000, 500_000, 0) };
        let sonnet = Prices::default().of(&model("anthropic/claude-sonnet-5-5"), day("2026-11-22")).unwrap();
        let dearer = sonnet.of(kept(500_000)).nanos() - sonnet.of(kept(0)).nanos();
        assert_eq!(dearer, sonnet.input.nanos() / 8, "a quarter more for half a million");
        assert!(sonnet.of(Usage { cache_write_tokens: 1_000, ..usage(1_000, 0, 10) }) <= sonnet.at_most(1_000, 10));
        // More from the cache than was read is what a broken provider says.
        assert_eq!(sol.of(usage(10, 20, 0)), sol.of(usage(10, 10, 0)));
    }
}
