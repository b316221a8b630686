//! A query string, read strictly: what is not UTF-8 is an error and not a row of question marks, and a parameter that is
//! there twice has no value that could be guessed.

use crate::error::{ApiError, Kind};

/// The parameters of a query string, in order.
pub(crate) fn pairs(query: &str) -> Result<Vec<(String, String)>, ApiError> {
    query.split('&').filter(|pair| !pair.is_empty()).map(pair).collect()
}

fn pair(pair: &str) -> Result<(String, String), ApiError> {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    let not_utf8 = || ApiError::new(Kind::InvalidRequest, "the query string must be percent-encoded UTF-8");
    Ok((decode(name).ok_or_else(not_utf8)?, decode(value).ok_or_else(not_utf8)?))
}

/// Decodes `+` and `%XX`; a `%` before anything else stands for itself, as browsers have it.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        match (first, after.first_chunk().and_then(hex_pair)) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            (b'+', _) => bytes.push(b' '),
            (byte, _) => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok()
}

fn hex_pair(digits: &[u8; 2]) -> Option<u8> {
    let [high, low] = digits.map(|digit| char::from(digit).to_digit(16));
    u8::try_from(high? * 16 + low?).ok()
}

/// Sets `slot`, once.
pub(crate) fn set_once<T>(slot: &mut Option<T>, name: &'static str, value: T) -> Result<(), ApiError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(ApiError::invalid(name, "is given more than once")),
    }
}

/// A parameter that nobody knows.
pub(crate) fn unknown(name: &str, known: &[&str]) -> ApiError {
    let name: String = name.chars().take(80).collect();
    let there_are =
        if known.is_empty() { "this path takes none".to_owned() } else { format!("there are: {}", known.join(", ")) };
    let message = format!("there is no parameter {name:?} here; {there_are}");
    ApiError::new(Kind::InvalidParameter, message).about(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_query_string_is_decoded_as_browsers_encode_it() {
        let pairs = pairs("query=a+b%20c%C3%BC&&empty=&bare&percent=100%&odd=%zz").unwrap();
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let expected = [("query", "a b cü"), ("empty", ""), ("bare", ""), ("percent", "100%"), ("odd", "%zz")];
        assert_eq!(pairs, expected);
    }

    #[test]
    fn what_is_not_utf8_is_refused() {
        assert_eq!(pairs("query=%FF").unwrap_err().code(), "invalid_request");
    }

    proptest! {
        #[test]
        fn no_query_string_panics(query in "[%+&=a-f0-9ü]{0,60}") {
            let _any = pairs(&query);
        }
    }
}
