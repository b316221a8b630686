//! What is known of models by their names: the one table to touch when vendors bring out new ones. Nothing here is asked
//! for over the network; a model that is not in the table gets its vendor's newest facts, a local one cautious ones.

use crate::config::ProviderKind;
use crate::thinking::{self, Thinking};

/// What a request to a model must heed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "a set of independent yes-or-no facts")]
pub(crate) struct Facts {
    /// Prompt and answer together.
    pub(crate) context_tokens: u32,
    /// The answer, thoughts included.
    pub(crate) output_tokens: u32,
    pub(crate) images: bool,
    pub(crate) tool_calls: bool,
    pub(crate) json_schema: bool,
    /// It takes a temperature; newer models refuse one.
    pub(crate) temperature: bool,
    /// It thinks before it answers, and its bound on output counts the thoughts.
    pub(crate) thinks: bool,
    /// It takes tools in chat completions only with its thinking off.
    pub(crate) tools_need_no_thinking: bool,
    /// How it is told how much to think.
    pub(crate) thinking: Thinking,
}

/// What a bound on an answer's length is raised by for a model whose bound counts its thoughts, so that a short answer is
/// not lost to them.
pub(crate) const THINKING_TOKENS: u32 = 8_192;

const PLAIN: Facts = Facts {
    context_tokens: 128_000,
    output_tokens: 16_384,
    images: true,
    tool_calls: true,
    json_schema: true,
    temperature: true,
    thinks: false,
    tools_need_no_thinking: false,
    thinking: Thinking::Unsaid,
};
const THINKING: Facts = Facts { temperature: false, thinks: true, ..PLAIN };

const GPT_5_1: Facts = Facts {
    context_tokens: 400_000,
    output_tokens: 128_000,
    tools_need_no_thinking: true,
    thinking: thinking::NONE_TO_XHIGH,
    ..THINKING
};
const GPT_LONG: Facts = Facts { context_tokens: 1_050_000, ..GPT_5_1 };

const O: Facts = Facts { context_tokens: 200_000, output_tokens: 100_000, thinking: thinking::LOW_TO_HIGH, ..THINKING };

/// By the beginning of the name; the first that fits counts.
const OPENAI: &[(&str, Facts)] = &[
    (
        "gpt-oss",
        Facts { context_tokens: 131_072, images: false, thinks: true, thinking: thinking::LOW_TO_HIGH, ..PLAIN },
    ),
    ("gpt-5.1", Facts { thinking: thinking::NONE_TO_HIGH, ..GPT_5_1 }),
    ("gpt-5.4-mini", GPT_5_1),
    ("gpt-5.4-nano", GPT_5_1),
    ("gpt-5.4", GPT_LONG),
    ("gpt-5.5", GPT_LONG),
    ("gpt-5.6-luna", GPT_5_1),
    ("gpt-5.6", GPT_LONG),
    ("gpt-5.", GPT_5_1),
    ("gpt-5", Facts { tools_need_no_thinking: false, thinking: thinking::MINIMAL_TO_HIGH, ..GPT_5_1 }),
    ("gpt-4.1", Facts { context_tokens: 1_047_576, output_tokens: 32_768, ..PLAIN }),
    ("gpt-4o", PLAIN),
    ("chatgpt-4o", PLAIN),
    ("gpt-4-turbo", Facts { output_tokens: 4_096, json_schema: false, ..PLAIN }),
    ("gpt-4", Facts { context_tokens: 8_192, output_tokens: 8_192, images: false, json_schema: false, ..PLAIN }),
    ("gpt-3.5", Facts { context_tokens: 16_385, output_tokens: 4_096, images: false, json_schema: false, ..PLAIN }),
    ("o1-mini", Facts { images: false, json_schema: false, tool_calls: false, output_tokens: 65_536, ..THINKING }),
    ("o3-mini", Facts { images: false, ..O }),
    ("o1", O),
    ("o3", O),
    ("o4", O),
    ("gpt-", GPT_LONG),
];

/// A model of somebody's own server. How much context it was started with can not be seen, so little is promised.
const LOCAL: Facts =
    Facts { context_tokens: 32_768, output_tokens: 32_768, images: false, thinking: thinking::ALL, ..PLAIN };

/// In the names of local models that read images.
const LOCAL_WITH_IMAGES: &[&str] =
    &["llava", "vision", "-vl", "2.5vl", "3vl", "gemma-3", "gemma3", "pixtral", "moondream", "minicpm-v", "llama4"];

const CLAUDE_3: Facts = Facts { context_tokens: 200_000, output_tokens: 4_096, json_schema: false, ..PLAIN };
const BUDGET: Thinking = Thinking::Budget { most: 32_768, off: true };
const CLAUDE_4: Facts = Facts { output_tokens: 64_000, json_schema: true, thinking: BUDGET, ..CLAUDE_3 };
const CLAUDE_4_6: Facts = Facts { thinking: thinking::LOW_TO_HIGH, ..CLAUDE_4 };
const CLAUDE_5: Facts =
    Facts { context_tokens: 1_000_000, output_tokens: 128_000, thinking: thinking::LOW_TO_XHIGH, ..THINKING };

const ANTHROPIC: &[(&str, Facts)] = &[
    ("claude-3-7", Facts { output_tokens: 64_000, thinking: BUDGET, ..CLAUDE_3 }),
    ("claude-3-5", Facts { output_tokens: 8_192, ..CLAUDE_3 }),
    ("claude-3", CLAUDE_3),
    ("claude-opus-4-8", Facts { thinks: false, ..CLAUDE_5 }),
    ("claude-opus-4-7", Facts { thinks: false, ..CLAUDE_5 }),
    ("claude-opus-4-6", CLAUDE_4_6),
    ("claude-opus-4-5", CLAUDE_4),
    ("claude-opus-4-1", Facts { output_tokens: 32_000, ..CLAUDE_4 }),
    ("claude-opus-4", Facts { output_tokens: 32_000, json_schema: false, ..CLAUDE_4 }),
    ("claude-sonnet-4-6", CLAUDE_4_6),
    ("claude-sonnet-4-5", CLAUDE_4),
    ("claude-sonnet-4", Facts { json_schema: false, ..CLAUDE_4 }),
    ("claude-haiku-4", CLAUDE_4),
    ("claude-haiku", Facts { context_tokens: 200_000, output_tokens: 64_000, ..CLAUDE_5 }),
    ("claude-", CLAUDE_5),
];

const GEMINI: Facts = Facts {
    context_tokens: 1_048_576,
    output_tokens: 65_536,
    temperature: true,
    thinks: true,
    thinking: thinking::MINIMAL_TO_HIGH,
    ..THINKING
};

const GOOGLE: &[(&str, Facts)] = &[
    ("gemini-1", Facts { output_tokens: 8_192, thinks: false, thinking: Thinking::Unsaid, ..GEMINI }),
    ("gemini-2.0", Facts { output_tokens: 8_192, thinks: false, thinking: Thinking::Unsaid, ..GEMINI }),
    ("gemini-2.5-pro", Facts { thinking: Thinking::Budget { most: 32_768, off: false }, ..GEMINI }),
    ("gemini-2.5", Facts { thinking: Thinking::Budget { most: 24_576, off: true }, ..GEMINI }),
    ("gemini-3-pro", Facts { thinking: thinking::LOW_OR_HIGH, ..GEMINI }),
    (
        "gemma",
        Facts {
            context_tokens: 131_072,
            output_tokens: 8_192,
            tool_calls: false,
            json_schema: false,
            thinks: false,
            thinking: Thinking::Unsaid,
            ..GEMINI
        },
    ),
    ("gemini-", GEMINI),
];

/// The model to use where an operator has set a key and nothing else.
pub(crate) fn default_model(kind: ProviderKind) -> &'static str {
    match kind {
        // Of OpenAI's newest, the one that takes tools in chat completions.
        ProviderKind::OpenAi => "gpt-6-sol",
        ProviderKind::Anthropic => "claude-sonnet-5-5",
        ProviderKind::Google => "gemini-3.8-flash",
    }
}

/// What is known of `model`.
pub(crate) fn facts(kind: ProviderKind, at_vendor: bool, model: &str) -> Facts {
    // A gateway puts the maker before the name: `openai/gpt-6-sol`.
    let bare = model.rsplit('/').next().unwrap_or(model);
    let (table, newest) = match kind {
        ProviderKind::OpenAi => (OPENAI, PLAIN),
        ProviderKind::Anthropic => (ANTHROPIC, CLAUDE_5),
        ProviderKind::Google => (GOOGLE, GEMINI),
    };
    let known = table.iter().find(|(start, _)| starts_with_ignoring_case(bare, start)).map(|(_, facts)| *facts);
    known.unwrap_or_else(|| {
        if kind == ProviderKind::OpenAi && !at_vendor {
            let lower = bare.to_ascii_lowercase();
            Facts { images: LOCAL_WITH_IMAGES.iter().any(|part| lower.contains(part)), ..LOCAL }
        } else {
            newest
        }
    })
}

/// A model of this name answers in text, as far as its name says. A server's list may begin with one that does not.
pub(crate) fn answers_in_text(model: &str) -> bool {
    const OTHERS: &[&str] = &["embed", "rerank", "whisper", "tts", "dall-e", "moderation", "bge-", "imagen", "veo-"];
    let lower = model.to_ascii_lowercase();
    !OTHERS.iter().any(|part| lower.contains(part))
}

/// The bound to send for an answer of at most `asked` tokens.
pub(crate) fn output_bound(facts: &Facts, asked: u32) -> u32 {
    let thoughts = if facts.thinks { THINKING_TOKENS } else { 0 };
    asked.saturating_add(thoughts).min(facts.output_tokens).max(1)
}

fn starts_with_ignoring_case(text: &str, start: &str) -> bool {
    text.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_model_can_do_what_the_modes_need() {
        for kind in ProviderKind::ALL {
            let facts = facts(kind, true, default_model(kind));
            assert!(facts.tool_calls && facts.json_schema && facts.images, "{kind:?}");
            assert!(facts.context_tokens >= 1_000_000, "{kind:?}");
        }
    }

    #[test]
    fn the_more_exact_entry_comes_first() {
        for table in [OPENAI, ANTHROPIC, GOOGLE] {
            for (place, (later, _)) in table.iter().enumerate() {
                let hidden = table[..place].iter().find(|(earlier, _)| later.starts_with(earlier));
                assert_eq!(hidden, None, "{later} is never reached");
            }
        }
    }

    #[test]
    fn a_models_maker_and_case_do_not_matter() {
        let plain = facts(ProviderKind::OpenAi, true, "gpt-4.1");
        assert_eq!(facts(ProviderKind::OpenAi, false, "openai/GPT-4.1-mini"), plain);
        assert!(facts(ProviderKind::OpenAi, false, "qwen2.5vl:7b").images);
        assert!(!facts(ProviderKind::OpenAi, false, "llama3.2:3b").images);
    }

    #[test]
    fn a_bound_leaves_room_for_thoughts() {
        let thinking = facts(ProviderKind::Anthropic, true, "claude-sonnet-5-5");
        assert_eq!(output_bound(&thinking, 100), 100 + THINKING_TOKENS);
        assert_eq!(output_bound(&facts(ProviderKind::OpenAi, true, "gpt-4o"), 100), 100);
        assert_eq!(output_bound(&thinking, u32::MAX), thinking.output_tokens);
    }
}
