//! What the operator's configuration gives a plugin in every tenant.

use std::collections::BTreeMap;

use secrecy::SecretString;
use vivarium_domain::{PluginGrant, SecretName, SecretUse};

/// A credential of the operator's that the host puts into a plugin's requests, in every tenant.
#[derive(Debug, Clone)]
pub struct OperatorSecret {
    /// Where it goes.
    pub inject: SecretUse,
    /// The credential.
    pub value: SecretString,
}

/// What the operator gives one plugin in every tenant. A tenant that has granted the plugin something itself has its own
/// grant instead; the credentials and the exceptions for private addresses stay.
#[derive(Debug, Clone, Default)]
pub struct OperatorGift {
    /// The grant of a tenant that has none of its own.
    pub grant: PluginGrant,
    /// Credentials, by the names that the plugin knows them by.
    pub secrets: BTreeMap<SecretName, OperatorSecret>,
}
