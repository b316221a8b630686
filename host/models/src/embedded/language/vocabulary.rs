//! Text to tokens and back. What people say can not hold a token of the conversation's frame: such a text is split into
//! ordinary ones.

use std::collections::HashMap;

use candle_core::quantized::gguf_file::{Content, Value};
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::tokenizer::Tokenizer;

/// Begins a turn; its role follows.
const TURN: &str = "<|im_start|>";
/// Ends a turn.
const END_OF_TURN: &str = "<|im_end|>";

/// All tokens.
pub(super) struct Vocabulary {
    tokenizer: Tokenizer,
    /// Each token's bytes, by its number. Those of the frame have none.
    bytes: Vec<Vec<u8>>,
    /// Begins a turn.
    pub(super) turn: u32,
    /// Ends a turn: the answer is whole.
    pub(super) end: u32,
}

impl Vocabulary {
    /// Reads the tokens that stand beside the weights.
    pub(super) fn read(content: &Content) -> Result<Self, String> {
        let tokens = texts(content, "tokenizer.ggml.tokens")?;
        let merges = texts(content, "tokenizer.ggml.merges")?;
        let merges = merges.iter().filter_map(|merge| merge.split_once(' '));
        let merges = merges.map(|(left, right)| (left.to_owned(), right.to_owned())).collect();
        let numbers: HashMap<String, u32> = tokens.iter().cloned().zip(0..).collect();
        let number = |token: &str| numbers.get(token).copied().ok_or_else(|| format!("there is no token {token}"));
        let (turn, end) = (number(TURN)?, number(END_OF_TURN)?);
        let ordinary = ordinary(content)?;
        let characters = characters();
        let bytes = tokens.iter().zip(&ordinary).map(|(token, is_ordinary)| match is_ordinary {
            true => token.chars().filter_map(|character| characters.get(&character).copied()).collect(),
            false => Vec::new(),
        });
        let bytes = bytes.collect();
        let pieces = BPE::builder().vocab_and_merges(numbers.into_iter().collect::<Vocab>(), merges).build();
        let mut tokenizer = Tokenizer::new(pieces.map_err(|error| error.to_string())?);
        let digits = PreTokenizerWrapper::Digits(Digits::new(true));
        let words = PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, false, true));
        tokenizer.with_pre_tokenizer(Some(Sequence::new(vec![digits, words])));
        Ok(Self { tokenizer, bytes, turn, end })
    }

    /// The tokens of a text.
    pub(super) fn tokens(&self, text: &str) -> Result<Vec<u32>, String> {
        let encoded = self.tokenizer.encode_fast(text, false).map_err(|error| error.to_string())?;
        Ok(encoded.get_ids().to_vec())
    }

    /// A token's bytes, which may be a part of a character.
    pub(super) fn bytes(&self, token: u32) -> &[u8] {
        self.bytes.get(token as usize).map(Vec::as_slice).unwrap_or_default()
    }
}

fn texts(content: &Content, name: &str) -> Result<Vec<String>, String> {
    let values = content.metadata.get(name).ok_or_else(|| format!("the weights say nothing of {name}"))?;
    let values = values.to_vec().map_err(|error| error.to_string())?;
    values.iter().map(|value| value.to_string().cloned().map_err(|error| error.to_string())).collect()
}

/// Whether each token is a piece of text, and not of the conversation's frame.
fn ordinary(content: &Content) -> Result<Vec<bool>, String> {
    /// As GGUF numbers the kinds of tokens.
    const ORDINARY: i32 = 1;
    let kinds =
        content.metadata.get("tokenizer.ggml.token_type").ok_or("the weights do not say what their tokens are")?;
    let kinds = kinds.to_vec().map_err(|error| error.to_string())?;
    Ok(kinds.iter().map(|kind| matches!(kind, Value::I32(ORDINARY))).collect())
}

/// The byte that each character of a token's name stands for: those that can be printed stand for themselves, the others for
/// characters from U+0100 on, in order (as GPT-2 has it).
fn characters() -> HashMap<char, u8> {
    let printed = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    let others = (0..=u8::MAX).filter(|byte| !printed(byte)).zip('\u{100}'..);
    let themselves = (0..=u8::MAX).filter(printed).map(|byte| (char::from(byte), byte));
    themselves.chain(others.map(|(byte, character)| (character, byte))).collect()
}
