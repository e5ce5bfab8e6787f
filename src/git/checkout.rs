//! A commit's tree with its submodules, each from a mirror of its own.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::mirror::{Export, Mirror, Mirrors, Selection};
use super::output::{Cause, GitError};
use super::reference::Target;
use super::remote::Remote;
use super::submodule::{self, Submodule};

/// Submodules of one commit, those of submodules included: more than any person would make.
const MAX_SUBMODULES: usize = 500;

/// A submodule that is still to be put in its place.
struct Pending {
    parent: Remote,
    place: PathBuf,
    module: Submodule,
}

impl Mirrors {
    /// What is wanted of a commit of `remote`, whose mirror this is, for the object `user`.
    /// Submodules that lie outside of the wanted paths are not fetched.
    pub async fn checkout(
        &self,
        user: &str,
        (remote, mirror): (&Remote, &Mirror),
        target: &Target,
        selection: Selection<'_>,
        timeout: Duration,
    ) -> Result<Export, GitError> {
        let mut export = mirror.export(target, selection, timeout).await?;
        let mut mirrors = BTreeSet::new();
        let mut pending = pending_of(remote, &PathBuf::new(), std::mem::take(&mut export.submodules));
        let mut count = 0;
        while let Some(next) = pending.pop() {
            let place = export.path().join(&next.place);
            // An archive holds an empty folder for each submodule that is wanted.
            if !place.is_dir() {
                continue;
            }
            count += 1;
            if count > MAX_SUBMODULES {
                let message = format!("the repository has more than {MAX_SUBMODULES} submodules");
                return Err(GitError::new(Cause::Other, message));
            }
            let named = |error: GitError| GitError { message: told(&next, &error.message), ..error };
            let remote = remote_of(&next)?;
            let mirror = self.assign_submodule(user, &remote).map_err(named)?;
            mirrors.insert(mirror.key().clone());
            let target = Target { commit: next.module.commit.clone(), reference: None, full: false, tag: None };
            let selection = Selection { submodules: true, ..Selection::default() };
            let mut tree = mirror.export(&target, selection, timeout).await.map_err(named)?;
            pending.extend(pending_of(&remote, &next.place, std::mem::take(&mut tree.submodules)));
            fs::rename(tree.path(), &place)
                .map_err(|error| GitError::new(Cause::Other, told(&next, &error.to_string())))?;
        }
        self.keep_submodules(user, &mirrors);
        Ok(export)
    }
}

fn pending_of(parent: &Remote, below: &std::path::Path, modules: Vec<Submodule>) -> Vec<Pending> {
    let pending = |module: Submodule| {
        let place = below.join(module.place()?);
        Some(Pending { parent: parent.clone(), place, module })
    };
    modules.into_iter().filter_map(pending).collect()
}

fn remote_of(next: &Pending) -> Result<Remote, GitError> {
    let refused = |reason: &str| GitError::new(Cause::Other, told(next, reason));
    let url = submodule::resolve_url(next.parent.url(), &next.module.url)
        .ok_or_else(|| refused("its url leads to no http, https or ssh remote"))?;
    next.parent.submodule(&url).map_err(|error| refused(&error.to_string()))
}

fn told(next: &Pending, what: &str) -> String {
    let url = crate::redact::redact(&next.module.url);
    format!("submodule '{}' ({url}): {what}", next.place.display())
}
