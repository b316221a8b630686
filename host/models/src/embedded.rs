//! The answerer that is always there: without a key, without weights, without a network. It is **not a language model**.
//! It picks the sentences of the given passages that answer the question best and repeats them word for word, each tied
//! to its source. What it says can be wrong only where the source is, or where another sentence would have fitted better.
//!
//! It exists so that a fresh installation does honest work over documents, and so that everything around a model (runs,
//! streams, citations) can be tried and tested with answers that are the same each time.

#[cfg(feature = "embedded-llm")]
mod language;
#[cfg(not(feature = "embedded-llm"))]
#[path = "embedded/without.rs"]
mod language;
mod rank;
mod sentences;
mod words;

use std::path::Path;

use futures::future::BoxFuture;
use vivarium_domain::{
    Abilities, Citation, FinishReason, GenerateRequest, GenerateResponse, Message, ModelInfo, ModelName, Part, Usage,
};

use crate::{Call, ModelError, Places, Provider, Timeouts};
use language::LanguageModel;
use rank::{Chosen, Question};

/// The part of the name before the slash.
pub(crate) const PROVIDER: &str = "embedded";
/// The name behind it that is always there.
const EXTRACTIVE: &str = "extractive";

/// What a person can do to get a model. Shown by whoever names this one.
const HINT: &str = "embedded/extractive is not a language model: it only quotes sentences of the documents that were found. \
                    For written answers set OPENAI_API_KEY, ANTHROPIC_API_KEY or GEMINI_API_KEY, or OPENAI_BASE_URL for a \
                    local server that speaks OpenAI's protocol, and start again.";

/// It keeps nothing and forgets nothing: the number only has to be larger than what a mode puts together.
const CONTEXT_TOKENS: u32 = 1_000_000;
/// Ranking less text than this is cheaper than moving it to another thread.
const MAX_INLINE_BYTES: usize = 64 << 10;

/// What a person can do who has the small language model, and wants a better one.
const SMALL_HINT: &str = "embedded/smollm2-135m-instruct is a language model of 135 million parameters: it chats, and what it says is often wrong. \
                          Set OPENAI_API_KEY, ANTHROPIC_API_KEY or GEMINI_API_KEY, or OPENAI_BASE_URL for a local server that speaks \
                          OpenAI's protocol, and start again.";

/// The embedded extractive answerer: not a language model. Serves `embedded/extractive`; and, where its weights are loaded, the small
/// language model.
///
/// Words count as tokens of the extractive answerer, in [`Usage`] and for `max_output_tokens`: it has no tokenizer to ask.
#[derive(Debug, Clone, Default)]
pub struct Embedded {
    language: Option<LanguageModel>,
    timeouts: Timeouts,
}

impl Embedded {
    /// With the small language model, whose weights are in this file, and how long it may take: to its first piece, between two, and
    /// in all. Blocks for about a second.
    ///
    /// # Errors
    /// In a sentence, when the file is not the one that is known, or this binary was built without the model.
    pub fn with_weights(file: &Path, timeouts: Timeouts) -> Result<Self, String> {
        LanguageModel::load(file).map(|language| Self { language: Some(language), timeouts })
    }

    /// The model that answers where none is named: the language model, if it is there.
    pub(crate) fn usual_model(&self) -> &'static str {
        if self.language.is_some() { language::NAME } else { EXTRACTIVE }
    }

    fn language(&self, model: &str) -> Option<&LanguageModel> {
        self.language.as_ref().filter(|_| model == language::NAME)
    }
}

impl Provider for Embedded {
    fn name(&self) -> &str {
        PROVIDER
    }

    fn describe(&self, model: &str) -> ModelInfo {
        let own = || ModelName::new(PROVIDER, EXTRACTIVE);
        let (abilities, context_tokens, hint) = match self.language(model) {
            Some(_) => (LanguageModel::abilities(), language::CONTEXT_TOKENS, SMALL_HINT),
            None => (Abilities { passages: true, ..Abilities::default() }, CONTEXT_TOKENS, HINT),
        };
        ModelInfo {
            name: ModelName::new(PROVIDER, model).or_else(own).unwrap_or_else(|| unreachable!("both parts are there")),
            abilities,
            context_tokens,
            hint: Some(hint.to_owned()),
        }
    }

    fn most_output_tokens(&self, _: &str, asked: u32, _: &vivarium_domain::ModelOptions) -> u32 {
        asked
    }

    fn places(&self, model: &str) -> Option<Places> {
        let language = self.language(model)?;
        Some(Places { most: language.places(), patience: self.timeouts.first_byte })
    }

    fn generate<'a>(&'a self, call: Call<'a>) -> BoxFuture<'a, Result<GenerateResponse, ModelError>> {
        Box::pin(async move {
            match self.language(call.model) {
                Some(language) if call.request.passages.is_empty() => {
                    return language.generate(call, self.timeouts).await;
                }
                // What is asked about passages is quoted of them: see what the language model can do.
                Some(_) => {}
                None => self.check_name(call.model)?,
            }
            check(call.request, false, |what| {
                format!("embedded/extractive is not a language model and can not {what}. {HINT}")
            })?;
            let chosen = choose(call.request).await?;
            Ok(respond(call.request, &chosen, call.on_token))
        })
    }

    fn models(&self) -> BoxFuture<'_, Result<Vec<String>, ModelError>> {
        let language = self.language.iter().map(|_| language::NAME.to_owned());
        let models = language.chain([EXTRACTIVE.to_owned()]).collect();
        Box::pin(async { Ok(models) })
    }
}

impl Embedded {
    fn check_name(&self, model: &str) -> Result<(), ModelError> {
        if model == EXTRACTIVE {
            return Ok(());
        }
        let named: String = model.chars().take(100).collect();
        let there = match &self.language {
            Some(_) => format!("{EXTRACTIVE:?} and {:?}", language::NAME),
            None => format!("only {EXTRACTIVE:?}"),
        };
        Err(ModelError::InvalidRequest(format!("there is no embedded model {named:?}, {there}")))
    }
}

/// Refuses by name what neither of the two can do.
fn check(request: &GenerateRequest, by_schema: bool, cannot: impl Fn(&str) -> String) -> Result<(), ModelError> {
    let is_image = |part: &Part| matches!(part, Part::Image(_));
    let has_image = |message: &Message| matches!(message, Message::User { parts } if parts.iter().any(is_image));
    let what = if !request.tools.is_empty() {
        "call tools"
    } else if request.output_schema.is_some() && !by_schema {
        "answer by a JSON Schema"
    } else if request.messages.iter().any(has_image) {
        "read images"
    } else {
        return Ok(());
    };
    Err(ModelError::Unsupported(cannot(what)))
}

/// Ranks on another thread where that takes long enough to hold up others.
async fn choose(request: &GenerateRequest) -> Result<Vec<Chosen>, ModelError> {
    let question = Question::of(&request.messages);
    let max_words = request.max_output_tokens.map(|tokens| usize::try_from(tokens).unwrap_or(usize::MAX));
    let bytes: usize = request.passages.iter().map(|passage| passage.text.len()).sum();
    if bytes <= MAX_INLINE_BYTES || tokio::runtime::Handle::try_current().is_err() {
        return Ok(rank::choose(&question, &request.passages, max_words));
    }
    let passages = request.passages.clone();
    tokio::task::spawn_blocking(move || rank::choose(&question, &passages, max_words))
        .await
        .map_err(|error| ModelError::Unavailable(format!("ranking the passages broke off: {error}")))
}

/// Puts the chosen sentences into a readable form and tells them piece by piece.
fn respond(request: &GenerateRequest, chosen: &[Chosen], on_token: &mut (dyn FnMut(&str) + Send)) -> GenerateResponse {
    let mut text = String::new();
    let mut tell = |piece: &str| {
        text.push_str(piece);
        on_token(piece);
    };
    if chosen.is_empty() {
        tell(&nothing_found(request));
    }
    let several = chosen.iter().filter(|sentence| !sentence.continues).count() > 1;
    for (at, sentence) in chosen.iter().enumerate() {
        let lead = match (at, sentence.continues) {
            (_, true) => " ",
            (0, _) if several => "- ",
            (0, _) => "",
            _ => "\n- ",
        };
        let next_continues = chosen.get(at + 1).is_some_and(|next| next.continues);
        let mark = if next_continues { String::new() } else { format!(" [{}]", sentence.source_id) };
        let words: Vec<&str> = sentence.quote.split_whitespace().collect();
        tell(&format!("{lead}{}{mark}", words.join(" ")));
    }
    let citation =
        |sentence: &Chosen| Citation { source_id: sentence.source_id.clone(), quote: sentence.quote.clone() };
    GenerateResponse {
        usage: usage(request, &text),
        text,
        tool_calls: Vec::new(),
        citations: chosen.iter().map(citation).collect(),
        finish_reason: FinishReason::Stop,
        thoughts: None,
    }
}

fn nothing_found(request: &GenerateRequest) -> String {
    if request.passages.is_empty() {
        format!("I have no passages to answer from. {HINT}")
    } else {
        format!("Nothing in the passages that were found answers this. {HINT}")
    }
}

fn usage(request: &GenerateRequest, answer: &str) -> Usage {
    let count = |text: &str| text.split_whitespace().count() as u64;
    let messages: u64 = request.messages.iter().map(|message| count(&message.text())).sum();
    let passages: u64 = request.passages.iter().map(|passage| count(&passage.title) + count(&passage.text)).sum();
    Usage { input_tokens: messages + passages, output_tokens: count(answer), ..Usage::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use vivarium_domain::{Image, Passage, ToolDefinition};

    fn passage(source_id: &str, title: &str, text: &str) -> Passage {
        Passage { source_id: source_id.into(), title: title.into(), text: text.into() }
    }

    fn library() -> Vec<Passage> {
        vec![
            passage(
                "s1",
                "Vec in std::vec - Rust",
                "pub struct Vec<T> { /* private fields */ }\n\nA contiguous growable array type, written as Vec<T>, short \
                 for ‘vector’.\n\nExamples\n\nlet mut vec = Vec::new();\nvec.push(1);\n\nThe capacity of a vector is the \
                 amount of space allocated for any future elements that will be added onto the vector. If a vector’s length \
                 exceeds its capacity, its capacity will automatically be increased, but its elements will have to be \
                 reallocated.\n\nFor example:",
            ),
            passage(
                "s2",
                "Arc in std::sync - Rust",
                "Unlike Rc<T>, Arc<T> uses atomic operations for its reference counting. This means that it is thread-safe. \
                 The disadvantage is that atomic operations are more expensive than ordinary memory accesses. If you are not \
                 sharing reference-counted allocations between threads, consider using Rc<T> for lower overhead.",
            ),
            passage("s3", "Menu", "Capacity\nVec\nGrow\nHow does Vec grow its capacity?\nArc\nRc"),
        ]
    }

    fn request(question: &str, passages: Vec<Passage>) -> GenerateRequest {
        GenerateRequest { messages: vec![Message::user(question)], passages, ..GenerateRequest::default() }
    }

    fn ask(request: &GenerateRequest) -> Result<(GenerateResponse, Vec<String>), ModelError> {
        let mut pieces = Vec::new();
        let mut on_token = |piece: &str| pieces.push(piece.to_owned());
        let call = Call::new(EXTRACTIVE, request, &mut on_token);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let response = runtime.block_on(Embedded::default().generate(call))?;
        Ok((response, pieces))
    }

    #[test]
    fn the_sentence_that_explains_is_chosen_over_code_menus_and_lead_ins() {
        let (answer, _) = ask(&request("How does Vec grow its capacity?", library())).unwrap();
        assert!(answer.text.contains("its capacity will automatically be increased"), "{}", answer.text);
        for unwanted in ["Vec::new()", "For example:", "How does Vec", "private fields"] {
            assert!(!answer.text.contains(unwanted), "{}", answer.text);
        }
    }

    #[test]
    fn each_sentence_is_tied_to_its_source_and_the_pieces_make_the_text() {
        let (answer, pieces) = ask(&request("When should I use Rc instead of Arc?", library())).unwrap();
        assert!(answer.text.contains("consider using Rc<T> for lower overhead. [s2]"), "{}", answer.text);
        assert_eq!(pieces.concat(), answer.text);
        assert_eq!(pieces.len(), answer.citations.len(), "one piece for each sentence");
        assert!(answer.citations.iter().all(|citation| citation.source_id == "s2"));
        assert_eq!(answer.finish_reason, FinishReason::Stop);
    }

    #[test]
    fn adjacent_sentences_share_one_mark() {
        let text = "A neap tide is the smallest tide. It comes at half moon.";
        let (answer, _) = ask(&request(
            "What is a neap tide, and when does the moon make it come?",
            vec![passage("s1", "Tides", text)],
        ))
        .unwrap();
        assert_eq!(answer.text, format!("{text} [s1]"));
        assert_eq!(answer.citations.len(), 2);
    }

    #[test]
    fn a_follow_up_leans_on_the_question_before() {
        let mut request = request("And what happens when the length exceeds it?", library());
        request.messages.insert(0, Message::user("What is the capacity of a Vec?"));
        request.messages.insert(1, Message::assistant("…"));
        let (answer, _) = ask(&request).unwrap();
        assert!(answer.text.contains("its capacity will automatically be increased"), "{}", answer.text);
    }

    #[test]
    fn without_an_answer_it_says_so_and_what_to_set() {
        for (passages, says) in [(Vec::new(), "I have no passages"), (library(), "Nothing in the passages")] {
            let (answer, _) = ask(&request("What is the capital of France?", passages)).unwrap();
            assert!(answer.citations.is_empty());
            assert!(answer.text.starts_with(says), "{}", answer.text);
            for needed in
                ["not a language model", "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "OPENAI_BASE_URL"]
            {
                assert!(answer.text.contains(needed), "{needed}");
            }
        }
    }

    #[test]
    fn words_that_are_scattered_over_unrelated_sentences_are_no_answer() {
        let passages = vec![
            passage("s1", "Generics", "The generation of code for each concrete type happens at compile time."),
            passage("s2", "Releases", "The latest release came with a number of advances in compile times."),
            passage("s3", "Maps", "The retrieval of a value from a map takes constant time on average."),
        ];
        let question = "Summarize the latest advances in retrieval-augmented generation.";
        let (answer, _) = ask(&request(question, passages)).unwrap();
        assert!(answer.citations.is_empty(), "{}", answer.text);
    }

    #[test]
    fn what_only_a_language_model_can_do_is_refused_by_name() {
        let mut tools = request("x", library());
        let name = "search".parse().unwrap();
        let input_schema = serde_json::json!({ "type": "object" });
        tools.tools.push(ToolDefinition { name, description: String::new(), input_schema, read_only: true });
        let mut schema = request("x", library());
        schema.output_schema = Some(serde_json::json!({}));
        let mut image = request("x", library());
        let picture = Part::Image(Image { media_type: "image/png".into(), data: vec![1] });
        image.messages.push(Message::User { parts: vec![picture] });
        for (request, what) in [(tools, "call tools"), (schema, "answer by a JSON Schema"), (image, "read images")] {
            let Err(ModelError::Unsupported(text)) = ask(&request) else { panic!("{what} was not refused") };
            assert!(
                text.starts_with(&format!("embedded/extractive is not a language model and can not {what}.")),
                "{text}"
            );
        }
    }

    #[test]
    fn the_same_request_gets_the_same_answer() {
        let request = request("What does Arc use, and what is the capacity of a vector?", library());
        assert_eq!(ask(&request).unwrap(), ask(&request).unwrap());
    }

    #[test]
    fn the_answer_keeps_to_the_bound_on_its_length() {
        let mut request = request("How does Vec grow its capacity?", library());
        for bound in [0, 5, 30, 60] {
            request.max_output_tokens = Some(bound);
            let (answer, _) = ask(&request).unwrap();
            let quoted: usize = answer.citations.iter().map(|c| c.quote.split_whitespace().count()).sum();
            assert!(quoted <= bound as usize, "{bound}: {}", answer.text);
        }
    }

    #[test]
    fn megabytes_of_passages_take_no_longer_than_a_person_waits() {
        let library = library();
        let many: Vec<Passage> = (0..4000)
            .flat_map(|n| {
                library.iter().cloned().map(move |p| Passage { source_id: format!("{}-{n}", p.source_id), ..p })
            })
            .collect();
        let bytes: usize = many.iter().map(|p| p.text.len()).sum();
        assert!(bytes > 3 << 20, "{bytes}");
        let started = std::time::Instant::now();
        let (answer, _) = ask(&request("How does Vec grow its capacity?", many)).unwrap();
        assert!(!answer.citations.is_empty());
        // Without optimisation, on a busy machine; optimised it is well under a second.
        assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
    }

    proptest! {
        #[test]
        fn every_quote_stands_in_its_passage(
            question in "([a-z]{1,6} ){0,6}\\??",
            texts in prop::collection::vec("([A-Z]?[a-z]{1,6}[ .,:;?\n\t`(){}<>-]{1,2}|\\PC{0,3}){0,80}", 0..5),
        ) {
            let passages: Vec<Passage> =
                texts.iter().enumerate().map(|(n, text)| passage(&format!("s{n}"), "Some title", text)).collect();
            let (answer, pieces) = ask(&request(&question, passages.clone())).unwrap();
            prop_assert_eq!(pieces.concat(), answer.text);
            for citation in &answer.citations {
                let source = passages.iter().find(|passage| passage.source_id == citation.source_id);
                prop_assert!(source.is_some_and(|passage| passage.text.contains(&citation.quote)));
            }
        }

        #[test]
        fn no_text_makes_it_panic(question in any::<String>(), text in any::<String>(), title in any::<String>()) {
            prop_assert!(ask(&request(&question, vec![passage("s1", &title, &text)])).is_ok());
        }
    }
}
