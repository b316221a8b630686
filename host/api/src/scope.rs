//! What a key may do beyond its tier.

use vivarium_domain::Scope;

use crate::auth::Caller;
use crate::error::{ApiError, Kind};

impl Caller {
    /// The key has the scope; `admin` has them all.
    pub(crate) fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope) || self.scopes.contains(&Scope::Admin)
    }

    /// # Errors
    /// When the key lacks the scope.
    pub(crate) fn needs(&self, scope: Scope) -> Result<(), ApiError> {
        if self.may(scope) {
            return Ok(());
        }
        Err(ApiError::new(Kind::ScopeMissing, format!("this needs a key with the scope {}", scope.name())))
    }
}
