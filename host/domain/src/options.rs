//! How a model is to answer, besides what it is asked: what an agent or a run says of it, and what each vendor takes of that.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use utoipa::ToSchema;

/// A number with three decimals, such as a temperature. Kept as thousandths, so that equal ones are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Decimal(i32);

impl Decimal {
    /// So many thousandths.
    #[must_use]
    pub const fn of_thousandths(thousandths: i32) -> Self {
        Self(thousandths)
    }

    /// The nearest to this number.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "what is beyond the range becomes its end")]
    pub fn near(number: f32) -> Self {
        Self((f64::from(number) * 1000.0).round() as i32)
    }

    /// As vendors take it.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        f64::from(self.0) / 1000.0
    }

    /// The same, shorter.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "three decimals are as good in the shorter form")]
    pub fn as_f32(self) -> f32 {
        self.as_f64() as f32
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.as_f64())
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = f64::deserialize(deserializer)?;
        if !(-1_000_000.0..=1_000_000.0).contains(&number) {
            return Err(de::Error::custom("must be a number that is not as large"));
        }
        #[expect(clippy::cast_possible_truncation, reason = "its range was looked at")]
        let thousandths = (number * 1000.0).round() as i32;
        Ok(Self(thousandths))
    }
}

/// How much a model thinks before it answers. Each vendor is told in its own words, the nearest that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReasoningEffort {
    /// Not at all, where the model can be told so.
    None,
    /// As little as it can.
    Minimal,
    /// A little.
    Low,
    /// Some.
    Medium,
    /// Much.
    High,
    /// More than `high`, where the model knows more.
    Xhigh,
}

/// How a model is to answer. What is left out is as the vendor has it. A setting that a model does not take is left out for it;
/// `docs/models.md` says which takes what.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ModelOptions {
    /// From 0 (nearly the same each time) to 2, with at most three decimals.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>, minimum = 0, maximum = 2)]
    pub temperature: Option<Decimal>,
    /// Of the likeliest words, those that together have this probability: from 0 to 1, with at most three decimals.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>, minimum = 0, maximum = 1)]
    pub top_p: Option<Decimal>,
    /// Texts before which the model stops; at most 4, each of 1 to 64 characters.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 4)]
    pub stop: Vec<String>,
    /// The same number makes the same answer likelier.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 2147483647)]
    pub seed: Option<u32>,
    /// How much it thinks before it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_effort: Option<ReasoningEffort>,
    /// What one vendor alone takes: it is handed on to that vendor's models and to no other's.
    #[serde(skip_serializing_if = "VendorOptions::is_empty")]
    pub vendor: VendorOptions,
}

/// What one vendor alone takes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct VendorOptions {
    /// For providers that speak OpenAI's chat completions.
    #[serde(skip_serializing_if = "OpenAiOptions::is_empty")]
    pub openai: OpenAiOptions,
    /// For providers that speak Anthropic's messages.
    #[serde(skip_serializing_if = "AnthropicOptions::is_empty")]
    pub anthropic: AnthropicOptions,
    /// For providers that speak Gemini's API.
    #[serde(skip_serializing_if = "GoogleOptions::is_empty")]
    pub google: GoogleOptions,
}

/// What OpenAI alone takes, in its own words.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OpenAiOptions {
    /// How long an answer is by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verbosity: Option<Verbosity>,
    /// How fast, and at what price.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_tier: Option<OpenAiTier>,
    /// Against repeating words, from -2 to 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>, minimum = -2, maximum = 2)]
    pub frequency_penalty: Option<Decimal>,
    /// For new subjects, from -2 to 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>, minimum = -2, maximum = 2)]
    pub presence_penalty: Option<Decimal>,
    /// Whether it may ask for several tools at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallel_tool_calls: Option<bool>,
}

/// How long an answer is by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verbosity {
    /// Short.
    Low,
    /// As usual.
    Medium,
    /// Long.
    High,
}

/// OpenAI's tiers of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OpenAiTier {
    /// As the project has it.
    Auto,
    /// The standard.
    Default,
    /// Cheaper, and slower.
    Flex,
    /// Faster, and dearer.
    Priority,
}

/// What Anthropic alone takes, in its own words.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AnthropicOptions {
    /// Only the so many likeliest words.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1000)]
    pub top_k: Option<u32>,
    /// How fast, and at what price.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_tier: Option<AnthropicTier>,
}

/// Anthropic's tiers of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AnthropicTier {
    /// Priority where the organisation has it.
    Auto,
    /// The standard.
    StandardOnly,
}

/// What Google alone takes, in its own words.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct GoogleOptions {
    /// Only the so many likeliest words.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1000)]
    pub top_k: Option<u32>,
    /// Against repeating words, from -2 to 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>, minimum = -2, maximum = 2)]
    pub frequency_penalty: Option<Decimal>,
    /// For new subjects, from -2 to 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>, minimum = -2, maximum = 2)]
    pub presence_penalty: Option<Decimal>,
}

impl VendorOptions {
    /// Nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl OpenAiOptions {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl AnthropicOptions {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl GoogleOptions {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A setting that can not be: which, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongOption {
    /// Its path, such as `modelOptions.temperature`.
    pub field: &'static str,
    /// What it must be.
    pub message: String,
}

const MOST_STOPS: usize = 4;
const MOST_STOP_CHARS: usize = 64;
const MOST_SEED: u32 = i32::MAX.unsigned_abs();
const MOST_TOP_K: u32 = 1_000;

impl ModelOptions {
    /// Nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// These, and what they leave out as `others` have it.
    #[must_use]
    pub fn over(self, others: Self) -> Self {
        let (own, other) = (self.vendor, others.vendor);
        Self {
            temperature: self.temperature.or(others.temperature),
            top_p: self.top_p.or(others.top_p),
            stop: if self.stop.is_empty() { others.stop } else { self.stop },
            seed: self.seed.or(others.seed),
            reasoning_effort: self.reasoning_effort.or(others.reasoning_effort),
            vendor: VendorOptions {
                openai: if own.openai.is_empty() { other.openai } else { own.openai },
                anthropic: if own.anthropic.is_empty() { other.anthropic } else { own.anthropic },
                google: if own.google.is_empty() { other.google } else { own.google },
            },
        }
    }

    /// Whether each is within its range.
    ///
    /// # Errors
    /// The first that is not.
    pub fn check(&self) -> Result<(), WrongOption> {
        let wrong = |field, message: String| Err(WrongOption { field, message });
        let vendor = &self.vendor;
        for (field, value, least, most) in [
            ("modelOptions.temperature", self.temperature, 0, 2),
            ("modelOptions.topP", self.top_p, 0, 1),
            ("modelOptions.vendor.openai.frequency_penalty", vendor.openai.frequency_penalty, -2, 2),
            ("modelOptions.vendor.openai.presence_penalty", vendor.openai.presence_penalty, -2, 2),
            ("modelOptions.vendor.google.frequencyPenalty", vendor.google.frequency_penalty, -2, 2),
            ("modelOptions.vendor.google.presencePenalty", vendor.google.presence_penalty, -2, 2),
        ] {
            if let Some(Decimal(thousandths)) = value
                && !(least * 1000..=most * 1000).contains(&thousandths)
            {
                let value = Decimal(thousandths).as_f64();
                return wrong(field, format!("must be a number from {least} to {most}, not {value}"));
            }
        }
        if self.stop.len() > MOST_STOPS {
            return wrong(
                "modelOptions.stop",
                format!("must have at most {MOST_STOPS} texts, not {}", self.stop.len()),
            );
        }
        if self.stop.iter().any(|text| !(1..=MOST_STOP_CHARS).contains(&text.chars().count())) {
            return wrong("modelOptions.stop", format!("must have texts of 1 to {MOST_STOP_CHARS} characters"));
        }
        for (field, value, least, most) in [
            ("modelOptions.seed", self.seed, 0, MOST_SEED),
            ("modelOptions.vendor.anthropic.top_k", vendor.anthropic.top_k, 1, MOST_TOP_K),
            ("modelOptions.vendor.google.topK", vendor.google.top_k, 1, MOST_TOP_K),
        ] {
            if let Some(value) = value.filter(|value| !(least..=most).contains(value)) {
                return wrong(field, format!("must be an integer from {least} to {most}, not {value}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> ModelOptions {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn what_is_said_is_said_again_and_what_is_not_is_left_out() {
        let json =
            r#"{"temperature":0.7,"stop":["END"],"reasoningEffort":"low","vendor":{"openai":{"verbosity":"low"}}}"#;
        assert_eq!(serde_json::to_string(&read(json)).unwrap(), json);
        assert_eq!(serde_json::to_string(&ModelOptions::default()).unwrap(), "{}");
        assert!(serde_json::from_str::<ModelOptions>(r#"{"vendor":{"openai":{"logit_bias":{}}}}"#).is_err());
    }

    #[test]
    fn a_setting_out_of_its_range_is_named() {
        for (json, field) in [
            (r#"{"temperature":2.001}"#, "modelOptions.temperature"),
            (r#"{"topP":-0.1}"#, "modelOptions.topP"),
            (r#"{"stop":["1","2","3","4","5"]}"#, "modelOptions.stop"),
            (r#"{"stop":[""]}"#, "modelOptions.stop"),
            (r#"{"seed":2147483648}"#, "modelOptions.seed"),
            (r#"{"vendor":{"anthropic":{"top_k":0}}}"#, "modelOptions.vendor.anthropic.top_k"),
            (r#"{"vendor":{"google":{"presencePenalty":3}}}"#, "modelOptions.vendor.google.presencePenalty"),
        ] {
            assert_eq!(read(json).check().unwrap_err().field, field);
        }
        assert_eq!(read(r#"{"temperature":2,"topP":0,"seed":0}"#).check(), Ok(()));
    }

    #[test]
    fn what_a_run_says_goes_over_what_its_agent_says() {
        let told = read(r#"{"temperature":0}"#).over(read(r#"{"temperature":1,"seed":7}"#));
        assert_eq!(told, read(r#"{"temperature":0,"seed":7}"#));
    }
}
