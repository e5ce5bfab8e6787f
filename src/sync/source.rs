//! The source a Kustomization follows, and what has to be ready before it.

use crate::api::condition::reason;
use crate::api::kustomize::v1::{Kustomization, SourceKind};
use crate::api::meta::Artifact;
use crate::controller::{Caches, conditions, dependencies as expressions};
use crate::source::foreign::ForeignError;
use crate::source::store::StoreError;
use kube::ResourceExt as _;

/// Identity of a source.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SourceId {
    /// Kind.
    pub kind: SourceKind,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl SourceId {
    /// Kind, namespace and name.
    pub fn parts(&self) -> (&str, &str, &str) {
        (self.kind.as_str(), &self.namespace, &self.name)
    }
}

/// `Kind/namespace/name`.
impl std::fmt::Display for SourceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.kind, self.namespace, self.name)
    }
}

/// Why a Kustomization cannot start; a change of what it waits for wakes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotYet {
    /// Reason of the conditions.
    pub reason: &'static str,
    /// What is waited for.
    pub message: String,
}

/// The source that `spec.sourceRef` names.
pub fn source_id(object: &Kustomization) -> SourceId {
    let reference = &object.spec.source_ref;
    let own = || object.namespace().unwrap_or_default();
    SourceId {
        kind: reference.kind,
        namespace: reference.namespace.clone().filter(|namespace| !namespace.is_empty()).unwrap_or_else(own),
        name: reference.name.clone(),
    }
}

/// The artifact to apply.
pub fn artifact(caches: &Caches, object: &Kustomization) -> Result<Artifact, NotYet> {
    let id = source_id(object);
    let not_yet = |message: String| NotYet { reason: reason::ARTIFACT_FAILED, message };
    macro_rules! artifact_in {
        ($cache:ident) => {
            match caches.$cache.get(&id.namespace, &id.name) {
                None => Err(not_yet(format!("Source '{id}' not found"))),
                Some(source) => source
                    .status
                    .as_ref()
                    .and_then(|status| status.artifact.clone())
                    .ok_or_else(|| not_yet(without_artifact(&id))),
            }
        };
    }
    match id.kind {
        SourceKind::GitRepository => artifact_in!(git_repositories),
        SourceKind::OciRepository => artifact_in!(oci_repositories),
        SourceKind::Bucket => artifact_in!(buckets),
        SourceKind::ExternalArtifact => artifact_in!(external_artifacts),
    }
}

fn without_artifact(id: &SourceId) -> String {
    format!("Source '{id}' has no artifact yet")
}

/// Why the artifact cannot be read.
pub fn unread(object: &Kustomization, error: &ForeignError) -> String {
    match error {
        // The source is about to say so itself, and the same is told once.
        ForeignError::Store(StoreError::Missing { .. }) => without_artifact(&source_id(object)),
        error => error.to_string(),
    }
}

/// Namespace and name of every Kustomization that has to be ready first.
pub fn dependencies(object: &Kustomization) -> impl Iterator<Item = (String, String)> {
    let own = object.namespace().unwrap_or_default();
    object.spec.depends_on.iter().map(move |dependency| {
        let namespace = dependency.namespace.clone().filter(|namespace| !namespace.is_empty());
        (namespace.unwrap_or_else(|| own.clone()), dependency.name.clone())
    })
}

/// Checks that every dependency is ready, and, when it follows the same source, at this revision;
/// or what its expression says instead.
pub fn check_dependencies(caches: &Caches, object: &Kustomization, revision: &str) -> Result<(), NotYet> {
    let not_ready = |message: String| NotYet { reason: reason::DEPENDENCY_NOT_READY, message };
    let conditions = object.spec.depends_on.iter().map(|dependency| dependency.ready_expr.as_deref());
    for ((namespace, name), condition) in dependencies(object).zip(conditions) {
        let Some(dependency) = caches.kustomizations.get(&namespace, &name) else {
            return Err(not_ready(format!("dependency '{namespace}/{name}' not found")));
        };
        if let Some(expression) = condition {
            let ready = expressions::ready_by(expression, object, dependency.as_ref());
            ready.map_err(|why| not_ready(format!("dependency '{namespace}/{name}' {why}")))?;
            continue;
        }
        if !is_ready(&dependency) {
            return Err(not_ready(format!("dependency '{namespace}/{name}' is not ready")));
        }
        let applied = dependency.status.as_ref().and_then(|status| status.last_applied_revision.as_deref());
        if source_id(&dependency) == source_id(object) && applied != Some(revision) {
            return Err(not_ready(format!("dependency '{namespace}/{name}' has not applied {revision} yet")));
        }
    }
    Ok(())
}

fn is_ready(object: &Kustomization) -> bool {
    let generation = object.metadata.generation;
    object.status.as_ref().is_some_and(|status| {
        status.observed_generation == generation && conditions::ready(&status.conditions, generation)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::kustomize::v1::KustomizationSpec;
    use crate::api::meta::DependencyReference;

    #[test]
    fn references_fall_back_to_the_own_namespace() {
        let mut object = Kustomization::new("apps", KustomizationSpec::default());
        object.metadata.namespace = Some("flux-system".to_owned());
        object.spec.source_ref.name = "releases".to_owned();
        object.spec.depends_on = vec![
            DependencyReference { name: "a".to_owned(), ..DependencyReference::default() },
            DependencyReference { name: "b".to_owned(), namespace: Some("x".to_owned()), ready_expr: None },
        ];
        assert_eq!(source_id(&object).to_string(), "GitRepository/flux-system/releases");
        let found: Vec<_> = dependencies(&object).collect();
        assert_eq!(found, [("flux-system".into(), "a".into()), ("x".into(), "b".into())]);
        object.spec.source_ref.namespace = Some("shared".to_owned());
        assert_eq!(source_id(&object).namespace, "shared");
        let missing = artifact(&Caches::default(), &object).unwrap_err();
        assert_eq!(missing.message, "Source 'GitRepository/shared/releases' not found");
        let lost = ForeignError::Store(StoreError::Missing { path: "gitrepository/shared/releases/1.tar.gz".into() });
        assert_eq!(unread(&object, &lost), "Source 'GitRepository/shared/releases' has no artifact yet");
        let gone = ForeignError::Gone("http://h/x".to_owned());
        assert_eq!(unread(&object, &gone), gone.to_string());
    }
}
