//! Which commit an object wants: `spec.ref`, its precedence, and the revision it is told as. Pure.

use super::output::{Refs, is_commit_hash};
use crate::source::version::{Range, Version, VersionError, highest};

/// The branch of an object that names nothing.
const DEFAULT_BRANCH: &str = "master";

/// Why a reference leads to no commit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Not a name that git accepts; only another spec helps.
    #[error("spec.ref.{field}: '{value}' is not a valid git reference name")]
    InvalidName {
        /// The field below `spec.ref`.
        field: &'static str,
        /// What it says.
        value: String,
    },
    /// Not a commit; only another spec helps.
    #[error("spec.ref.commit: '{0}' is not a full commit SHA (40 hexadecimal digits)")]
    InvalidCommit(String),
    /// Not a version range; only another spec helps.
    #[error("spec.ref.semver: {0}")]
    InvalidRange(VersionError),
    /// The remote has no such ref, now.
    #[error("couldn't find remote ref \"{0}\"")]
    Missing(String),
    /// No tag of the remote is in the range, now.
    #[error("no match found for semver: {0}")]
    NoMatch(String),
}

impl ReferenceError {
    /// Whether nothing but a change of the spec can help.
    pub fn is_terminal(&self) -> bool {
        matches!(self, Self::InvalidName { .. } | Self::InvalidCommit(_) | Self::InvalidRange(_))
    }
}

/// The fields of `spec.ref`; empty ones count as unset.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reference<'s> {
    /// `branch`.
    pub branch: &'s str,
    /// `tag`.
    pub tag: &'s str,
    /// `semver`.
    pub semver: &'s str,
    /// `name`.
    pub name: &'s str,
    /// `commit`.
    pub commit: &'s str,
}

/// What an object wants of its remote.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// One commit, whatever the refs say.
    Commit(Target),
    /// The commit that a ref leads to.
    Ref {
        /// Full name, e.g. `refs/heads/main`.
        name: String,
        /// Whether the revision tells the full name.
        full: bool,
    },
    /// The commit of the highest tag in a range.
    Semver {
        /// The range.
        range: Range,
        /// The range as written.
        text: String,
    },
}

/// A commit and the ref that led to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Full SHA-1.
    pub commit: String,
    /// Full name of the ref, if one led to it.
    pub reference: Option<String>,
    /// Whether the revision tells the ref's full name.
    pub full: bool,
    /// The tag object that the ref leads to, if it is an annotated tag.
    pub tag: Option<String>,
}

impl Target {
    /// As Flux writes it: `main@sha1:…`, `refs/heads/main@sha1:…` or `sha1:…`.
    pub fn revision(&self) -> String {
        let told = self
            .reference
            .as_deref()
            .and_then(|reference| if self.full { Some(reference) } else { reference.splitn(3, '/').nth(2) });
        told.map_or_else(|| format!("sha1:{}", self.commit), |name| format!("{name}@sha1:{}", self.commit))
    }
}

/// The commit hash at the end of a revision such as `main@sha1:…`.
pub fn commit_of_revision(revision: &str) -> &str {
    revision.rsplit_once(':').map_or(revision, |(_, hash)| hash)
}

impl Wanted {
    /// Reads `spec.ref`: commit before name before semver before tag before branch.
    pub fn from_spec(reference: Reference<'_>) -> Result<Self, ReferenceError> {
        let Reference { branch, tag, semver, name, commit } = reference;
        let valid = |field, value: &str| {
            if is_valid_name(value) {
                Ok(())
            } else {
                Err(ReferenceError::InvalidName { field, value: value.to_owned() })
            }
        };
        if !commit.is_empty() {
            return commit_target(commit, branch, name).map(Self::Commit);
        }
        if !name.is_empty() {
            valid("name", name.strip_suffix("^{}").unwrap_or(name))?;
            return Ok(Self::Ref { name: name.to_owned(), full: true });
        }
        if !semver.is_empty() {
            let range = Range::parse(semver).map_err(ReferenceError::InvalidRange)?;
            return Ok(Self::Semver { range, text: semver.to_owned() });
        }
        if !tag.is_empty() {
            valid("tag", tag)?;
            return Ok(Self::Ref { name: format!("refs/tags/{tag}"), full: false });
        }
        let branch = if branch.is_empty() { DEFAULT_BRANCH } else { branch };
        valid("branch", branch)?;
        Ok(Self::Ref { name: format!("refs/heads/{branch}"), full: false })
    }

    /// Whether branches and tags are all that it takes to resolve it.
    pub fn is_branch_or_tag(&self) -> bool {
        match self {
            Self::Commit(_) | Self::Semver { .. } => true,
            Self::Ref { name, .. } => name.starts_with("refs/heads/") || name.starts_with("refs/tags/"),
        }
    }

    /// The commit it leads to, given the remote's refs.
    pub fn resolve(&self, refs: &Refs) -> Result<Target, ReferenceError> {
        match self {
            Self::Commit(target) => Ok(target.clone()),
            Self::Ref { name, full } => {
                let commit = refs.commit(name).ok_or_else(|| ReferenceError::Missing(name.clone()))?;
                let tag = refs.tag_object(name).map(str::to_owned);
                Ok(Target { commit: commit.to_owned(), reference: Some(name.clone()), full: *full, tag })
            }
            Self::Semver { range, text } => {
                let tags: Vec<&str> = refs.tags().collect();
                let name = highest(&tags, range, |tag| Version::parse_full(tag).ok())
                    .map(|tag| format!("refs/tags/{tag}"))
                    .ok_or_else(|| ReferenceError::NoMatch(text.clone()))?;
                let commit = refs.commit(&name).ok_or_else(|| ReferenceError::Missing(name.clone()))?;
                let tag = refs.tag_object(&name).map(str::to_owned);
                Ok(Target { commit: commit.to_owned(), reference: Some(name), full: false, tag })
            }
        }
    }
}

fn commit_target(commit: &str, branch: &str, name: &str) -> Result<Target, ReferenceError> {
    let hash = commit.to_ascii_lowercase();
    if !is_commit_hash(&hash) {
        return Err(ReferenceError::InvalidCommit(commit.to_owned()));
    }
    let (reference, full) = match (name, branch) {
        ("", "") => (None, false),
        ("", branch) => (Some(format!("refs/heads/{branch}")), false),
        (name, _) => (Some(name.to_owned()), true),
    };
    Ok(Target { commit: hash, reference, full, tag: None })
}

/// The rules of `git check-ref-format`, as far as a remote's refs can follow them.
fn is_valid_name(name: &str) -> bool {
    let forbidden = |c: char| c.is_ascii_control() || matches!(c, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\');
    let is_lock = |part: &str| part.rsplit_once('.').is_some_and(|(_, extension)| extension == "lock");
    let element = |part: &str| !part.is_empty() && !part.starts_with('.') && !is_lock(part);
    !name.is_empty()
        && !name.starts_with('-')
        && !name.contains(forbidden)
        && !name.contains("..")
        && !name.contains("@{")
        && !name.ends_with('.')
        && name != "@"
        && name.split('/').all(element)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::output::parse_refs;

    const MAIN: &str = "1111111111111111111111111111111111111111";
    const OLD: &str = "2222222222222222222222222222222222222222";
    const NEW: &str = "3333333333333333333333333333333333333333";

    fn refs() -> Refs {
        parse_refs(
            format!(
                "{MAIN}\trefs/heads/main\n{OLD}\trefs/heads/master\n{OLD}\trefs/tags/v1.0.0\n\
                 {MAIN}\trefs/tags/v1.1.0\n{NEW}\trefs/tags/v1.1.0^{{}}\n{NEW}\trefs/pull/7/head\n\
                 {MAIN}\trefs/tags/2024.01.15\n"
            )
            .as_bytes(),
        )
    }

    fn revision(reference: Reference<'_>) -> Result<String, ReferenceError> {
        Wanted::from_spec(reference)?.resolve(&refs()).map(|target| target.revision())
    }

    #[test]
    fn each_field_leads_to_its_revision() {
        let none = Reference::default();
        for (reference, expected) in [
            (none, format!("master@sha1:{OLD}")),
            (Reference { branch: "main", ..none }, format!("main@sha1:{MAIN}")),
            (Reference { branch: "main", tag: "v1.0.0", ..none }, format!("v1.0.0@sha1:{OLD}")),
            (Reference { tag: "v1.0.0", semver: ">=1.0.0", ..none }, format!("v1.1.0@sha1:{NEW}")),
            (Reference { semver: "~1.0", ..none }, format!("v1.0.0@sha1:{OLD}")),
            (Reference { semver: "1.x", name: "refs/pull/7/head", ..none }, format!("refs/pull/7/head@sha1:{NEW}")),
            (Reference { name: "refs/tags/v1.1.0", ..none }, format!("refs/tags/v1.1.0@sha1:{NEW}")),
            (Reference { commit: NEW, ..none }, format!("sha1:{NEW}")),
            (Reference { branch: "main", commit: NEW, ..none }, format!("main@sha1:{NEW}")),
            (Reference { name: "refs/heads/main", commit: NEW, ..none }, format!("refs/heads/main@sha1:{NEW}")),
        ] {
            assert_eq!(revision(reference).unwrap(), expected, "{reference:?}");
        }
    }

    #[test]
    fn what_cannot_be_a_reference_is_terminal_and_what_is_not_there_is_not() {
        let none = Reference::default();
        for (reference, terminal) in [
            (Reference { commit: "STAGING_CHART_REF", ..none }, true),
            (Reference { commit: "abc123", ..none }, true),
            (Reference { semver: "not a range", ..none }, true),
            (Reference { branch: "two words", ..none }, true),
            (Reference { branch: "../up", ..none }, true),
            (Reference { branch: "-x", ..none }, true),
            (Reference { name: "/refs/heads/main", ..none }, true),
            (Reference { branch: "STAGING_CHART_REF", ..none }, false),
            (Reference { tag: "v9.9.9", ..none }, false),
            (Reference { semver: "9.x", ..none }, false),
        ] {
            let error = revision(reference).unwrap_err();
            assert_eq!(error.is_terminal(), terminal, "{reference:?}: {error}");
        }
    }

    #[test]
    fn branches_may_have_slashes() {
        let target =
            Target { commit: MAIN.into(), reference: Some("refs/heads/feature/a".into()), full: false, tag: None };
        assert_eq!(target.revision(), format!("feature/a@sha1:{MAIN}"));
        assert_eq!(commit_of_revision(&target.revision()), MAIN);
    }
}
