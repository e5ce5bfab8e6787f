//! `spec.verify` of a `GitRepository`: the signatures of a commit and of the tag that led to it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use sha2::{Digest as _, Sha256};

use super::git_repository::git_failure;
use super::outcome::Failure;
use crate::api::condition::{self, reason};
use crate::api::source::v1::{GitRepository, GitRepositoryStatus, GitRepositoryVerification, GitVerificationMode};
use crate::controller::conditions::{self, Truth};
use crate::controller::{Context, namespaced_name};
use crate::git::mirror::Objects;
use crate::git::signature::{self, Signed, TrustedKeys};
use crate::git::{Mirror, Target};

/// Reason: the mode asks for a tag, and no tag is followed.
const INVALID_MODE: &str = "InvalidVerificationMode";
/// Reason: the tag is not one that can be verified.
const INVALID_OBJECT: &str = "InvalidGitObject";
/// Reason: the tag's signature is not good.
const INVALID_TAG: &str = "InvalidTagSignature";
/// Reason: the commit's signature is not good.
const INVALID_COMMIT: &str = "InvalidCommitSignature";

/// Which signatures a mode asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wanted {
    tag: bool,
    commit: bool,
}

impl Wanted {
    fn of(mode: GitVerificationMode) -> Self {
        match mode {
            GitVerificationMode::LegacyHead | GitVerificationMode::Head => Self { tag: false, commit: true },
            GitVerificationMode::Tag => Self { tag: true, commit: false },
            GitVerificationMode::TagAndHead => Self { tag: true, commit: true },
        }
    }
}

/// What was verified last, by object: the same keys need not look at the same commit again.
#[derive(Default)]
pub struct Proofs(Mutex<HashMap<(String, String), [u8; 32]>>);

impl Proofs {
    /// Tells that an object is gone.
    pub fn forget(&self, object: &GitRepository) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&namespaced_name(object));
    }

    fn has(&self, object: &GitRepository, proof: &[u8; 32]) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&namespaced_name(object)) == Some(proof)
    }

    fn keep(&self, object: &GitRepository, proof: [u8; 32]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(namespaced_name(object), proof);
    }

    /// Verifies what `spec.verify` asks for, if it does, and writes `SourceVerified`.
    pub async fn verify(
        &self,
        context: &Context,
        object: &GitRepository,
        status: &mut GitRepositoryStatus,
        (mirror, target): (&Mirror, &Target),
        timeout: Duration,
    ) -> Result<(), Failure> {
        let Some(verification) = &object.spec.verify else {
            conditions::remove(&mut status.conditions, condition::SOURCE_VERIFIED);
            status.source_verification_mode = None;
            return Ok(());
        };
        let data = trusted(context, object, verification).await?;
        let proof = proof(verification.mode, &data, target);
        if self.has(object, &proof) && conditions::is_true(&status.conditions, condition::SOURCE_VERIFIED) {
            return Ok(());
        }
        let wanted = Wanted::of(verification.mode);
        let tag = target.tag.as_deref().filter(|_| wanted.tag);
        if wanted.tag && !target.reference.as_deref().is_some_and(is_tag) {
            let message = "cannot verify tag object's signature if a tag reference is not specified";
            return Err(Failure::terminal(condition::SOURCE_VERIFIED, INVALID_MODE, message));
        }
        let objects =
            mirror.objects(target, tag, timeout).await.map_err(|error| git_failure(&error, &object.spec.url))?;
        let now = Timestamp::now();
        let message = judge(wanted, target, &objects, &TrustedKeys::from_secret(&data), now)?;
        let generation = object.metadata.generation;
        let (type_, reason) = (condition::SOURCE_VERIFIED, reason::SUCCEEDED);
        conditions::set(&mut status.conditions, type_, Truth::True, reason, &message, generation, now);
        status.source_verification_mode = Some(told(verification.mode).to_owned());
        self.keep(object, proof);
        Ok(())
    }
}

/// A tag reference that is followed as such: `refs/tags/v1^{}` asks for the commit behind it.
fn is_tag(reference: &str) -> bool {
    reference.starts_with("refs/tags/") && !reference.ends_with("^{}")
}

fn told(mode: GitVerificationMode) -> &'static str {
    match mode {
        GitVerificationMode::LegacyHead => GitVerificationMode::Head.as_str(),
        other => other.as_str(),
    }
}

async fn trusted(
    context: &Context,
    object: &GitRepository,
    verification: &GitRepositoryVerification,
) -> Result<BTreeMap<String, ByteString>, Failure> {
    let (namespace, _) = namespaced_name(object);
    let data = super::lifecycle::secret_data(context, &namespace, &verification.secret_ref.name).await;
    data.map_err(|failure| Failure {
        condition: condition::SOURCE_VERIFIED,
        reason: reason::VERIFICATION_ERROR,
        message: format!("public keys secret error: {}", failure.message),
        ..failure
    })
}

/// Stands for a mode, keys, and what is to be verified with them.
fn proof(mode: GitVerificationMode, data: &BTreeMap<String, ByteString>, target: &Target) -> [u8; 32] {
    let mut hasher = Sha256::new();
    let mut feed = |part: &[u8]| {
        hasher.update(part.len().to_le_bytes());
        hasher.update(part);
    };
    feed(told(mode).as_bytes());
    feed(target.revision().as_bytes());
    feed(target.tag.as_deref().unwrap_or_default().as_bytes());
    for (name, ByteString(value)) in data {
        feed(name.as_bytes());
        feed(value);
    }
    hasher.finalize().into()
}

/// The message of a good verification.
fn judge(
    wanted: Wanted,
    target: &Target,
    objects: &Objects,
    keys: &TrustedKeys,
    now: Timestamp,
) -> Result<String, Failure> {
    let bad = |reason, message| Failure::transient(condition::SOURCE_VERIFIED, reason, message);
    let mut told = String::new();
    if wanted.tag {
        let name = target.reference.as_deref().unwrap_or_default().trim_start_matches("refs/tags/");
        let Some(object) = &objects.tag else {
            return Err(bad(INVALID_OBJECT, format!("cannot verify signature of tag '{name}' since it is not signed")));
        };
        let tag = format!("{name}@{}", target.tag.as_deref().unwrap_or_default());
        let signed = Signed::tag(object);
        if !signed.is_signed() {
            return Err(bad(INVALID_OBJECT, format!("cannot verify signature of tag '{tag}' since it is not signed")));
        }
        // Without these, an old signed tag could be pushed under a new name.
        for (field, expected) in [("tag", name), ("object", target.commit.as_str())] {
            let found = signature::header(object, field).unwrap_or_default();
            if found != expected {
                let message = format!("tag '{tag}' was signed for the {field} '{found}', not for '{expected}'");
                return Err(bad(INVALID_OBJECT, message));
            }
        }
        let key = keys
            .verify(&signed, now)
            .map_err(|error| bad(INVALID_TAG, format!("signature verification of tag '{tag}' failed: {error}")))?;
        told = format!("\n\t- tag '{tag}' with key '{key}'");
    }
    if wanted.commit {
        let commit = &target.commit;
        let key = keys.verify(&Signed::commit(&objects.commit), now).map_err(|error| {
            bad(INVALID_COMMIT, format!("signature verification of commit '{commit}' failed: {error}"))
        })?;
        told = format!("{told}\n\t- commit '{commit}' with key '{key}'");
    }
    Ok(format!("verified signature of{told}"))
}
