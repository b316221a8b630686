//! The end of sessions in which nobody has spoken for their time. An expired session is as good as deleted from the moment
//! on; this takes away what is left of it.

use vivarium_domain::Timestamp;
use vivarium_store::StoreError;

use crate::conversations::SessionError;
use crate::service::Runs;

/// How many are looked up at a time.
const BATCH: usize = 256;

impl Runs {
    /// Deletes the sessions whose time is over. One in which a run is under way is left for the next time: somebody waits
    /// for its answer. Gives how many were deleted.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn delete_expired_sessions(&self) -> Result<usize, StoreError> {
        let mut deleted = 0;
        loop {
            let expired = self.store().expired_sessions(Timestamp::now(), BATCH).await?;
            let found = expired.len();
            let before = deleted;
            for (tenant, session) in expired {
                if !self.controls_of(&tenant, &session).is_empty() {
                    continue;
                }
                match self.delete_session(&tenant, &session).await {
                    Ok(()) => deleted += 1,
                    Err(SessionError::Store(error)) => return Err(error),
                    // Gone meanwhile, or spoken in.
                    Err(_) => {}
                }
            }
            if found < BATCH || deleted == before {
                return Ok(deleted);
            }
        }
    }
}
