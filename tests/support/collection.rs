//! A collection of documents for measuring research: some hundreds of short articles, made by a fixed rule, with questions whose answers
//! are chains of facts in documents of their own. The second fact of a chain can only be searched for once the first was read: no
//! document but the first has a name in common with the question. Around them are documents on the same things that do not help, and some
//! that say the opposite.

use std::fs;
use std::path::Path;

/// What one thing is to another, in the order in which a chain goes on.
const RELATIONS: [&str; 5] = ["maker", "founder", "birthplace", "mayor", "physician"];
/// How many chains there are of each length.
const CHAINS_OF_EACH_LENGTH: usize = 8;
/// So many documents that do not help stand beside each one that does.
const DISTRACTORS: usize = 2;
/// The last fact of every so manyth chain is contradicted by another document.
const CONTRADICTED: usize = 4;

/// A fact of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// The document that says it.
    pub location: String,
    /// The sentence, as it stands there.
    pub sentence: String,
}

/// A question with what its answer rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The question.
    pub text: String,
    /// The facts, in the order in which they can be found.
    pub facts: Vec<Fact>,
    /// What another document says against the last one.
    pub against: Option<Fact>,
}

/// The documents and the questions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Collection {
    /// Each with its file name.
    pub documents: Vec<(String, String)>,
    /// What is asked.
    pub questions: Vec<Question>,
}

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % below as u64).unwrap_or(0)
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        let at = self.throw(from.len());
        from.get(at).copied().unwrap_or_default()
    }

    /// Two capitalised words that no other name has both of.
    fn name(&mut self, taken: &mut Vec<String>) -> String {
        const ONSETS: [&str; 12] = ["Br", "Cal", "Dor", "Fen", "Gr", "Hal", "Kl", "Mor", "Ost", "Quel", "Str", "Vin"];
        const MIDDLES: [&str; 10] = ["en", "ad", "or", "il", "un", "est", "av", "im", "ol", "ar"];
        const ENDS: [&str; 10] = ["wick", "holt", "by", "mere", "stad", "ford", "dal", "ness", "burn", "gate"];
        loop {
            // Some twelve thousand words: several times as many as are needed.
            let mut word = || {
                let (onset, one, other, end) =
                    (self.pick(&ONSETS), self.pick(&MIDDLES), self.pick(&MIDDLES), self.pick(&ENDS));
                format!("{onset}{one}{other}{end}")
            };
            let (first, second) = (word(), word());
            let is_new = first != second && ![&first, &second].iter().any(|word| taken.contains(word));
            if is_new {
                taken.extend([first.clone(), second.clone()]);
                return format!("{first} {second}");
            }
        }
    }
}

/// Sentences that fill an article and answer nothing.
fn filler(dice: &mut Dice, name: &str) -> String {
    const DEEDS: [&str; 6] = [
        "was shown at the winter fair and drew a large crowd",
        "is mentioned in several travel books of the time",
        "appears on a stamp that collectors look for",
        "has a song written about it",
        "was painted twice by the same hand",
        "is described at length in the old almanac",
    ];
    let year = 1700 + dice.throw(300);
    format!("{name} {}. That was in the year {year}.", dice.pick(&DEEDS))
}

impl Collection {
    /// The same each time.
    #[must_use]
    pub fn generated() -> Self {
        let (mut dice, mut taken) = (Dice(7), Vec::new());
        let mut collection = Self::default();
        for number in 0..RELATIONS.len() * CHAINS_OF_EACH_LENGTH {
            let hops = number % RELATIONS.len() + 1;
            let contradicted = (number / RELATIONS.len()).is_multiple_of(CONTRADICTED);
            collection.chain(&mut dice, &mut taken, hops, contradicted);
        }
        collection
    }

    fn chain(&mut self, dice: &mut Dice, taken: &mut Vec<String>, hops: usize, contradicted: bool) {
        let begin = dice.name(taken);
        let relations = RELATIONS.iter().take(hops);
        let mut thing = begin.clone();
        let mut facts = Vec::new();
        let mut against = None;
        for (hop, relation) in relations.enumerate() {
            let next = dice.name(taken);
            let sentence = format!("The {relation} of {thing} is {next}.");
            facts.push(self.article(dice, &thing, &sentence));
            if contradicted && hop + 1 == hops {
                let other = dice.name(taken);
                against = Some(self.article(dice, &thing, &format!("The {relation} of {thing} is {other}.")));
            }
            for _ in 0..DISTRACTORS {
                let other = dice.name(taken);
                let remark = format!("{other} lies a day away from it.");
                self.article(dice, &thing, &remark);
                // The same relation between others: a search for the relation alone finds these.
                let far = dice.name(taken);
                self.article(dice, &other, &format!("The {relation} of {other} is {far}."));
            }
            thing = next;
        }
        let asked: Vec<String> =
            RELATIONS.iter().take(hops).rev().map(|relation| format!("the {relation} of")).collect();
        let text = format!("Who or what is {} {begin}?", asked.join(" "));
        self.questions.push(Question { text, facts, against });
    }

    fn article(&mut self, dice: &mut Dice, about: &str, sentence: &str) -> Fact {
        let location = format!("article-{:04}.md", self.documents.len());
        let (before, after) = (filler(dice, about), filler(dice, about));
        let text = format!("# {about}\n\n{before} {sentence} {after}\n");
        self.documents.push((location.clone(), text));
        Fact { location, sentence: sentence.to_owned() }
    }

    /// Writes the documents into a folder.
    ///
    /// # Panics
    /// When the disk does not take them.
    pub fn write(&self, folder: &Path) {
        for (name, text) in &self.documents {
            fs::write(folder.join(name), text).expect("the folder takes a file");
        }
    }
}

/// What a run has found of what its question needs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Recall {
    /// Relevant documents, and those of them that were read.
    pub documents: (usize, usize),
    /// Facts, and those of them that the answer backs with a verified quote.
    pub facts: (usize, usize),
    /// Contradictions, and those of them that the answer names.
    pub contradictions: (usize, usize),
}

impl Recall {
    /// Adds what the answer to a question has found: `answer` is what `POST /v1/agent/run` gives.
    pub fn count(&mut self, question: &Question, answer: &serde_json::Value) {
        let sources = || answer["sources"].as_array().into_iter().flatten();
        let read = |fact: &Fact| sources().any(|source| source["url"] == fact.location.as_str());
        let backed = |fact: &Fact| {
            let of_fact = sources().filter(|source| source["url"] == fact.location.as_str());
            let quotes = of_fact.flat_map(|source| source["quotes"].as_array().into_iter().flatten());
            let says = |quote: &serde_json::Value| {
                quote["verified"] == true && quote["text"].as_str().is_some_and(|text| text.contains(&fact.sentence))
            };
            quotes.into_iter().any(says)
        };
        self.documents.0 += question.facts.len();
        self.documents.1 += question.facts.iter().filter(|fact| read(fact)).count();
        self.facts.0 += question.facts.len();
        self.facts.1 += question.facts.iter().filter(|fact| backed(fact)).count();
        if question.against.is_some() {
            let text = answer["answer"].as_str().unwrap_or_default();
            self.contradictions.0 += 1;
            self.contradictions.1 += usize::from(text.contains("Sources disagree"));
        }
    }

    /// Shares of one, for documents, facts and contradictions.
    #[must_use]
    pub fn shares(&self) -> [f64; 3] {
        #[expect(clippy::cast_precision_loss, reason = "counts of documents")]
        let share = |(all, found): (usize, usize)| found as f64 / all.max(1) as f64;
        [share(self.documents), share(self.facts), share(self.contradictions)]
    }
}
