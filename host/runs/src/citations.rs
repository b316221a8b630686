//! What an answer rests on, as its client is told: which quotes stand in their sources and where, and which sentence of the answer
//! each of them backs. All of it is found here, whatever the mode says of itself; and a mark of a source that no verified quote
//! stands for says so in the answer itself.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use vivarium_domain::{CheckedCitation, Claim};
use vivarium_sandbox::ModeAnswer;

use crate::ledger::Ledger;
use crate::marks::{Mark, marks, sentences, told_apart};
use crate::quotes::fold;

/// Sentences of one answer that quotes are linked to; what comes after them is marked, and not linked.
const MAX_CLAIMS: usize = 1_000;
/// Of a sentence and of a quote, so many words say which of them belong together.
const MAX_WORDS: usize = 200;

/// Checks the citations of an answer and marks in it what is not verified. An answer that is JSON itself is left as it is: what
/// is in it, its schema says.
pub(crate) fn settle(ledger: &Ledger, answer: &mut ModeAnswer) -> Vec<CheckedCitation> {
    let checked = once_each(ledger.check(&answer.citations));
    let verified: BTreeSet<&str> =
        checked.iter().filter(|citation| citation.verified).map(|citation| citation.source_id.as_str()).collect();
    if answer.answer_json.as_deref() == Some(answer.answer.as_str()) {
        return checked;
    }
    answer.answer = told_apart(&answer.answer, |id| verified.contains(id));
    linked(&answer.answer, checked)
}

fn once_each(checked: Vec<CheckedCitation>) -> Vec<CheckedCitation> {
    let mut seen: BTreeSet<(String, String)> = BTreeSet::new();
    checked.into_iter().filter(|one| seen.insert((one.source_id.clone(), one.quote.clone()))).collect()
}

/// A sentence that cites.
struct Cites<'a> {
    range: Range<usize>,
    ids: Vec<&'a str>,
    words: BTreeSet<String>,
}

/// The citations with the sentences that rest on them: one entry for each pair. Of several quotes of the source that a sentence
/// cites, it is linked to the one that it shares most words with. A quote that no mark points at is linked to the sentence that repeats it.
fn linked(answer: &str, checked: Vec<CheckedCitation>) -> Vec<CheckedCitation> {
    let marks = marks(answer);
    let sentences = sentences(answer, &marks);
    let cites = citing(answer, &marks, &sentences);
    let words_of: Vec<BTreeSet<String>> = checked.iter().map(|citation| words(&citation.quote)).collect();
    let mut claims: BTreeMap<usize, Vec<Range<usize>>> = BTreeMap::new();
    for sentence in &cites {
        for id in &sentence.ids {
            let of_source = checked
                .iter()
                .zip(&words_of)
                .enumerate()
                .filter(|(_, (citation, _))| citation.verified && citation.source_id == *id);
            // The first of those that share the most.
            let best =
                of_source.max_by_key(|(at, (_, words))| (sentence.words.intersection(words).count(), usize::MAX - at));
            if let Some((at, _)) = best {
                claims.entry(at).or_default().push(sentence.range.clone());
            }
        }
    }
    let folded: Vec<(Range<usize>, String)> = match checked.len() > claims.len() {
        true => sentences.iter().take(MAX_CLAIMS).map(|range| (range.clone(), fold(slice(answer, range)))).collect(),
        false => Vec::new(),
    };
    let mut places = Characters::of(answer);
    let mut out = Vec::with_capacity(checked.len());
    for (at, citation) in checked.into_iter().enumerate() {
        let mut ranges = claims.remove(&at).unwrap_or_default();
        if ranges.is_empty() && citation.verified {
            let quote = fold(&citation.quote);
            let repeats = folded.iter().find(|(_, sentence)| sentence.contains(&quote));
            ranges.extend(repeats.map(|(range, _)| range.clone()));
        }
        if ranges.is_empty() {
            out.push(citation);
            continue;
        }
        for range in ranges {
            let text = slice(answer, &range).to_owned();
            let (start, end) = (places.at(range.start), places.at(range.end));
            out.push(CheckedCitation { claim: Some(Claim { text, start, end }), ..citation.clone() });
        }
    }
    out
}

fn slice<'a>(text: &'a str, range: &Range<usize>) -> &'a str {
    text.get(range.clone()).unwrap_or_default()
}

/// The sentences with marks in them. A mark that begins a line, behind a bullet or a number, is an entry of a list of sources, and no
/// claim of anything.
fn citing<'a>(answer: &'a str, marks: &[Mark<'a>], sentences: &[Range<usize>]) -> Vec<Cites<'a>> {
    let mut marks = marks.iter().peekable();
    let mut found = Vec::new();
    for range in sentences {
        let mut ids: Vec<&str> = Vec::new();
        while let Some(mark) = marks.next_if(|mark| mark.range.start < range.end) {
            let before = answer.get(range.start..mark.range.start).unwrap_or_default();
            if mark.range.start >= range.start && before.chars().any(char::is_alphabetic) {
                ids.extend(mark.ids.iter().filter(|id| !ids.contains(id)).copied().collect::<Vec<_>>());
            }
        }
        if !ids.is_empty() && found.len() < MAX_CLAIMS {
            found.push(Cites { range: range.clone(), ids, words: words(slice(answer, range)) });
        }
    }
    found
}

/// The first words of a text, in lower case, but for those that are in every sentence.
fn words(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_alphanumeric());
    let telling = words.filter(|word| word.chars().count() > 2 || word.parse::<u32>().is_ok());
    telling.take(MAX_WORDS).map(str::to_lowercase).collect()
}

/// Counts the characters before a place in a text; places that are asked for in ascending order are found in one pass.
struct Characters<'a> {
    text: &'a str,
    bytes: usize,
    characters: usize,
}

impl<'a> Characters<'a> {
    fn of(text: &'a str) -> Self {
        Self { text, bytes: 0, characters: 0 }
    }

    fn at(&mut self, byte: usize) -> u32 {
        if byte < self.bytes {
            (self.bytes, self.characters) = (0, 0);
        }
        self.characters += self.text.get(self.bytes..byte).unwrap_or_default().chars().count();
        self.bytes = byte;
        u32::try_from(self.characters).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use vivarium_domain::{Citation, Document};

    use super::*;

    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        for text in ["Größer ist besser. The vector doubles.\n\nIt never shrinks.", "Arrays do not grow."] {
            let media_type = "text/plain".to_owned();
            let document =
                Document { title: String::new(), location: text.to_owned(), media_type, text: text.to_owned() };
            let _new = ledger.add("corpus_read", document);
        }
        ledger
    }

    fn settled(answer: &str, citations: &[(&str, &str)]) -> (String, Vec<CheckedCitation>) {
        let cite = |(id, quote): &(&str, &str)| Citation { source_id: (*id).to_owned(), quote: (*quote).to_owned() };
        let citations = citations.iter().map(cite).collect();
        let mut answer = ModeAnswer { answer: answer.to_owned(), answer_json: None, citations };
        let checked = settle(&ledger(), &mut answer);
        (answer.answer, checked)
    }

    fn characters(text: &str, start: u32, end: u32) -> String {
        text.chars().skip(start as usize).take((end - start) as usize).collect()
    }

    #[test]
    fn each_claim_is_linked_to_the_quote_that_it_is_about() {
        let quotes = [("s1", "The vector doubles."), ("s1", "It never shrinks."), ("s2", "Arrays do not grow.")];
        let (answer, checked) =
            settled("Größe: it never shrinks [s1]. A vector doubles, arrays don’t grow [s1, s2].", &quotes);
        let claims: Vec<&str> = checked.iter().map(|one| one.claim.as_ref().unwrap().text.as_str()).collect();
        let second = "A vector doubles, arrays don’t grow [s1, s2].";
        assert_eq!(claims, [second, "Größe: it never shrinks [s1].", second]);
        for one in &checked {
            let claim = one.claim.as_ref().unwrap();
            assert_eq!(characters(&answer, claim.start, claim.end), claim.text);
        }
        let text = "Größer ist besser. The vector doubles.\n\nIt never shrinks.";
        assert_eq!(characters(text, checked[1].start.unwrap(), checked[1].end.unwrap()), "It never shrinks.");
    }

    #[test]
    fn a_quote_that_several_sentences_cite_is_there_once_for_each() {
        let (_, checked) = settled("It doubles [s1]. So the vector doubles [s1].", &[("s1", "The vector doubles.")]);
        let claims: Vec<&str> = checked.iter().map(|one| one.claim.as_ref().unwrap().text.as_str()).collect();
        assert_eq!(claims, ["It doubles [s1].", "So the vector doubles [s1]."]);
    }

    #[test]
    fn a_source_without_a_verified_quote_is_marked_in_the_answer() {
        let (answer, checked) = settled(
            "It triples [s1]. Arrays do not grow [s2]. See [s9].",
            &[("s1", "The vector triples."), ("s2", "Arrays do not grow.")],
        );
        assert_eq!(answer, "It triples [s1, not verified]. Arrays do not grow [s2]. See [s9, not verified].");
        assert!(!checked[0].verified && checked[0].start.is_none() && checked[0].claim.is_none());
        assert!(checked[1].verified && checked[1].claim.is_some());
    }

    #[test]
    fn a_quote_that_the_answer_repeats_without_a_mark_is_linked_to_its_sentence() {
        let (_, checked) = settled(
            "The vector doubles. It never shrinks. [s1]",
            &[("s1", "The vector doubles."), ("s1", "It never\n shrinks.")],
        );
        let claims: Vec<&str> = checked.iter().map(|one| one.claim.as_ref().unwrap().text.as_str()).collect();
        assert_eq!(claims, ["The vector doubles.", "It never shrinks. [s1]"]);
    }

    #[test]
    fn an_entry_of_a_list_of_sources_claims_nothing() {
        let (_, checked) = settled(
            "It never shrinks [s1].\n\nSources:\n\n1. [s1] The vector: `a`\n- [s1] Vector",
            &[("s1", "It never shrinks.")],
        );
        assert_eq!(checked.len(), 1, "{checked:?}");
    }

    #[test]
    fn a_flood_of_claims_is_bounded() {
        let (_, checked) =
            settled(&"It never shrinks [s1].\n\n".repeat(MAX_CLAIMS + 100), &[("s1", "It never shrinks.")]);
        assert_eq!(checked.len(), MAX_CLAIMS);
        let long = format!("{} [s1].", "word shrinks never ".repeat(100_000));
        let (answer, checked) = settled(&long, &[("s1", "It never shrinks.")]);
        assert_eq!(checked.len(), 1);
        assert_eq!(checked[0].claim.as_ref().unwrap().end as usize, answer.chars().count());
    }

    #[test]
    fn an_answer_that_is_json_is_not_written_into() {
        let json = r#"{"a":"It triples [s9]"}"#;
        let mut answer =
            ModeAnswer { answer: json.to_owned(), answer_json: Some(json.to_owned()), citations: Vec::new() };
        assert!(settle(&ledger(), &mut answer).is_empty());
        assert_eq!(answer.answer, json);
    }
}
