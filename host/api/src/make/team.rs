//! The query string of every route: which team, and for lists which page.

use vivarium_domain::{AgentId, Team, TeamId};

use crate::ApiState;
use crate::auth::Caller;
use crate::error::{ApiError, Kind};
use crate::query;

/// The most agents of one page, and how many there are if the client does not say. Clients of this dialect read one bare
/// array and look for no second page, so the first one is long.
pub(super) const MAX_PAGE: usize = 1000;

/// What a query string asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) team: Option<TeamId>,
    pub(super) limit: Option<usize>,
    pub(super) after: Option<AgentId>,
}

impl Asked {
    /// A query string that may hold these parameters and no others.
    pub(super) fn new(query_string: Option<&str>, known: &[&'static str]) -> Result<Self, ApiError> {
        let mut asked = Self::default();
        for (name, value) in query::pairs(query_string.unwrap_or_default())? {
            match known.iter().find(|known| **known == name) {
                Some(&"teamId") => query::set_once(&mut asked.team, "teamId", team_id(&value)?)?,
                Some(&"limit") => query::set_once(&mut asked.limit, "limit", limit(&value)?)?,
                // Where a stream goes on: read with its header.
                Some(&"after") => {}
                Some(&"cursor") => query::set_once(&mut asked.after, "cursor", cursor(&value)?)?,
                _ => {
                    let name: String = name.chars().take(80).collect();
                    let message = format!("there is no parameter {name:?}; there are: {}", known.join(", "));
                    return Err(ApiError::new(Kind::InvalidParameter, message).about(name));
                }
            }
        }
        Ok(asked)
    }

    /// The team that the request is about.
    pub(super) fn team(&self) -> Result<TeamId, ApiError> {
        self.team.ok_or_else(|| ApiError::missing("teamId"))
    }
}

/// The team of a route that knows no other parameter; it is there.
pub(super) async fn team_of(state: &ApiState, caller: &Caller, query: Option<&str>) -> Result<Team, ApiError> {
    let team = Asked::new(query, &["teamId"])?.team()?;
    Ok(state.0.agents.team(&caller.tenant, team).await?)
}

fn digits(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))
}

fn team_id(text: &str) -> Result<TeamId, ApiError> {
    let number = digits(text).and_then(|text| text.parse().ok()).and_then(TeamId::new);
    number.ok_or_else(|| ApiError::invalid("teamId", format!("must be an integer from 1 to {}", u32::MAX)))
}

fn limit(text: &str) -> Result<usize, ApiError> {
    let number = digits(text).and_then(|text| text.parse().ok()).filter(|limit| (1..=MAX_PAGE).contains(limit));
    number.ok_or_else(|| ApiError::invalid("limit", format!("must be an integer from 1 to {MAX_PAGE}")))
}

fn cursor(text: &str) -> Result<AgentId, ApiError> {
    text.parse().map_err(|_| ApiError::invalid("cursor", "must be one that the Link header of a page before this gave"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [&str; 3] = ["teamId", "limit", "cursor"];

    #[test]
    fn a_query_string_is_read_strictly() {
        let asked = Asked::new(Some("teamId=7&limit=1000"), &ALL).unwrap();
        assert_eq!(asked, Asked { team: TeamId::new(7), limit: Some(1000), after: None });
        for bad in [
            "teamId=0",
            "teamId=",
            "teamId=-1",
            "teamId=1.5",
            "teamId=x",
            "teamId=+1",
            "teamId=4294967296",
            "teamId=1&teamId=1",
            "limit=0",
            "limit=1001",
            "cursor=x",
            "page=2",
            "teamID=1",
        ] {
            assert_eq!(Asked::new(Some(bad), &ALL).unwrap_err().code(), "invalid_parameter", "{bad}");
        }
        assert!(Asked::new(Some("limit=1"), &["teamId"]).is_err(), "only lists have pages");
        assert_eq!(Asked::new(None, &ALL).unwrap().team().unwrap_err().message(), "teamId is required");
    }
}
