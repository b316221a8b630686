//! What is asked of the service, and what becomes of its answer. Nothing here knows of a host, so `cargo test` runs it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The tool's arguments.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// Three letters, such as `EUR`.
    pub from: String,
    /// Three letters, such as `USD`.
    pub to: String,
    /// How much of `from`.
    #[serde(default = "one")]
    pub amount: f64,
}

fn one() -> f64 {
    1.0
}

/// What the service says.
#[derive(Debug, Deserialize)]
pub struct Rates {
    /// The working day that the rates are of.
    date: String,
    rates: BTreeMap<String, f64>,
}

/// What the tool says.
#[derive(Debug, Serialize, PartialEq)]
pub struct Answer {
    pub from: String,
    pub to: String,
    pub date: String,
    pub rate: f64,
    pub amount: f64,
    pub result: f64,
}

impl Question {
    /// Where the service has the answer. The input schema leaves nothing in the codes that an address could not hold.
    pub fn url(&self, base: &str) -> String {
        format!("{}/latest?base={}&symbols={}", base.trim_end_matches('/'), self.from, self.to)
    }

    /// # Errors
    /// When the service did not say what was asked.
    pub fn answer(&self, rates: &Rates) -> Result<Answer, String> {
        let rate = *rates.rates.get(&self.to).ok_or_else(|| format!("the service gave no rate of {}", self.to))?;
        Ok(Answer {
            from: self.from.clone(),
            to: self.to.clone(),
            date: rates.date.clone(),
            rate,
            amount: self.amount,
            result: cents(self.amount * rate),
        })
    }
}

/// To two places, as money is written.
fn cents(amount: f64) -> f64 {
    (amount * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question() -> Question {
        serde_json::from_str(r#"{"from":"EUR","to":"USD","amount":12.5}"#).unwrap()
    }

    #[test]
    fn the_amount_is_changed_at_the_days_rate() {
        let rates = serde_json::from_str(r#"{"base":"EUR","date":"2026-11-20","rates":{"USD":1.0495}}"#).unwrap();
        let answer = question().answer(&rates).unwrap();
        assert_eq!((answer.rate, answer.result, answer.date.as_str()), (1.0495, 13.12, "2026-11-20"));
    }

    #[test]
    fn an_answer_without_the_rate_is_no_answer() {
        let rates = serde_json::from_str(r#"{"date":"2026-11-20","rates":{"GBP":0.83}}"#).unwrap();
        assert_eq!(question().answer(&rates).unwrap_err(), "the service gave no rate of USD");
    }

    #[test]
    fn a_base_address_may_end_in_a_slash_or_not() {
        let url = "https://rates.example/v1/latest?base=EUR&symbols=USD";
        assert_eq!(question().url("https://rates.example/v1"), url);
        assert_eq!(question().url("https://rates.example/v1/"), url);
    }

    #[test]
    fn one_unit_is_changed_where_no_amount_is_named() {
        let question: Question = serde_json::from_str(r#"{"from":"EUR","to":"USD"}"#).unwrap();
        assert!((question.amount - 1.0).abs() < f64::EPSILON);
    }
}
