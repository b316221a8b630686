//! How many tokens a conversation takes. Nobody here can count them, so they are guessed from the kinds of its letters, and the
//! guess is put right by what the model says that it has read, or that it can not read.

use vivarium_sdk::mode::{GenerateRequest, Message, ModelInfo, Part};

/// Of a context, what stays free for the answer: one part in so many.
const ANSWERS_PART: usize = 8;
/// What a provider adds to each message.
const MESSAGE_TOKENS: usize = 6;
/// What an image takes at most providers.
const IMAGE_TOKENS: usize = 1_600;
/// A short request says little about how a model counts: what is added to it weighs too much.
const TELLING_TOKENS: usize = 200;
/// How far a guess may be wrong, in thousandths of it.
const FACTORS: std::ops::RangeInclusive<usize> = 500..=4_000;
/// No model's context is shorter: a smaller number in an error is about something else.
const LEAST_CONTEXT: usize = 1_024;

/// What a model can read, and how it counts.
#[derive(Debug, Clone)]
pub struct Gauge {
    /// The context's length in tokens.
    limit: usize,
    /// Tokens for a thousand that are guessed.
    per_mille: usize,
}

impl Gauge {
    /// For a model that says this of itself. A context of 0 is not known, and taken to hold all.
    #[must_use]
    pub fn of(info: &ModelInfo) -> Self {
        let limit = match info.context_tokens {
            0 => usize::MAX / 4_000,
            tokens => tokens as usize,
        };
        Self { limit, per_mille: 1_000 }
    }

    /// How many tokens a request may have, so that there is room for its answer.
    #[must_use]
    pub fn room(&self) -> usize {
        self.limit - self.limit / ANSWERS_PART
    }

    /// So many guessed tokens, as the model counts them.
    #[must_use]
    pub fn counted(&self, guessed: usize) -> usize {
        guessed.saturating_mul(self.per_mille) / 1_000
    }

    /// How many tokens a text takes.
    #[must_use]
    pub fn text(&self, text: &str) -> usize {
        self.counted(tokens(text))
    }

    /// How many tokens messages take.
    #[must_use]
    pub fn messages(&self, messages: &[Message]) -> usize {
        self.counted(messages.iter().map(of_message).sum())
    }

    /// How many tokens a request takes.
    #[must_use]
    pub fn request(&self, request: &GenerateRequest) -> usize {
        self.counted(guess(request))
    }

    /// The model has read so many tokens where so many were guessed.
    pub fn learn(&mut self, guessed: usize, read: usize) {
        if guessed >= TELLING_TOKENS && read > 0 {
            self.per_mille = (read.saturating_mul(1_000) / guessed).clamp(*FACTORS.start(), *FACTORS.end());
        }
    }

    /// A request of so many guessed tokens was too long, in these words of the provider's. Where they tell the context's length
    /// and the request's, both are heeded; in any case a request of this length is too long from now on.
    pub fn too_long(&mut self, guessed: usize, words: &str) {
        let said = words.split_once("it says: ").map_or(words, |(_, said)| said);
        let numbers = numbers(said);
        if let (Some(least), Some(most)) = (numbers.iter().min(), numbers.iter().max())
            && least < most
        {
            self.limit = self.limit.min(*least);
            if let Some(factor) = most.saturating_mul(1_000).checked_div(guessed) {
                self.per_mille = self.per_mille.max(factor.min(*FACTORS.end()));
            }
        }
        let length = self.counted(guessed);
        if self.room() >= length {
            let shorter = length - length / 4;
            self.limit = (shorter + shorter / (ANSWERS_PART - 1)).max(LEAST_CONTEXT / 2).min(self.limit);
        }
    }
}

/// A guess at a request's tokens.
#[must_use]
pub fn guess(request: &GenerateRequest) -> usize {
    let messages: usize = request.messages.iter().map(of_message).sum();
    let tools = request.tools.iter().map(|tool| tokens(&tool.description) + tokens(&tool.input_schema) + 16);
    let passages = request.passages.iter().map(|passage| tokens(&passage.text) + tokens(&passage.title) + 16);
    let schema = request.output_schema.as_deref().map_or(0, tokens);
    messages + tools.sum::<usize>() + passages.sum::<usize>() + schema
}

/// A guess at a text's tokens, in thousandths of one for each letter: four letters of English to a token, two of other alphabets,
/// one sign of Chinese; spaces belong to the words.
#[must_use]
pub fn tokens(text: &str) -> usize {
    let thousandths = |byte: &u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' => 250,
        b' ' => 60,
        b'0'..=b'9' => 400,
        0x00..=0x7f => 500,
        // The bytes that follow in one character.
        0x80..=0xbf => 0,
        0xc0..=0xdf => 500,
        _ => 1_000,
    };
    text.as_bytes().iter().map(thousandths).sum::<usize>().div_ceil(1_000)
}

fn of_message(message: &Message) -> usize {
    MESSAGE_TOKENS
        + match message {
            Message::System(text) => tokens(text),
            Message::User(parts) => {
                let part = |part: &Part| match part {
                    Part::Text(text) => tokens(text),
                    Part::Image(_) => IMAGE_TOKENS,
                };
                parts.iter().map(part).sum()
            }
            Message::Assistant(said) => {
                let calls = said.tool_calls.iter().map(|call| tokens(&call.name) + tokens(&call.arguments_json) + 16);
                tokens(&said.text) + calls.sum::<usize>()
            }
            Message::Tool(result) => tokens(&result.content) + 16,
        }
}

/// The numbers in a text that may be lengths.
fn numbers(text: &str) -> Vec<usize> {
    let digits = |c: char| c.is_ascii_digit() || c == ',';
    let runs = text.split(|c| !digits(c)).map(|run| run.replace(',', ""));
    runs.filter_map(|run| run.parse().ok()).filter(|number| *number >= LEAST_CONTEXT).collect()
}

#[cfg(test)]
mod tests {
    use vivarium_sdk::mode::Abilities;

    use super::*;

    fn gauge(context_tokens: u32) -> Gauge {
        let info = ModelInfo { name: "m".to_owned(), abilities: Abilities::FREE_TEXT, context_tokens, hint: None };
        Gauge::of(&info)
    }

    #[test]
    fn a_guess_knows_that_alphabets_differ() {
        // The rules of thumb: four letters of English to a token, two of Cyrillic, one sign of Chinese.
        for (text, least, most) in [
            ("The quick brown fox jumps over the lazy dog. It was not amused.", 13, 18),
            ("Съешь же ещё этих мягких французских булок, да выпей чаю.", 20, 30),
            ("我们今天去公园散步，天气非常好。", 14, 16),
            ("", 0, 0),
        ] {
            let guessed = tokens(text);
            assert!((least..=most).contains(&guessed), "{text}: {guessed}");
        }
    }

    #[test]
    fn what_a_model_has_read_puts_the_guess_right() {
        let mut gauge = gauge(8_192);
        let text = "word ".repeat(1_000);
        let before = gauge.text(&text);
        gauge.learn(tokens(&text), 2 * tokens(&text));
        assert_eq!(gauge.text(&text), 2 * before);
        gauge.learn(10, 1_000);
        assert_eq!(gauge.text(&text), 2 * before, "a short request says little");
    }

    #[test]
    fn a_providers_refusal_tells_the_length_of_its_context() {
        for words in [
            "openai (http://127.0.0.1:43211) answered with an error (400); it says: This model's maximum context length is 8192 \
             tokens. However, your messages resulted in 20000 tokens.",
            "anthropic answered with an error (400); it says: prompt is too long: 20000 tokens > 8192 maximum",
            "it says: The input token count (20000) exceeds the maximum number of tokens allowed (8,192).",
        ] {
            let mut gauge = gauge(128_000);
            gauge.too_long(10_000, words);
            assert_eq!((gauge.limit, gauge.counted(10_000)), (8_192, 20_000), "{words}");
        }
        let mut silent = gauge(128_000);
        silent.too_long(10_000, "it says: too long (413)");
        assert!(silent.room() < 10_000 && silent.room() > 6_000, "{}", silent.room());
    }
}
