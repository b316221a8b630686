//! Lists: a page of `data`, where the `next` one begins, and the query string that asks for it, in which nothing is
//! ignored.

use std::fmt::Display;
use std::str::FromStr;

use axum::http::Uri;
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::ApiError;
use crate::query;

/// How many items a page has where nobody says it.
pub(super) const DEFAULT_LIMIT: usize = 50;

/// The most items of a page.
pub(super) const MAX_LIMIT: usize = 200;

/// How many items of a page are read at a time.
pub(super) const PIECE: usize = 25;

/// Some of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct List<T: ToSchema> {
    /// The items.
    data: Vec<T>,
    /// The `cursor` of the next page; null: this is the last one. A page may hold fewer items than asked for, even none, and
    /// still have a next one.
    next: Option<String>,
}

impl<T: ToSchema> List<T> {
    pub(super) fn new(data: Vec<T>, next: Option<impl Display>) -> Self {
        Self { data, next: next.map(|next| next.to_string()) }
    }

    /// All of it.
    pub(super) fn whole(data: Vec<T>) -> Self {
        Self { data, next: None }
    }
}

/// A query string's parameters: each at most once, and none that nobody knows.
#[derive(Debug)]
pub(super) struct Parameters(Vec<(&'static str, String)>);

impl Parameters {
    pub(super) fn of(uri: &Uri, known: &[&'static str]) -> Result<Self, ApiError> {
        let mut found: Vec<(&'static str, String)> = Vec::new();
        for (name, value) in query::pairs(uri.query().unwrap_or_default())? {
            let Some(name) = known.iter().find(|known| **known == name) else {
                return Err(query::unknown(&name, known));
            };
            if found.iter().any(|(earlier, _)| earlier == name) {
                return Err(ApiError::invalid(name, "is given more than once"));
            }
            found.push((name, value));
        }
        Ok(Self(found))
    }

    pub(super) fn text(&self, name: &'static str) -> Option<&str> {
        self.0.iter().find(|(found, _)| *found == name).map(|(_, value)| value.as_str())
    }

    /// The parameter, if it is no longer than this.
    pub(super) fn bounded(&self, name: &'static str, max_chars: usize) -> Result<Option<&str>, ApiError> {
        let text = self.text(name);
        if text.is_some_and(|text| text.chars().count() > max_chars) {
            return Err(ApiError::invalid(name, format!("must have at most {max_chars} characters")));
        }
        Ok(text)
    }

    /// The parameter as what it must be; `must` completes a sentence that begins with its name.
    pub(super) fn parsed<T: FromStr>(&self, name: &'static str, must: &str) -> Result<Option<T>, ApiError> {
        self.text(name).map(|text| text.parse().map_err(|_| ApiError::invalid(name, must))).transpose()
    }

    /// `limit`.
    pub(super) fn limit(&self) -> Result<usize, ApiError> {
        let must = format!("must be an integer from 1 to {MAX_LIMIT}");
        let limit: usize = self.parsed("limit", &must)?.unwrap_or(DEFAULT_LIMIT);
        if (1..=MAX_LIMIT).contains(&limit) { Ok(limit) } else { Err(ApiError::invalid("limit", must)) }
    }

    /// `cursor`.
    pub(super) fn cursor<T: FromStr>(&self) -> Result<Option<T>, ApiError> {
        self.parsed("cursor", "must be the next of an earlier page")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Parameters, ApiError> {
        Parameters::of(&format!("/?{query}").parse().unwrap(), &["limit", "cursor"])
    }

    #[test]
    fn no_parameter_is_ignored_and_each_is_there_once() {
        assert_eq!(
            read("pages=2").unwrap_err().message(),
            "there is no parameter \"pages\" here; there are: limit, cursor"
        );
        assert_eq!(read("limit=1&limit=2").unwrap_err().message(), "limit is given more than once");
        assert_eq!(read("").unwrap().limit().unwrap(), DEFAULT_LIMIT);
        assert_eq!(read("limit=200").unwrap().limit().unwrap(), 200);
        for bad in ["limit=0", "limit=201", "limit=", "limit=x", "limit=-1", "limit=99999999999999999999"] {
            let error = read(bad).unwrap().limit().unwrap_err();
            assert_eq!(error.message(), "limit must be an integer from 1 to 200", "{bad}");
        }
        assert!(read("cursor=x").unwrap().cursor::<u64>().is_err());
    }
}
