//! Where a quote stands in a text. White space may differ, nothing else; and a quote ends where words end, so that "able" is no
//! quote of "unable". Places count Unicode characters.

/// A quote's place in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// Its first character.
    pub(crate) start: u32,
    /// The first one behind it.
    pub(crate) end: u32,
    /// How many such places there are; this is the first.
    pub(crate) occurrences: u32,
}

/// The words of a text, one space between them.
pub(crate) fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !folded.is_empty() {
            folded.push(' ');
        }
        folded.push_str(word);
    }
    folded
}

/// The first place of `quote` in `text`, which `folded` is the folded form of.
pub(crate) fn find(text: &str, folded: &str, quote: &str) -> Option<Found> {
    let quote = fold(quote);
    // What says nothing stands everywhere and proves nothing.
    if !quote.chars().any(char::is_alphanumeric) {
        return None;
    }
    let mut places = folded.match_indices(&quote).map(|(at, _)| at).filter(|at| is_whole(folded, *at, quote.len()));
    let first = places.next()?;
    let occurrences = u32::try_from(places.count()).unwrap_or(u32::MAX).saturating_add(1);
    let black = |text: &str| text.chars().filter(|c| !c.is_whitespace()).count();
    let before = black(folded.get(..first)?);
    let within = black(&quote);
    // The same characters in the text as it is, white space and all.
    let mut blacks = (0_u32..).zip(text.chars()).filter(|(_, c)| !c.is_whitespace()).map(|(place, _)| place);
    let start = blacks.nth(before)?;
    let last = if within > 1 { blacks.nth(within - 2)? } else { start };
    Some(Found { start, end: last + 1, occurrences })
}

/// Whether this stretch begins and ends where words do. Scripts that do not put spaces between words have no such places.
fn is_whole(text: &str, at: usize, length: usize) -> bool {
    let (before, rest) = text.split_at(at);
    let (quote, after) = rest.split_at(length);
    let joined = |left: Option<char>, right: Option<char>| {
        let of_word = |c: char| c.is_lowercase() || c.is_uppercase() || c.is_numeric();
        left.is_some_and(of_word) && right.is_some_and(of_word)
    };
    !joined(before.chars().next_back(), quote.chars().next())
        && !joined(quote.chars().next_back(), after.chars().next())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(text: &str, quote: &str) -> Option<Found> {
        find(text, &fold(text), quote)
    }

    fn slice(text: &str, found: Found) -> String {
        text.chars().skip(found.start as usize).take((found.end - found.start) as usize).collect()
    }

    #[test]
    fn a_place_counts_characters_and_spans_the_texts_own_white_space() {
        let text = "Größe:\n\tA vector  grows\n  by doubling.";
        let place = found(text, "vector grows by").unwrap();
        assert_eq!(place, Found { start: 10, end: 28, occurrences: 1 });
        assert_eq!(slice(text, place), "vector  grows\n  by");
        assert_eq!(found("é", "é").unwrap(), Found { start: 0, end: 1, occurrences: 1 });
    }

    #[test]
    fn of_several_places_the_first_is_given_and_all_are_counted() {
        assert_eq!(found("a b. A b. a  b.", "a b.").unwrap(), Found { start: 0, end: 4, occurrences: 2 });
    }

    #[test]
    fn a_part_of_a_word_or_of_a_number_is_no_quote() {
        assert_eq!(found("It is unable to grow.", "able to grow"), None);
        assert_eq!(found("It costs 2010 dollars.", "10 dollars"), None);
        assert_eq!(found("It grows.", "It grow"), None);
        assert_eq!(found("It is unable, but able to grow.", "able to grow").unwrap().start, 18);
        assert!(found("これは本です。", "は本").is_some(), "words without spaces have no borders");
        assert_eq!(found("a — b", "—"), None, "a dash says nothing");
    }

    proptest! {
        #[test]
        fn the_text_at_the_place_is_the_quote_up_to_white_space(
            text in "([a-zäß日]{0,3}[ \\n\u{a0}.]{0,2}){0,12}", from in 0_usize..30, length in 1_usize..20,
        ) {
            let quote: String = text.chars().skip(from).take(length).collect();
            if let Some(place) = found(&text, &quote) {
                prop_assert_eq!(fold(&slice(&text, place)), fold(&quote));
            }
        }
    }
}
