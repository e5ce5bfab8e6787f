//! SSH signatures, as `ssh-keygen -Y sign` makes them.

use ssh_key::authorized_keys::AuthorizedKeys;
use ssh_key::{Algorithm, HashAlg, PublicKey, SshSig};

use super::Refused;

/// What a signature has to be made for, so that one for a login or a file is none for a commit.
const NAMESPACE: &str = "git";

/// Shorter RSA keys are not accepted, as with OpenSSH.
const LEAST_RSA_BITS: usize = 2048;

/// A trusted key.
pub(super) type Key = PublicKey;

/// The keys of an `authorized_keys` text.
pub(super) fn read_keys(text: &str) -> Result<Vec<Key>, String> {
    let entries = AuthorizedKeys::new(text).map(|entry| entry.map(PublicKey::from));
    let keys: Vec<Key> = entries.collect::<Result<_, _>>().map_err(|error| format!("no SSH public key: {error}"))?;
    if keys.is_empty() { Err("no SSH public key".to_owned()) } else { Ok(keys) }
}

/// The fingerprint of the key that made the signature.
pub(super) fn verify(keys: &[Key], signature: &str, payload: &[u8]) -> Result<String, Refused> {
    let signature = SshSig::from_pem(signature).map_err(|error| Refused::Unreadable(error.to_string()))?;
    let signer = signature.public_key().fingerprint(HashAlg::Sha256);
    let refused = |why: &str| Err(Refused::Keys(vec![format!("key '{signer}' {why}")]));
    let Some(key) = keys.iter().find(|key| key.key_data() == signature.public_key()) else {
        return refused("is not among them");
    };
    if is_weak(key) {
        return refused("is an RSA key of less than 2048 bits or a DSA key");
    }
    // The hash of an RSA signature is its own: SHA-1 was common once.
    if matches!(signature.algorithm(), Algorithm::Rsa { hash: None }) {
        return refused("signed with SHA-1");
    }
    if signature.namespace() != NAMESPACE {
        return refused(&format!("signed for '{}', not for '{NAMESPACE}'", signature.namespace()));
    }
    match key.verify(NAMESPACE, payload, &signature) {
        Ok(()) => Ok(signer.to_string()),
        Err(_) => refused("did not sign this: it is not what was signed"),
    }
}

fn is_weak(key: &Key) -> bool {
    match key.key_data() {
        ssh_key::public::KeyData::Rsa(rsa) => {
            rsa.n.as_positive_bytes().is_none_or(|modulus| modulus.len() * 8 < LEAST_RSA_BITS)
        }
        ssh_key::public::KeyData::Dsa(_) => true,
        _ => false,
    }
}
