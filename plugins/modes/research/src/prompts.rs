//! All that the mode `research` says to a model. What was fetched is never part of it: it travels as passages, which the host
//! shows to the model as data.

/// Splits a question and makes queries of it, as JSON.
pub(crate) const PLAN: &str = "\
You plan research. Split the question into the questions that have to be answered first, at most four, each complete in \
itself; a simple question stays one. For each write the search queries that find its answer: one to three, a few keywords \
each, without operators. Where one question can only be asked after another one is answered, plan the first; what is found \
will lead on.";

/// Makes queries of a question, as lines, for a model that can not answer by a schema.
pub(crate) const PLAN_LINES: &str = "\
You plan research. Write the search queries that find what is needed to answer the question, two to four, a few keywords each, \
without operators. Write each query on a line of its own, and nothing else.";

/// Takes notes of the passages.
pub(crate) const NOTES: &str = "\
You take notes for answering a question. You get passages of documents, each with the id of its source, and before them the notes \
that were taken already, if there are some: do not repeat those.
For each fact that helps to answer, write a note: `claim`, the fact in your own words; `sourceId`, the source's id, such as \
s1; `quote`, the sentence or the part of it that says so, copied word for word from that source's passage, at most 300 \
characters. A note whose quote is not word for word is thrown away. Where documents say different things on one point, note \
each of them.
`answered` says whether the question can be answered from what is there. In `gaps`, write search queries for what is still \
missing, a few keywords each: what you have read, and what was noted, may name what has to be searched for next. Leave it \
empty if nothing is missing.";

/// Asks for other queries; what was tried follows.
pub(crate) const REPLAN: &str = "\
You plan research. The search queries for a question have found nothing. Write others into `gaps`: other words, more general \
ones. Leave `notes` empty.";

/// The question of a part within the whole one.
pub(crate) fn part_of(whole: &str, part: &str) -> String {
    if whole == part { part.to_owned() } else { format!("{part}\n\n(This is a part of: {whole})") }
}

/// What was tried in vain.
pub(crate) fn tried(queries: &[String]) -> String {
    format!("These queries found nothing:\n{}", queries.join("\n"))
}

/// Compares notes.
pub(crate) const COMPARE: &str = "\
You compare notes on documents. Find the pairs of notes from different sources that can not both be right: another number, \
another date, another name for the same thing, a yes and a no. Notes that complete each other, or speak of different times or \
cases, do not disagree. Most notes do not. Give each pair by the numbers of its notes.";

/// Writes the answer.
pub(crate) const ANSWER: &str = "\
You answer a question from the passages that you get: notes on documents, and parts of the documents themselves.
Answer in Markdown, directly and completely, without telling how you worked. After each claim cite the source that it rests \
on by its id, such as [s1]; cite no other ids. Say nothing that the passages do not back. Where they disagree, say so; where \
they leave a part of the question open, say which. Write no list of the sources: one is added.";

/// Appended where notes disagree. Their numbers alone: what they say is fetched text.
pub(crate) fn disagree(pairs: impl Iterator<Item = (usize, usize)>) -> String {
    let pairs: Vec<String> = pairs.map(|(first, second)| format!("{first} and {second}")).collect();
    if pairs.is_empty() {
        return String::new();
    }
    let pairs = pairs.join("; ");
    format!(
        "\nThese notes disagree: {pairs}. Do not choose between them: write “Sources disagree: …” with both, each with its mark."
    )
}

/// Answers without any source.
pub(crate) const UNSOURCED: &str = "\
You are a helpful assistant. Answer in Markdown. No documents can be searched here, so say clearly where you are not sure, \
and cite nothing.";

/// After the answer, where the client asks for JSON.
pub(crate) const AS_JSON: &str = "Give that answer as JSON that satisfies the schema.";

/// Appended to an answer that rests on no document.
pub(crate) const NO_SOURCE: &str = "\n\n*No source was consulted: this agent has no documents and no search to use.*";
