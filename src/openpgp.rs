//! `OpenPGP`: public keys, the signatures that they made, and whether a key could make one. Pure.

pub mod cleartext;

use std::borrow::Cow;

use jiff::Timestamp;
use pgp::composed::{Deserializable as _, DetachedSignature, SignedPublicKey, SignedPublicSubKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Signature, SignatureConfig, SignatureType, SubpacketData};
use pgp::types::{KeyDetails, Tag, VerifyingKey};

/// A primary key with its user names and subkeys.
type Key = SignedPublicKey;

/// Why no key accepts a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The signature cannot be read.
    Unreadable(String),
    /// What speaks against it, key by key.
    Keys(Vec<String>),
}

/// Public keys of those whose signatures count.
#[derive(Default)]
pub struct KeyRing(Vec<Key>);

impl KeyRing {
    /// Adds the keys of a file, armoured or binary.
    pub fn add(&mut self, file: &[u8]) -> Result<(), String> {
        self.0.extend(read_keys(file)?);
        Ok(())
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The id of the primary key that made one of the armoured signatures, itself or by a subkey.
    pub fn verify(&self, signatures: &str, payload: &[u8], now: Timestamp) -> Result<String, Refused> {
        let unreadable = |error: pgp::errors::Error| Refused::Unreadable(error.to_string());
        let (signatures, _) = DetachedSignature::from_string_many(signatures).map_err(unreadable)?;
        let mut reasons = Vec::new();
        for signature in signatures {
            let signature = signature.map_err(unreadable)?.signature;
            for key in &self.0 {
                let id = id_of(key);
                match verify_with(key, &signature, payload, now) {
                    None => {}
                    Some(Ok(())) => return Ok(id),
                    Some(Err(why)) => reasons.push(format!("key '{id}' {why}")),
                }
            }
            if reasons.is_empty() {
                let issuers: Vec<String> =
                    signature.issuer_key_id().iter().map(|id| format!("'{}'", id.to_string().to_uppercase())).collect();
                reasons.push(format!("made by the key {}, which is not among them", issuers.join(", ")));
            }
        }
        Err(Refused::Keys(reasons))
    }
}

/// Every packet begins with a byte whose first bit is set, which no text does.
fn is_binary(file: &[u8]) -> bool {
    file.first().is_some_and(|byte| byte & 0x80 != 0)
}

fn read_keys(file: &[u8]) -> Result<Vec<Key>, String> {
    let form = if is_binary(file) { "binary" } else { "armored" };
    let bad = |why: &dyn std::fmt::Display| format!("unable to read {form} key ring: {why}");
    let text: Cow<'_, str>;
    let keys = if is_binary(file) {
        SignedPublicKey::from_bytes_many(file)
    } else {
        text = String::from_utf8_lossy(file);
        SignedPublicKey::from_string_many(text.trim_start()).map(|(keys, _)| keys)
    };
    let keys: Vec<Key> = keys.and_then(Iterator::collect).map_err(|error| bad(&error))?;
    if keys.is_empty() { Err(bad(&"it holds no public key")) } else { Ok(keys) }
}

/// As `gpg` prints it: 16 hexadecimal digits.
fn id_of(key: &impl KeyDetails) -> String {
    key.legacy_key_id().to_string().to_uppercase()
}

/// None when the signature does not claim to be made by this key.
fn verify_with(key: &Key, signature: &Signature, payload: &[u8], now: Timestamp) -> Option<Result<(), &'static str>> {
    if claims(signature, &key.primary_key) {
        return Some(verify_by_primary(key, signature, payload, now));
    }
    let subkey = key.public_subkeys.iter().find(|subkey| claims(signature, &subkey.key))?;
    Some(verify_by_subkey(key, subkey, signature, payload, now))
}

fn claims(signature: &Signature, key: &impl KeyDetails) -> bool {
    let (id, fingerprint) = (key.legacy_key_id(), key.fingerprint());
    signature.issuer_fingerprint().contains(&&fingerprint) || signature.issuer_key_id().contains(&&id)
}

fn verify_by_primary(key: &Key, signature: &Signature, payload: &[u8], now: Timestamp) -> Result<(), &'static str> {
    let own = usable_primary(key, now)?;
    may_sign(own)?;
    verify_data(signature, &key.primary_key, payload, now)
}

fn verify_by_subkey(
    key: &Key,
    subkey: &SignedPublicSubKey,
    signature: &Signature,
    payload: &[u8],
    now: Timestamp,
) -> Result<(), &'static str> {
    usable_primary(key, now)?;
    let bindings =
        subkey.signatures.iter().filter(|bound| bound.verify_subkey_binding(&key.primary_key, &subkey.key).is_ok());
    let (revocations, bindings): (Vec<_>, Vec<_>) =
        bindings.partition(|bound| bound.typ() == Some(SignatureType::SubkeyRevocation));
    if !revocations.is_empty() {
        return Err("has revoked the subkey that signed");
    }
    let binding = newest(bindings).ok_or("is not bound to the subkey that signed")?;
    if !binding.key_flags().sign() {
        return Err("does not let the subkey sign data");
    }
    // Without it, anybody could claim a stranger's signing key as a subkey of theirs.
    let back = binding.embedded_signature().ok_or("is not confirmed by the subkey that signed")?;
    back.verify_primary_key_binding(&subkey.key, &key.primary_key)
        .map_err(|_| "is not confirmed by the subkey that signed")?;
    not_expired(&subkey.key, binding, now).map_err(|()| "has expired, or its subkey has")?;
    verify_data(signature, &subkey.key, payload, now)
}

/// The newest signature in which the primary key speaks about itself, if the key is in force.
fn usable_primary(key: &Key, now: Timestamp) -> Result<&Signature, &'static str> {
    let primary = &key.primary_key;
    let revoked = key.details.revocation_signatures.iter().any(|revocation| revocation.verify_key(primary).is_ok());
    if revoked {
        return Err("is revoked");
    }
    let direct = key.details.direct_signatures.iter().filter(|own| own.verify_key(primary).is_ok());
    let users = key.details.users.iter().flat_map(|user| {
        let valid =
            user.signatures.iter().filter(|own| own.verify_certification(primary, Tag::UserId, &user.id).is_ok());
        let valid: Vec<&Signature> = valid.collect();
        let revoked = valid.iter().any(|own| own.typ() == Some(SignatureType::CertRevocation));
        if revoked { Vec::new() } else { valid }
    });
    let own = newest(direct.chain(users)).ok_or("has no valid signature of its own")?;
    not_expired(primary, own, now).map_err(|()| "has expired")?;
    Ok(own)
}

fn newest<'s>(signatures: impl IntoIterator<Item = &'s Signature>) -> Option<&'s Signature> {
    signatures.into_iter().max_by_key(|signature| signature.created().map(pgp::types::Timestamp::as_secs))
}

fn may_sign(own: &Signature) -> Result<(), &'static str> {
    let mut subpackets = own.config().into_iter().flat_map(SignatureConfig::hashed_subpackets);
    let says = subpackets.any(|subpacket| matches!(subpacket.data, SubpacketData::KeyFlags(_)));
    if says && !own.key_flags().sign() { Err("may not sign data") } else { Ok(()) }
}

fn not_expired(key: &impl KeyDetails, own: &Signature, now: Timestamp) -> Result<(), ()> {
    let expired = |from: u32, lifetime: u32| lifetime != 0 && i64::from(from) + i64::from(lifetime) <= now.as_second();
    let key_expired = own.key_expiration_time().is_some_and(|time| expired(key.created_at().as_secs(), time.as_secs()));
    if key_expired || signature_expired(own, now) { Err(()) } else { Ok(()) }
}

fn signature_expired(signature: &Signature, now: Timestamp) -> bool {
    let times = signature.created().zip(signature.signature_expiration_time());
    times.is_some_and(|(created, lifetime)| {
        lifetime.as_secs() != 0 && i64::from(created.as_secs()) + i64::from(lifetime.as_secs()) <= now.as_second()
    })
}

fn verify_data(
    signature: &Signature,
    key: &impl VerifyingKey,
    payload: &[u8],
    now: Timestamp,
) -> Result<(), &'static str> {
    if !matches!(signature.typ(), Some(SignatureType::Binary | SignatureType::Text)) {
        return Err("made another kind of signature than one of data");
    }
    if matches!(signature.hash_alg(), None | Some(HashAlgorithm::Md5 | HashAlgorithm::Sha1 | HashAlgorithm::Ripemd160))
    {
        return Err("signed with a hash that is not safe any more (MD5, SHA-1 or RIPEMD-160)");
    }
    if signature_expired(signature, now) {
        return Err("made a signature that has expired");
    }
    signature.verify(key, payload).map_err(|_| "did not sign this: it is not what was signed")
}
