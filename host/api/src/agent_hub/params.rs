//! What stands in a query string. A parameter that is not known is refused: a typing error would otherwise
//! pass as a request for something else.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use crate::error::{ApiError, Kind};
use crate::query;

/// The parameters of a query string.
pub(super) struct Params(BTreeMap<String, String>);

impl Params {
    /// # Errors
    /// When a parameter is none of the known ones, or there twice.
    pub(super) fn read(query: Option<&str>, known: &[&'static str]) -> Result<Self, ApiError> {
        let mut found = BTreeMap::new();
        for (name, value) in query::pairs(query.unwrap_or_default())? {
            let Some(known) = known.iter().find(|known| **known == name) else {
                let shown: String = name.chars().take(80).collect();
                let message = format!("there is no parameter {shown:?}; there are: {}", known.join(", "));
                return Err(ApiError::new(Kind::InvalidParameter, message).about(shown));
            };
            if found.insert(name, value).is_some() {
                return Err(ApiError::invalid(known, "is given more than once"));
            }
        }
        Ok(Self(found))
    }

    /// A parameter, if it is there.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A number within its range, or what it is if it is not there.
    pub(super) fn number(
        &self,
        name: &'static str,
        range: RangeInclusive<u64>,
        otherwise: u64,
    ) -> Result<u64, ApiError> {
        let Some(text) = self.text(name) else { return Ok(otherwise) };
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = digits.then(|| text.parse().ok()).flatten().filter(|number| range.contains(number));
        number.ok_or_else(|| {
            ApiError::invalid(name, format!("must be an integer from {} to {}", range.start(), range.end()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_or_there_twice_is_named() {
        let told = |query: &str| Params::read(Some(query), &["page", "limit"]).map(|_| ()).unwrap_err();
        assert_eq!(told("pages=1").message(), "there is no parameter \"pages\"; there are: page, limit");
        assert_eq!(told("page=1&page=1").message(), "page is given more than once");
    }

    #[test]
    fn a_number_is_digits_within_its_range() {
        let number = |text: &str| Params::read(Some(&format!("n={text}")), &["n"]).unwrap().number("n", 1..=100, 20);
        assert_eq!(number("100").unwrap(), 100);
        for bad in ["", "0", "101", "-1", "%2B1", "1.0", "x", "99999999999999999999"] {
            assert_eq!(number(bad).unwrap_err().message(), "n must be an integer from 1 to 100", "{bad:?}");
        }
        assert_eq!(Params::read(None, &["n"]).unwrap().number("n", 1..=100, 20).unwrap(), 20);
    }
}
