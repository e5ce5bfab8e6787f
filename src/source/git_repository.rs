//! `GitRepository`: polls the remote, and stores the tree of the wanted commit as an artifact.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::runtime::reflector::ObjectRef;
use tokio::sync::broadcast::error::RecvError;

use super::git_access::{Access, Accesses};
use super::git_verify;
use super::ignore::IgnoreRules;
use super::lifecycle::{self, Stage};
use super::outcome::{Failure, Stored, tell_outdated};
use super::proofs::Proofs;
use super::store::ArtifactStore;
use super::{archive, include};
use crate::api::annotation::REQUESTED_AT;
use crate::api::condition::{self, reason};
use crate::api::source::v1::{GitRepository, GitRepositorySpec, GitRepositoryStatus};
use crate::api::unsupported;
use crate::controller::wake::by_secrets;
use crate::controller::{Context, Reconciler, Requeue, namespaced_name};
use crate::git::argv::Scope;
use crate::git::output::Refs;
use crate::git::reference::{Reference, Target, Wanted};
use crate::git::{Cause, GitError, Mirror, Mirrors, ReferenceError, Selection};

/// Limit for one git call of an object that names none.
const DEFAULT_TIMEOUT: Duration = Duration::from_mins(1);

/// How old a shared poll may be for an object that this process sees for the first time.
const FRESH: Duration = Duration::from_millis(500);

/// The part of an interval for which a poll serves all objects of a remote. It is the shortest that
/// a jittered interval can be: any more, and an object that is alone would pass over every second
/// poll; any less, and objects that come one after another would make more than one an interval.
const SHARED: f64 = 0.95;

/// Reconciles every `GitRepository`.
pub struct GitRepositoryController {
    context: Context,
    store: Arc<ArtifactStore>,
    mirrors: Arc<Mirrors>,
    access: Accesses,
    proofs: Proofs,
    seen: Mutex<HashMap<(String, String), Input>>,
}

/// What of an object makes its next poll a fresh one when it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Input {
    generation: Option<i64>,
    requested_at: Option<String>,
}

impl GitRepositoryController {
    /// A controller that keeps its mirrors below the data directory.
    pub fn new(context: Context, store: Arc<ArtifactStore>) -> std::io::Result<Self> {
        let mirrors = Mirrors::open(&context.config.git, &context.config.data_dir.join("git"))?;
        let (access, proofs, seen) = (Accesses::default(), Proofs::default(), Mutex::default());
        Ok(Self { context, store, mirrors: Arc::new(mirrors), access, proofs, seen })
    }

    /// Objects whose remote moved, as another object's poll found, whose Secret changed, or that
    /// include another one which changed.
    pub fn triggers(&self) -> BoxStream<'static, ObjectRef<GitRepository>> {
        let mirrors = Arc::clone(&self.mirrors);
        let moved = stream::unfold(mirrors.moves(), |mut moves| async move {
            loop {
                match moves.recv().await {
                    Ok(key) => return Some((key, moves)),
                    // Those that were missed are seen at their own interval.
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                }
            }
        });
        let moved = moved.flat_map(move |key| {
            let users = mirrors.users_of(&key);
            stream::iter(users.into_iter().filter_map(|user| {
                let (namespace, name) = user.split_once('/')?;
                Some(ObjectRef::new(name).within(namespace))
            }))
        });
        let cache = &self.context.caches.git_repositories;
        let named = |object: &GitRepository, name: &str| secrets_of(&object.spec).any(|secret| secret == name);
        let secrets = by_secrets(&self.context.references, cache, named);
        stream::select_all([moved.boxed(), secrets, include::triggers(cache)]).boxed()
    }

    async fn work(&self, object: &GitRepository, status: &mut GitRepositoryStatus) -> Result<Stored, Failure> {
        let spec = &object.spec;
        let wanted = wanted(spec)?;
        let timeout = spec.timeout.map_or(DEFAULT_TIMEOUT, crate::api::meta::Duration::to_std);
        let paths = sparse_paths(spec)?;
        let access = self.access.of(&self.context, object, timeout).await?;
        let outcome = Box::pin(self.store_wanted(object, status, &access, (&wanted, &paths), timeout)).await;
        outcome.inspect_err(|failure| self.access.refused(&access, failure))
    }

    /// Stores what is wanted of the remote, unless it is stored.
    async fn store_wanted(
        &self,
        object: &GitRepository,
        status: &mut GitRepositoryStatus,
        access: &Access,
        (wanted, paths): (&Wanted, &[String]),
        timeout: Duration,
    ) -> Result<Stored, Failure> {
        let (spec, asked) = (&object.spec, Timestamp::now());
        let included = include::resolve(&self.context.caches.git_repositories, object)?;
        let user = user(object);
        let mirror = self.mirrors.assign(&user, &access.remote).map_err(|error| git_failure(&error, &spec.url))?;
        if !spec.recurse_submodules {
            self.mirrors.keep_submodules(&user, &BTreeSet::new());
        }
        let target = self.target(object, &mirror, wanted, timeout).await?;
        let origin = (mirror.as_ref(), &target);
        git_verify::verify(&self.context, &self.proofs, object, status, origin, timeout).await?;
        let revision = target.revision();
        let current = status.artifact.as_ref().filter(|artifact| artifact.revision == revision);
        if current.is_some() && is_as_wanted(status, spec) && include::is_current(status, &spec.include, &included) {
            return Ok(stored(&revision, None));
        }
        if current.is_none() {
            let message = format!("new upstream revision '{revision}'");
            tell_outdated(status, &message, object.metadata.generation, Timestamp::now());
        }
        // The rules are those of the whole tree, which more is added to where there is more.
        let whole = spec.include.is_empty() && !spec.recurse_submodules;
        let ignore = whole.then(|| spec.ignore.as_deref().unwrap_or_default());
        let selection = Selection { paths, submodules: spec.recurse_submodules, ignore };
        let export = self.mirrors.checkout(&user, (&access.remote, &mirror), &target, selection, timeout).await;
        let export = export.map_err(|error| git_failure(&error, &spec.url))?;
        include::copy(&self.store, &spec.include, &included, export.path()).await?;
        let rules = ignore_rules(export.path(), spec.ignore.as_deref()).await?;
        let file = format!("{}.tar.gz", target.commit);
        let owner = lifecycle::owner_of(object);
        let artifact = self
            .store
            .put_directory(&owner, &revision, &file, export.path(), rules)
            .await
            .map_err(|error| lifecycle::storage_failure(&error))?;
        let before = status.artifact.replace(artifact);
        // A repository's first commit was there before it.
        let committed = export.committed.filter(|_| before.is_some());
        let committed = committed.and_then(|second| Timestamp::from_second(second).ok());
        lifecycle::seen(&self.context, object, (before.as_ref(), &revision), committed, asked);
        status.included_artifacts = included;
        status.observed_ignore.clone_from(&spec.ignore);
        status.observed_recurse_submodules = spec.recurse_submodules;
        status.observed_include.clone_from(&spec.include);
        status.observed_sparse_checkout.clone_from(&spec.sparse_checkout);
        Ok(stored(&revision, Some(&export.subject)))
    }

    /// The commit to store: no poll for one that is named by its hash.
    async fn target(
        &self,
        object: &GitRepository,
        mirror: &Mirror,
        wanted: &Wanted,
        timeout: Duration,
    ) -> Result<Target, Failure> {
        let refs: Arc<Refs> = if let Wanted::Commit(_) = wanted {
            Arc::default()
        } else {
            let scope = if wanted.is_branch_or_tag() { Scope::BranchesAndTags } else { Scope::All };
            let refs = mirror.poll(scope, self.max_age(object), timeout).await;
            let refs = refs.map_err(|error| git_failure(&error, &object.spec.url))?;
            if refs.is_empty() {
                let message = "git repository is empty";
                return Err(Failure::transient(condition::FETCH_FAILED, reason::EMPTY_GIT_REPOSITORY, message));
            }
            refs
        };
        wanted.resolve(&refs).map_err(|error| reference_failure(&error, &object.spec.url))
    }

    /// How old a poll that this object shares may be: most of its interval, unless the object
    /// was changed or asked for, or a webhook told of a push.
    fn max_age(&self, object: &GitRepository) -> Duration {
        let input = Input {
            generation: object.metadata.generation,
            requested_at: object.annotations().get(REQUESTED_AT).cloned(),
        };
        // A poll that began after a webhook is fresh for all that it woke: they share one.
        let woken = self.context.wakes.last(object).map_or(Duration::MAX, |asked| asked.elapsed());
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let max_age = match seen.insert(namespaced_name(object), input.clone()) {
            Some(before) if before == input => object.spec.interval.to_std().mul_f64(SHARED),
            // After a restart, objects of one remote share a poll. A new or changed one has to see
            // what was pushed before it.
            None if object.status.as_ref().is_some_and(|status| status.artifact.is_some()) => FRESH,
            _ => Duration::ZERO,
        };
        max_age.min(woken)
    }

    fn forget(&self, object: &GitRepository) {
        self.mirrors.release(&user(object));
        self.proofs.forget(object);
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).remove(&namespaced_name(object));
    }
}

impl Reconciler for GitRepositoryController {
    type Object = GitRepository;

    async fn reconcile(&self, object: Arc<GitRepository>) -> Result<Requeue, kube::Error> {
        let object = match lifecycle::begin(&self.context, &self.store, object, |gone| self.forget(gone)).await? {
            Stage::Done(requeue) => return Ok(requeue),
            Stage::Work(object) => object,
        };
        let object = object.as_ref();
        let work = async |status: &mut _| self.work(object, status).await;
        let pass = lifecycle::work(&self.context, &self.store, object, work).await;
        let fields = unsupported::git_repository(&object.spec);
        let interval = object.spec.interval.to_std();
        lifecycle::end(&self.context, object, pass, &fields, interval).await
    }
}

/// The Secrets that a spec refers to.
fn secrets_of(spec: &GitRepositorySpec) -> impl Iterator<Item = &str> {
    let keys = spec.verify.as_ref().map(|verification| &verification.secret_ref);
    [spec.secret_ref.as_ref(), spec.proxy_secret_ref.as_ref(), keys]
        .into_iter()
        .flatten()
        .map(|reference| reference.name.as_str())
}

fn user(object: &GitRepository) -> String {
    let (namespace, name) = namespaced_name(object);
    format!("{namespace}/{name}")
}

fn wanted(spec: &GitRepositorySpec) -> Result<Wanted, Failure> {
    let fields = spec.r#ref.clone().unwrap_or_default();
    let reference = Reference {
        branch: fields.branch.as_deref().unwrap_or_default(),
        tag: fields.tag.as_deref().unwrap_or_default(),
        semver: fields.semver.as_deref().unwrap_or_default(),
        name: fields.name.as_deref().unwrap_or_default(),
        commit: fields.commit.as_deref().unwrap_or_default(),
    };
    Wanted::from_spec(reference).map_err(|error| reference_failure(&error, &spec.url))
}

/// The folders of `spec.sparseCheckout` as git names them; none stands for all of the tree.
fn sparse_paths(spec: &GitRepositorySpec) -> Result<Vec<String>, Failure> {
    let mut paths = Vec::new();
    for path in &spec.sparse_checkout {
        let Some(below) = include::inside(path) else {
            let message = format!("failed to sparse checkout directories: '{path}' leaves the repository");
            return Err(Failure::terminal(condition::FETCH_FAILED, reason::GIT_OPERATION_FAILED, message));
        };
        if below.as_os_str().is_empty() {
            return Ok(Vec::new());
        }
        paths.push(below.to_string_lossy().into_owned());
    }
    Ok(paths)
}

/// Whether the artifact was made with this part of the spec.
fn is_as_wanted(status: &GitRepositoryStatus, spec: &GitRepositorySpec) -> bool {
    status.observed_ignore == spec.ignore
        && status.observed_recurse_submodules == spec.recurse_submodules
        && status.observed_sparse_checkout == spec.sparse_checkout
}

fn stored(revision: &str, subject: Option<&str>) -> Stored {
    let told = subject.filter(|subject| !subject.is_empty()).unwrap_or(revision);
    Stored {
        reason: reason::SUCCEEDED,
        message: format!("stored artifact for revision '{revision}'"),
        event_reason: reason::NEW_ARTIFACT,
        event: format!("stored artifact for commit '{told}'"),
    }
}

fn reference_failure(error: &ReferenceError, url: &str) -> Failure {
    let url = crate::redact::redact(url);
    let message =
        format!("failed to checkout and determine revision: unable to resolve the reference of '{url}': {error}");
    if error.is_terminal() {
        Failure::terminal(condition::FETCH_FAILED, reason::GIT_OPERATION_FAILED, message)
    } else {
        Failure::transient(condition::FETCH_FAILED, reason::GIT_OPERATION_FAILED, message)
    }
}

/// What a failed git call means for the object.
pub(super) fn git_failure(error: &GitError, url: &str) -> Failure {
    if error.cause == Cause::DiskFull {
        let message = format!("no space left for the mirror of the repository: {error}");
        return Failure::transient(condition::STORAGE_OPERATION_FAILED, reason::DIR_CREATION_FAILED, message);
    }
    let reason = match error.cause {
        Cause::Authentication | Cause::HostKey => reason::AUTHENTICATION_FAILED,
        _ => reason::GIT_OPERATION_FAILED,
    };
    if error.cause == Cause::PathMissing {
        let message = format!("failed to sparse checkout directories: {error}");
        return Failure::transient(condition::FETCH_FAILED, reason::GIT_OPERATION_FAILED, message);
    }
    let url = crate::redact::redact(url);
    let message = format!("failed to checkout and determine revision: unable to fetch '{url}': {error}");
    Failure::transient(condition::FETCH_FAILED, reason, message)
}

async fn ignore_rules(tree: &Path, spec: Option<&str>) -> Result<IgnoreRules, Failure> {
    let (tree, spec) = (tree.to_owned(), spec.map(str::to_owned));
    let read = tokio::task::spawn_blocking(move || {
        archive::ignore_files(&tree).map(|files| IgnoreRules::for_source(&files, spec.as_deref()))
    });
    let failed = |error: String| {
        let message = format!("failed to load source ignore patterns from repository: {error}");
        Failure::transient(condition::STORAGE_OPERATION_FAILED, reason::SOURCE_IGNORE_ERROR, message)
    };
    match read.await {
        Ok(rules) => rules.map_err(|error| failed(error.to_string())),
        Err(died) => Err(failed(died.to_string())),
    }
}
