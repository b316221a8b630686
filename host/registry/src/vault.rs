//! Secrets at rest: sealed with XChaCha20-Poly1305 under a key that is not in the store, so that a copy of the data
//! folder's store alone gives none of them away. What is sealed is bound to its tenant, its name and its use: a sealed
//! secret that is moved to another place does not open there.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use vivarium_domain::{SealedSecret, SecretName, SecretUse, TenantId, Timestamp, hmac_sha256};
use zeroize::Zeroizing;

const NONCE_BYTES: usize = 24;
const KEY_BYTES: usize = 32;

/// Why a secret was not sealed or opened. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// The key can not be had.
    #[error("the key of the secrets: {0}")]
    Key(String),
    /// The secret was sealed with a key that is not here, or it was changed.
    #[error(
        "the secret {0} can not be opened: the key that it was sealed with is not among this host's, or it was changed"
    )]
    Sealed(SecretName),
}

/// Seals and opens secrets. The first key seals; all of them open, so that a key can be replaced.
pub struct Vault {
    keys: Vec<VaultKey>,
}

struct VaultKey {
    /// Names the key without giving it away: the beginning of its SHA-256.
    id: String,
    cipher: XChaCha20Poly1305,
    /// What further keys are made from, so that none of them says anything of this one.
    root: Zeroizing<[u8; KEY_BYTES]>,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault").field("keys", &self.keys.iter().map(|key| &key.id).collect::<Vec<_>>()).finish()
    }
}

impl Vault {
    /// From a text of keys, each of 64 hexadecimal digits, separated by white space or commas. The first one seals.
    ///
    /// # Errors
    /// When there is none, or one is not a key.
    pub fn from_text(text: &str) -> Result<Self, VaultError> {
        let mut keys = Vec::new();
        for (number, word) in text.split([' ', '\t', '\r', '\n', ',']).filter(|word| !word.is_empty()).enumerate() {
            let mut bytes = Zeroizing::new([0_u8; KEY_BYTES]);
            hex::decode_to_slice(word, bytes.as_mut_slice())
                .map_err(|_| VaultError::Key(format!("key {} must be 64 hexadecimal digits", number + 1)))?;
            let id = hex::encode(Sha256::digest(bytes.as_slice()).get(..4).unwrap_or_default());
            let cipher = XChaCha20Poly1305::new(Key::from_slice(bytes.as_slice()));
            let root = Zeroizing::new(hmac_sha256(bytes.as_slice(), &[b"vivarium derived keys"]));
            keys.push(VaultKey { id, cipher, root });
        }
        if keys.is_empty() {
            return Err(VaultError::Key("there is none".to_owned()));
        }
        Ok(Self { keys })
    }

    /// From a file that only its owner can read; one that is not there is made, with a new key.
    ///
    /// # Errors
    /// When it can not be read or made, others can read it, or what it holds is no key.
    pub fn from_file(path: &Path) -> Result<Self, VaultError> {
        let told =
            |what: &str, error: &dyn std::fmt::Display| VaultError::Key(format!("{} {what}: {error}", path.display()));
        match fs::read_to_string(path) {
            Ok(text) => {
                refuse_open_file(path)?;
                Self::from_text(&Zeroizing::new(text))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let mut bytes = Zeroizing::new([0_u8; KEY_BYTES]);
                rand::fill(bytes.as_mut_slice());
                let text = Zeroizing::new(hex::encode(bytes.as_slice()));
                write_private(path, &text).map_err(|error| told("can not be made", &error))?;
                Self::from_text(&text)
            }
            Err(error) => Err(told("can not be read", &error)),
        }
    }

    /// Seals a secret of a tenant.
    ///
    /// # Errors
    /// Never for a secret of sensible length.
    pub fn seal(
        &self,
        tenant: &TenantId,
        name: SecretName,
        inject: SecretUse,
        value: &SecretString,
    ) -> Result<SealedSecret, VaultError> {
        let Some(key) = self.keys.first() else { return Err(VaultError::Key("there is none".to_owned())) };
        let mut nonce = [0_u8; NONCE_BYTES];
        rand::fill(&mut nonce);
        let bound = bound_to(tenant, &name, &inject);
        let payload = Payload { msg: value.expose_secret().as_bytes(), aad: &bound };
        let sealed = key
            .cipher
            .encrypt(XNonce::from_slice(&nonce), payload)
            .map_err(|_| VaultError::Key(format!("the secret {name} can not be sealed")))?;
        let sealed = STANDARD.encode([nonce.as_slice(), &sealed].concat());
        Ok(SealedSecret { name, inject, key_id: key.id.clone(), sealed, set_at: Timestamp::now() })
    }

    /// Opens a secret of a tenant.
    ///
    /// # Errors
    /// When its key is not here, or it was changed or moved.
    pub fn open(&self, tenant: &TenantId, secret: &SealedSecret) -> Result<SecretString, VaultError> {
        let refused = || VaultError::Sealed(secret.name.clone());
        let bytes = STANDARD.decode(&secret.sealed).map_err(|_| refused())?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_BYTES).ok_or_else(refused)?;
        let key = self.keys.iter().find(|key| key.id == secret.key_id).ok_or_else(refused)?;
        let bound = bound_to(tenant, &secret.name, &secret.inject);
        let payload = Payload { msg: sealed, aad: &bound };
        let opened = key.cipher.decrypt(XNonce::from_slice(nonce), payload).map_err(|_| refused())?;
        let text = String::from_utf8(opened).map_err(|_| refused())?;
        Ok(text.into())
    }

    /// A key of a tenant's for one purpose, which `label` names. The same as long as the key that seals is the same.
    #[must_use]
    pub fn derive(&self, tenant: &TenantId, label: &str) -> [u8; 32] {
        // There is a first key: a vault without one is not made. Neither a label nor a tenant's id holds a zero.
        let root = self.keys.first().map(|key| key.root.as_slice()).unwrap_or_default();
        hmac_sha256(root, &[label.as_bytes(), &[0], tenant.as_str().as_bytes()])
    }

    /// The secret is sealed with the key that seals now.
    #[must_use]
    pub fn is_current(&self, secret: &SealedSecret) -> bool {
        self.keys.first().is_some_and(|key| key.id == secret.key_id)
    }
}

/// What a secret is bound to; lengths in front, so that no two differ in where one ends alone.
fn bound_to(tenant: &TenantId, name: &SecretName, inject: &SecretUse) -> Vec<u8> {
    let mut bound = Vec::new();
    for part in [tenant.as_str(), name.as_str(), &inject.host, &inject.header, &inject.prefix] {
        bound.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bound.extend_from_slice(part.as_bytes());
    }
    bound
}

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let mut file = options.open(path)?;
    writeln!(file, "{text}")?;
    // A key that a power cut takes away would take every secret with it.
    file.sync_all()
}

fn refuse_open_file(path: &Path) -> Result<(), VaultError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(path).map_err(|error| VaultError::Key(error.to_string()))?.permissions().mode();
        if mode & 0o077 != 0 {
            let path = path.display();
            return Err(VaultError::Key(format!(
                "others can read {path} (mode {:o}); type: chmod 600 {path}",
                mode & 0o777
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "1111111111111111111111111111111111111111111111111111111111111111";
    const NEW: &str = "2222222222222222222222222222222222222222222222222222222222222222";

    fn sealed(vault: &Vault) -> SealedSecret {
        let inject =
            SecretUse { host: "api.example.com".into(), header: "authorization".into(), prefix: String::new() };
        vault.seal(&tenant("acme"), "token".parse().unwrap(), inject, &"s3cret-value".into()).unwrap()
    }

    fn tenant(id: &str) -> TenantId {
        id.parse().unwrap()
    }

    #[test]
    fn a_sealed_secret_opens_for_its_tenant_and_shows_nothing() {
        let vault = Vault::from_text(OLD).unwrap();
        let secret = sealed(&vault);
        assert_eq!(vault.open(&tenant("acme"), &secret).unwrap().expose_secret(), "s3cret-value");
        assert!(!secret.sealed.contains("s3cret") && !format!("{secret:?}{vault:?}").contains("s3cret"));
        assert_ne!(secret.sealed, sealed(&vault).sealed, "a nonce is used once");
    }

    #[test]
    fn a_secret_that_was_moved_or_changed_does_not_open() {
        let vault = Vault::from_text(OLD).unwrap();
        let secret = sealed(&vault);
        let refused = Err(VaultError::Sealed(secret.name.clone()));
        let open = |tenant: &TenantId, secret: &SealedSecret| vault.open(tenant, secret).map(|_| ());
        assert_eq!(open(&tenant("other"), &secret), refused);
        let elsewhere = SecretUse { host: "evil.example".into(), ..secret.inject.clone() };
        assert_eq!(open(&tenant("acme"), &SealedSecret { inject: elsewhere, ..secret.clone() }), refused);
        let mut bytes = STANDARD.decode(&secret.sealed).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        let changed = SealedSecret { sealed: STANDARD.encode(bytes), ..secret.clone() };
        assert_eq!(open(&tenant("acme"), &changed), refused);
        assert_eq!(open(&tenant("acme"), &SealedSecret { sealed: "AAAA".into(), ..secret }), refused);
    }

    #[test]
    fn a_key_is_replaced_by_putting_the_new_one_first() {
        let before = sealed(&Vault::from_text(OLD).unwrap());
        let both = Vault::from_text(&format!("{NEW}\n{OLD}\n")).unwrap();
        assert!(both.open(&tenant("acme"), &before).is_ok() && !both.is_current(&before));
        let after = sealed(&both);
        let new = Vault::from_text(NEW).unwrap();
        assert!(new.open(&tenant("acme"), &after).is_ok() && new.open(&tenant("acme"), &before).is_err());
    }

    #[test]
    fn a_derived_key_is_one_tenants_for_one_purpose() {
        let (old, new) = (Vault::from_text(OLD).unwrap(), Vault::from_text(&format!("{NEW} {OLD}")).unwrap());
        let key = old.derive(&tenant("acme"), "webhooks");
        assert_eq!(key, Vault::from_text(OLD).unwrap().derive(&tenant("acme"), "webhooks"));
        for other in [
            old.derive(&tenant("other"), "webhooks"),
            old.derive(&tenant("acme"), "else"),
            new.derive(&tenant("acme"), "webhooks"),
        ] {
            assert_ne!(key, other);
        }
    }

    #[test]
    fn a_key_file_is_made_for_its_owner_alone_and_an_open_one_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.key");
        let secret = sealed(&Vault::from_file(&path).unwrap());
        assert!(Vault::from_file(&path).unwrap().open(&tenant("acme"), &secret).is_ok());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let told = Vault::from_file(&path).unwrap_err().to_string();
        assert!(told.contains("chmod 600"), "{told}");
    }

    #[test]
    fn what_is_no_key_is_told_without_showing_it() {
        let told = Vault::from_text(&format!("{OLD} hunter2-hunter2")).unwrap_err().to_string();
        assert_eq!(told, "the key of the secrets: key 2 must be 64 hexadecimal digits");
        assert!(Vault::from_text(" \n").is_err());
    }
}
