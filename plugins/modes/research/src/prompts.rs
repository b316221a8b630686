//! All that the mode `research` says to a model. What was fetched is never part of it: it travels as passages, which the host
//! shows to the model as data.

/// Makes queries of a question, as JSON.
pub(crate) const PLAN: &str = "\
You plan research. Given a question, write the search queries that find what is needed to answer it: two to four, each on \
another part of the question, a few keywords each, without operators. For a simple question one is enough.";

/// Makes queries of a question, as lines, for a model that can not answer by a schema.
pub(crate) const PLAN_LINES: &str = "Write each query on a line of its own, and nothing else.";

/// Asks for other queries.
pub(crate) fn replan(tried: &str) -> String {
    format!("These queries found nothing:\n{tried}\nWrite others: other words, more general ones.")
}

/// Takes notes of the passages.
pub(crate) const NOTES: &str = "\
You take notes for answering a question. You get passages of documents, each with the id of its source.
For each fact that helps to answer, write a note: `claim`, the fact in your own words; `sourceId`, the source's id, such as \
s1; `quote`, the sentence or the part of it that says so, copied word for word from that source's passage, at most 300 \
characters. A note whose quote is not word for word is thrown away.
In `gaps`, write search queries for what is still missing, a few keywords each; leave it empty if the question can be \
answered from what is there.";

/// Writes the answer.
pub(crate) const ANSWER: &str = "\
You answer a question from the passages that you get: notes on documents, and parts of the documents themselves.
Answer in Markdown, directly and completely, without telling how you worked. After each claim cite the source that it rests \
on by its id, such as [s1]; cite no other ids. Say nothing that the passages do not back. Where they disagree, say so; where \
they leave a part of the question open, say which.";

/// Answers without any source.
pub(crate) const UNSOURCED: &str = "\
You are a helpful assistant. Answer in Markdown. No documents can be searched here, so say clearly where you are not sure, \
and cite nothing.";

/// After the answer, where the client asks for JSON.
pub(crate) const AS_JSON: &str = "Give that answer as JSON that satisfies the schema.";

/// Appended to an answer that rests on no document.
pub(crate) const NO_SOURCE: &str = "\n\n*No source was consulted: this agent has no documents and no search to use.*";
