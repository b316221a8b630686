//! What a passage names that leads on. "Who founded the maker of the Aurora kiln?" can only be searched for once a document has said who
//! makes it: the name in the sentence that speaks of the question is searched for together with what the sentence leaves open.

use std::collections::BTreeSet;

use vivarium_reasoning::citing::sentences;
use vivarium_sdk::excerpt::content_words;
use vivarium_sdk::mode::Passage;

/// More sentences are not looked through.
const MAX_SENTENCES: usize = 2_000;
/// A sentence speaks of the question from so many of its words on.
const MIN_SPOKEN: usize = 2;
/// This share of the question's words is nearly all.
const NEARLY_ALL: (usize, usize) = (4, 5);
/// A name is no longer than this.
const MAX_NAME_WORDS: usize = 5;
/// Words with such a beginning in common are one word in two forms: "builder" and "built".
const SAME_BEGINNING: usize = 4;

/// A name that leads on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bridge {
    /// The name, as the passage writes it.
    pub(crate) name: String,
    /// What to search for.
    pub(crate) query: String,
    /// The words of the question that are to be found with it.
    open: Vec<String>,
}

impl Bridge {
    /// A passage says of the name what the question asks.
    pub(crate) fn leads_to(&self, passages: &[Passage]) -> bool {
        passages.iter().any(|passage| {
            let words = content_words(&passage.text);
            let names = passage.text.contains(&self.name) || passage.title.contains(&self.name);
            names && self.open.iter().any(|open| words.iter().any(|word| is_same(open, word)))
        })
    }
}

/// The best bridges, at most `most`; `known` are the names that were found before and stand for the question as its words do. None where
/// one passage speaks of nearly all that is asked: then there is nothing to follow.
pub(crate) fn bridges(question: &str, known: &[String], passages: &[Passage], most: usize) -> Vec<Bridge> {
    let asked: Vec<String> = content_words(question);
    if is_spoken_of(question, passages) {
        return Vec::new();
    }
    // What stands somewhere in lower case is a word, and no name.
    let common: BTreeSet<String> = passages.iter().flat_map(|passage| lower_words(&passage.text)).collect();
    let own_names: BTreeSet<String> = names(question, &common).iter().flat_map(|name| content_words(name)).collect();
    let known_words: BTreeSet<String> = known.iter().flat_map(|name| content_words(name)).collect();
    let mut found: Vec<(usize, Bridge)> = Vec::new();
    let all = passages.iter().flat_map(|passage| sentences(&passage.text)).filter(|sentence| is_prose(sentence));
    for sentence in all.take(MAX_SENTENCES) {
        let words = content_words(sentence);
        let holds = |wanted: &&String| words.iter().any(|word| is_same(wanted, word));
        let spoken = asked.iter().filter(holds).count() + known_words.iter().filter(holds).count();
        let open: Vec<String> = asked.iter().filter(|asked| !holds(asked)).cloned().collect();
        let is_named =
            own_names.is_empty() || words.iter().any(|word| own_names.contains(word) || known_words.contains(word));
        if spoken < MIN_SPOKEN || open.is_empty() || !is_named {
            continue;
        }
        for name in names(sentence, &common) {
            let own = content_words(&name);
            let is_told = |word: &String| asked.iter().any(|asked| is_same(asked, word)) || known_words.contains(word);
            if own.is_empty() || own.iter().all(is_told) || found.iter().any(|(_, bridge)| bridge.name == name) {
                continue;
            }
            let query = format!("{name} {}", open.join(" "));
            found.push((spoken, Bridge { name, query, open: open.clone() }));
        }
    }
    found.sort_by_key(|(spoken, _)| usize::MAX - spoken);
    found.into_iter().take(most).map(|(_, bridge)| bridge).collect()
}

/// One passage speaks of nearly all that is asked.
pub(crate) fn is_spoken_of(question: &str, passages: &[Passage]) -> bool {
    let asked = content_words(question);
    passages.iter().any(|passage| {
        let words = content_words(&format!("{} {}", passage.title, passage.text));
        let spoken = asked.iter().filter(|asked| words.iter().any(|word| is_same(asked, word))).count();
        spoken * NEARLY_ALL.1 >= asked.len() * NEARLY_ALL.0
    })
}

fn lower_words(text: &str) -> impl Iterator<Item = String> {
    let words = text.split(|c: char| !c.is_alphanumeric());
    words.filter(|word| word.starts_with(char::is_lowercase)).map(str::to_owned)
}

/// A sentence, and no heading, entry of a table or line of code.
fn is_prose(sentence: &str) -> bool {
    sentence.ends_with(['.', '!', '?'])
        && sentence.split_whitespace().filter(|word| word.starts_with(char::is_lowercase)).count() >= 2
}

/// One word, or two forms of it.
fn is_same(one: &str, other: &str) -> bool {
    one == other || {
        let common = one.chars().zip(other.chars()).take_while(|(a, b)| a == b).count();
        let shorter = one.chars().count().min(other.chars().count());
        common >= SAME_BEGINNING && common + 3 >= shorter
    }
}

/// The rows of capitalised words in a sentence. The first word of a sentence is capitalised whatever it is, so alone it is no name;
/// neither is one alone that is a `common` word, too, or a shouted one.
fn names(sentence: &str, common: &BTreeSet<String>) -> Vec<String> {
    let mut found: Vec<(usize, Vec<&str>)> = Vec::new();
    let mut row: Vec<&str> = Vec::new();
    for (at, raw) in sentence.split_whitespace().enumerate() {
        let word = raw.trim_matches(|c: char| !c.is_alphanumeric());
        let is_name =
            word.starts_with(char::is_uppercase) && word.chars().count() > 1 && !content_words(word).is_empty();
        if is_name {
            row.push(word);
        }
        if !is_name || raw.ends_with([',', ';', ':', '.', ')', '?', '!']) {
            found.push((at, std::mem::take(&mut row)));
        }
    }
    found.push((usize::MAX, row));
    let fits = |(at, row): &(usize, Vec<&str>)| match row.as_slice() {
        [] => false,
        [word] => *at > 1 && !common.contains(&word.to_lowercase()) && word.chars().any(char::is_lowercase),
        row => row.len() <= MAX_NAME_WORDS,
    };
    found.into_iter().filter(fits).map(|(_, row)| row.join(" ")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passage(text: &str) -> Passage {
        Passage { source_id: "s1".into(), title: String::new(), text: text.into() }
    }

    const QUESTION: &str = "Who founded the company that makes the Aurora kiln?";

    #[test]
    fn a_name_in_a_sentence_that_speaks_of_the_question_leads_on() {
        let first = [passage(
            "Kilns are hot. The Aurora kiln is built by Brenholt Works, a company of the north. Other Names follow.",
        )];
        let found = bridges(QUESTION, &[], &first, 3);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(
            (found[0].name.as_str(), found[0].query.as_str()),
            ("Brenholt Works", "Brenholt Works founded makes")
        );
        assert!(!found[0].leads_to(&first));
        assert!(found[0].leads_to(&[passage("Brenholt Works has a founder, Ida Marsh.")]));
    }

    #[test]
    fn a_chain_goes_on_from_name_to_name() {
        let second = [passage("Brenholt Works has been led since 1900 by Ida Marsh.")];
        let found = bridges(
            "Where was the founder of the maker of the Aurora kiln born?",
            &["Brenholt Works".into()],
            &second,
            3,
        );
        assert_eq!(found.first().map(|bridge| bridge.name.as_str()), Some("Ida Marsh"));
    }

    #[test]
    fn a_sentence_that_answers_all_or_nothing_leads_nowhere() {
        let whole = "Ida Marsh founded the company that makes the Aurora kiln.";
        assert!(bridges(QUESTION, &[], &[passage(whole), passage("Rain fell on Osterby.")], 3).is_empty());
    }
}
