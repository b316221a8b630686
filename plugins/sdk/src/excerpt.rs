//! The part of a long text that is worth a model's attention: all of it where it fits, else the paragraphs that speak of
//! what is asked, else its beginning.

/// Marks what was left out between two paragraphs.
pub const GAP: &str = "[…]";

/// The longest beginning of `text` of at most `max_bytes` that ends on a character's border.
#[must_use]
pub fn beginning(text: &str, max_bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(max_bytes)).unwrap_or(text)
}

/// At most `max_bytes` of `text`: its paragraphs that speak of `focus`, in the text's order, with [`GAP`] where something
/// is left out; its beginning where there is no focus or nothing speaks of it.
#[must_use]
pub fn excerpt(text: &str, focus: Option<&str>, max_bytes: usize) -> String {
    if text.len() <= max_bytes {
        return text.to_owned();
    }
    let room = max_bytes.saturating_sub(GAP.len() + 2);
    focus.and_then(|focus| around(text, focus, room)).unwrap_or_else(|| format!("{}\n\n{GAP}", beginning(text, room)))
}

/// The words of `text` that carry meaning, in lower case, in their order; a word of the language's glue carries none.
#[must_use]
pub fn content_words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .filter(|word| !GLUE.contains(&word.as_str()) && (word.chars().count() > 1 || !word.is_ascii()))
        .collect()
}

/// English words that say how a sentence hangs together, not what it speaks of.
const GLUE: &[&str] = &[
    "a", "about", "above", "after", "again", "all", "also", "am", "an", "and", "any", "are", "as", "at", "be",
    "because", "been", "before", "being", "between", "both", "but", "by", "can", "could", "did", "do", "does", "doing",
    "done", "each", "else", "ever", "for", "from", "give", "go", "had", "has", "have", "he", "her", "here", "him",
    "his", "how", "i", "if", "in", "into", "is", "it", "its", "just", "like", "many", "may", "me", "mean", "means",
    "might", "more", "most", "much", "must", "my", "no", "not", "now", "of", "off", "ok", "okay", "on", "one", "only",
    "or", "other", "our", "out", "over", "please", "same", "say", "shall", "she", "should", "so", "some", "such",
    "tell", "than", "thank", "thanks", "that", "the", "their", "them", "then", "there", "these", "they", "this",
    "those", "through", "to", "too", "under", "up", "us", "very", "was", "we", "were", "what", "when", "where",
    "which", "while", "who", "whom", "whose", "why", "will", "with", "would", "yes", "yet", "you", "your",
];

fn around(text: &str, focus: &str, max_bytes: usize) -> Option<String> {
    let mut words = content_words(focus);
    words.sort_unstable();
    words.dedup();
    let paragraphs: Vec<&str> = text.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty()).collect();
    let lowered: Vec<String> = paragraphs.iter().map(|paragraph| paragraph.to_lowercase()).collect();
    let mut scores = vec![0.0_f32; paragraphs.len()];
    for word in &words {
        let hits = lowered.iter().filter(|paragraph| paragraph.contains(word.as_str())).count();
        if hits == 0 {
            continue;
        }
        // A word that is everywhere says little about where to look.
        #[expect(clippy::cast_precision_loss, reason = "a score: close is good enough")]
        let weight = (1.0 + paragraphs.len() as f32 / hits as f32).ln();
        for (score, paragraph) in scores.iter_mut().zip(&lowered) {
            if paragraph.contains(word.as_str()) {
                *score += weight;
            }
        }
    }
    let mut ranked: Vec<usize> = (0..paragraphs.len()).filter(|at| scores.get(*at).is_some_and(|s| *s > 0.0)).collect();
    ranked.sort_by(|a, b| {
        let score = |at: &usize| scores.get(*at).copied().unwrap_or_default();
        score(b).total_cmp(&score(a)).then(a.cmp(b))
    });
    let mut chosen = std::collections::BTreeMap::new();
    let mut left = max_bytes;
    for at in ranked {
        // What a heading or a lead-in announces stands in the paragraph after it.
        for near in [Some(at), at.checked_add(1)].into_iter().flatten() {
            let Some(paragraph) = paragraphs.get(near).filter(|_| !chosen.contains_key(&near)) else { continue };
            let cost = GAP.len() + 4;
            let piece = beginning(paragraph, left.saturating_sub(cost));
            // A paragraph is given whole, except the first one, which may fill all the room there is.
            if piece.len() == paragraph.len() || (chosen.is_empty() && !piece.is_empty()) {
                left = left.saturating_sub(piece.len() + cost);
                chosen.insert(near, piece);
            }
        }
    }
    let mut out = String::new();
    let mut next = 0;
    for (at, paragraph) in &chosen {
        if !out.is_empty() {
            out.push_str("\n\n");
        }
        if *at != next {
            out.push_str(GAP);
            out.push_str("\n\n");
        }
        out.push_str(paragraph);
        next = at + 1;
    }
    (!out.is_empty()).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long_text() -> String {
        let mut paragraphs: Vec<String> =
            (0..200).map(|n| format!("Paragraph {n} speaks of nothing at all.")).collect();
        paragraphs[150] = "The borrow checker refuses two mutable borrows at once.".to_owned();
        paragraphs[20] = "A checker looks at things.".to_owned();
        paragraphs.join("\n\n")
    }

    #[test]
    fn a_short_text_is_given_whole() {
        assert_eq!(excerpt("one\n\ntwo", Some("two"), 100), "one\n\ntwo");
    }

    #[test]
    fn the_paragraphs_that_speak_of_the_focus_are_given_within_the_bound() {
        let text = long_text();
        let part = excerpt(&text, Some("What does the borrow checker refuse?"), 300);
        assert!(part.len() <= 300, "{} bytes", part.len());
        assert!(part.contains("refuses two mutable borrows"), "{part}");
        assert!(part.contains(GAP));
        for paragraph in part.split("\n\n").filter(|paragraph| *paragraph != GAP) {
            assert!(text.contains(paragraph), "not verbatim: {paragraph}");
        }
    }

    #[test]
    fn without_a_match_the_beginning_is_given_and_says_that_more_follows() {
        let part = excerpt(&long_text(), Some("zebra"), 200);
        assert!(part.starts_with("Paragraph 0") && part.ends_with(GAP) && part.len() <= 200, "{part}");
    }

    #[test]
    fn a_cut_never_splits_a_character() {
        let text = "äöü".repeat(100);
        for max in 0..40 {
            assert!(excerpt(&text, None, max.max(8)).len() <= max.max(8));
            assert!(text.starts_with(beginning(&text, max)));
        }
    }

    #[test]
    fn a_question_keeps_the_words_that_carry_meaning() {
        assert_eq!(content_words("What is the `Box<T>` type, and why?"), ["box", "type"]);
        assert!(content_words("why is that so?").is_empty());
    }
}
