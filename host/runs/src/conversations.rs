//! Sessions as clients see them: made, listed, renamed, read and deleted. A run makes its session by itself; a deletion
//! ends the runs of a session first, so that nothing writes to it any more.

use vivarium_domain::{AgentId, AuditBy, Session, SessionId, SessionMessage, TenantId, Timestamp};
use vivarium_store::{Batch, Condition, Page, SessionFilter, StoreError, Write};

use crate::service::Runs;

/// The longest title, in characters.
pub const MAX_TITLE_CHARS: usize = 200;

/// Of a first message, what becomes a title.
const MADE_TITLE_CHARS: usize = 60;

/// Why a session was not made, found or changed.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The tenant has no such session.
    #[error("there is no such session")]
    NotFound,
    /// The id is taken.
    #[error("there is a session with the id {0} already")]
    Exists(SessionId),
    /// The title is empty or too long.
    #[error("title must have 1 to {MAX_TITLE_CHARS} characters and no control characters")]
    Title,
    /// Its runs do not end.
    #[error("the session is being deleted, or a run of it does not end; try again")]
    Busy,
    /// The store failed.
    #[error(transparent)]
    Store(StoreError),
}

impl From<StoreError> for SessionError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::ConditionFailed(Condition::SessionExists(_)) => Self::NotFound,
            StoreError::ConditionFailed(Condition::SessionAbsent(id)) => Self::Exists(id),
            other => Self::Store(other),
        }
    }
}

/// A session to be made.
#[derive(Debug, Clone, Default)]
pub struct NewSession {
    /// Its id; none: one of our choice.
    pub id: Option<SessionId>,
    /// The agent that it is with.
    pub agent: Option<AgentId>,
    /// Its title; none: made from the first message.
    pub title: Option<String>,
    /// For how many seconds each message keeps it; none: as long as the host keeps sessions.
    pub ttl_seconds: Option<u64>,
}

impl Runs {
    /// Makes a session without messages. What `along` gives for it is written with it or not at all.
    ///
    /// # Errors
    /// [`SessionError::Title`], [`SessionError::Exists`].
    pub async fn create_session(
        &self,
        tenant: &TenantId,
        new: NewSession,
        along: impl FnOnce(&Session) -> Batch + Send,
    ) -> Result<Session, SessionError> {
        if let Some(title) = &new.title {
            check_title(title)?;
        }
        let id = new.id.map_or_else(new_session_id, Ok)?;
        let now = Timestamp::now();
        let mut session = Session {
            agent_id: new.agent,
            title: new.title,
            ttl_seconds: self.session_ttl_seconds(new.ttl_seconds),
            ..Session::new(id.clone(), now)
        };
        session.touch(now);
        let batch = Batch {
            conditions: vec![Condition::SessionAbsent(id)],
            writes: vec![Write::EnsureSession(Box::new(session.clone()))],
        };
        self.store().commit(tenant, batch.and(along(&session))).await?;
        Ok(session)
    }

    /// One session.
    ///
    /// # Errors
    /// [`SessionError::NotFound`].
    pub async fn session(&self, tenant: &TenantId, id: &SessionId) -> Result<Session, SessionError> {
        let session = self.store().session(tenant, id).await?;
        session.filter(|session| !session.is_expired(Timestamp::now())).ok_or(SessionError::NotFound)
    }

    /// Sessions, newest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn sessions(&self, tenant: &TenantId, filter: SessionFilter) -> Result<Page<Session, u64>, SessionError> {
        let mut page = self.store().sessions(tenant, filter).await?;
        let now = Timestamp::now();
        page.items.retain(|session| !session.is_expired(now));
        page.items.iter_mut().for_each(|session| session.summary = None);
        Ok(page)
    }

    /// How many sessions there are: all, or those with an agent.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn count_sessions(&self, tenant: &TenantId, agent: Option<AgentId>) -> Result<u64, SessionError> {
        Ok(self.store().count_sessions(tenant, agent).await?)
    }

    /// Messages of a session from number `first` (from 0) on, oldest first, at most `limit`.
    ///
    /// # Errors
    /// [`SessionError::NotFound`].
    pub async fn messages(
        &self,
        tenant: &TenantId,
        id: &SessionId,
        first: u64,
        limit: usize,
    ) -> Result<Vec<SessionMessage>, SessionError> {
        self.session(tenant, id).await?;
        Ok(self.store().messages_from(tenant, id, first, limit).await?)
    }

    /// Gives a session another title; none: it has none from now on.
    ///
    /// # Errors
    /// [`SessionError::NotFound`], [`SessionError::Title`].
    pub async fn rename_session(
        &self,
        tenant: &TenantId,
        id: &SessionId,
        title: Option<&str>,
    ) -> Result<Session, SessionError> {
        if let Some(title) = title {
            check_title(title)?;
        }
        self.session(tenant, id).await?;
        let title = Some(title.map(str::to_owned));
        let change = Write::ChangeSession { session: id.clone(), title, at: Timestamp::now() };
        self.store().commit(tenant, Batch { conditions: Vec::new(), writes: vec![change] }).await?;
        self.session(tenant, id).await
    }

    /// Ends a session's runs and deletes it on behalf of `by`: its messages and their attachments, its runs and their events, its
    /// files.
    ///
    /// # Errors
    /// [`SessionError::NotFound`], [`SessionError::Busy`].
    pub async fn delete_session(&self, tenant: &TenantId, id: &SessionId, by: &AuditBy) -> Result<(), SessionError> {
        let _closed = self.quieten(tenant, id).await?;
        let deleted = self.store().delete_session(tenant, id, by).await?;
        drop(self.registry().scratch(tenant, id));
        if deleted { Ok(()) } else { Err(SessionError::NotFound) }
    }
}

fn check_title(title: &str) -> Result<(), SessionError> {
    let fits = (1..=MAX_TITLE_CHARS).contains(&title.chars().count());
    let plain = !title.trim().is_empty() && !title.contains(char::is_control);
    if fits && plain { Ok(()) } else { Err(SessionError::Title) }
}

/// The title that a session gets from its first message: its first line, cut between words.
pub(crate) fn title_of(input: &str) -> Option<String> {
    let line = input.lines().map(str::trim).find(|line| !line.is_empty())?;
    let plain: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if plain.chars().count() <= MADE_TITLE_CHARS {
        return Some(plain);
    }
    let cut: String = plain.chars().take(MADE_TITLE_CHARS).collect();
    let whole_words = cut.rsplit_once(char::is_whitespace).map_or(cut.as_str(), |(words, _)| words);
    Some(format!("{}…", whole_words.trim_end()))
}

/// An id of our choice.
pub(crate) fn new_session_id() -> Result<SessionId, StoreError> {
    let id = uuid::Uuid::now_v7().to_string();
    // A UUID is always a session id.
    id.parse().map_err(|error: vivarium_domain::IdError| StoreError::Corrupt(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_the_first_line_of_the_first_message_cut_between_words() {
        assert_eq!(title_of("\n  What is a tenant?\nTell me."), Some("What is a tenant?".to_owned()));
        let long = "word ".repeat(40);
        let made = title_of(&long).unwrap();
        assert!(made.ends_with("word…") && made.chars().count() <= MADE_TITLE_CHARS + 1, "{made}");
        assert_eq!(title_of(&"x".repeat(100)).unwrap().chars().count(), MADE_TITLE_CHARS + 1);
        assert_eq!(title_of(" \n"), None);
    }
}
