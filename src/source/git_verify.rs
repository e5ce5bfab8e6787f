//! `spec.verify` of a `GitRepository`: the signatures of a commit and of the tag that led to it.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::ByteString;

use super::git_repository::git_failure;
use super::outcome::{Failure, tell_verified};
use super::proofs::{Proof, Proofs};
use crate::api::condition::{self, reason};
use crate::api::source::v1::{GitRepository, GitRepositoryStatus, GitRepositoryVerification, GitVerificationMode};
use crate::controller::conditions;
use crate::controller::{Context, namespaced_name};
use crate::git::mirror::Objects;
use crate::git::signature::{self, Signed, TrustedKeys};
use crate::git::{Mirror, Target};

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

/// Verifies what `spec.verify` asks for, if it does, and writes `SourceVerified`.
pub async fn verify(
    context: &Context,
    proofs: &Proofs,
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
    if proofs.has(object, proof) && conditions::is_true(&status.conditions, condition::SOURCE_VERIFIED) {
        return Ok(());
    }
    let wanted = Wanted::of(verification.mode);
    let tag = target.tag.as_deref().filter(|_| wanted.tag);
    if wanted.tag && !target.reference.as_deref().is_some_and(is_tag) {
        let message = "cannot verify tag object's signature if a tag reference is not specified";
        return Err(Failure::terminal(condition::SOURCE_VERIFIED, reason::INVALID_VERIFICATION_MODE, message));
    }
    let objects = mirror.objects(target, tag, timeout).await.map_err(|error| git_failure(&error, &object.spec.url))?;
    let now = Timestamp::now();
    let message = judge(wanted, target, &objects, &TrustedKeys::from_secret(&data), now)?;
    tell_verified(&mut status.conditions, &message, object.metadata.generation, now);
    status.source_verification_mode = Some(told(verification.mode).to_owned());
    proofs.keep(object, proof);
    Ok(())
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
fn proof(mode: GitVerificationMode, data: &BTreeMap<String, ByteString>, target: &Target) -> Proof {
    let revision = target.revision();
    let tag = target.tag.as_deref().unwrap_or_default();
    let named = [told(mode).as_bytes(), revision.as_bytes(), tag.as_bytes()];
    let keys = data.iter().flat_map(|(name, ByteString(value))| [name.as_bytes(), value.as_slice()]);
    Proof::of(named.into_iter().chain(keys))
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
            return Err(bad(
                reason::INVALID_GIT_OBJECT,
                format!("cannot verify signature of tag '{name}' since it is not signed"),
            ));
        };
        let tag = format!("{name}@{}", target.tag.as_deref().unwrap_or_default());
        let signed = Signed::tag(object);
        if !signed.is_signed() {
            return Err(bad(
                reason::INVALID_GIT_OBJECT,
                format!("cannot verify signature of tag '{tag}' since it is not signed"),
            ));
        }
        // Without these, an old signed tag could be pushed under a new name.
        for (field, expected) in [("tag", name), ("object", target.commit.as_str())] {
            let found = signature::header(object, field).unwrap_or_default();
            if found != expected {
                let message = format!("tag '{tag}' was signed for the {field} '{found}', not for '{expected}'");
                return Err(bad(reason::INVALID_GIT_OBJECT, message));
            }
        }
        let key = keys.verify(&signed, now).map_err(|error| {
            bad(reason::INVALID_TAG_SIGNATURE, format!("signature verification of tag '{tag}' failed: {error}"))
        })?;
        told = format!("\n\t- tag '{tag}' with key '{key}'");
    }
    if wanted.commit {
        let commit = &target.commit;
        let key = keys.verify(&Signed::commit(&objects.commit), now).map_err(|error| {
            bad(
                reason::INVALID_COMMIT_SIGNATURE,
                format!("signature verification of commit '{commit}' failed: {error}"),
            )
        })?;
        told = format!("{told}\n\t- commit '{commit}' with key '{key}'");
    }
    Ok(format!("verified signature of{told}"))
}
