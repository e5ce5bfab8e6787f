//! Annotations and labels that people and other controllers set on our objects.

/// Asks for a reconcile now; any new value does.
pub const REQUESTED_AT: &str = "reconcile.fluxcd.io/requestedAt";
/// Asks for one helm action even if nothing changed; works if its value equals `REQUESTED_AT`'s.
pub const FORCE_AT: &str = "reconcile.fluxcd.io/forceAt";
/// Asks for the failure counters to start anew; works if its value equals `REQUESTED_AT`'s.
pub const RESET_AT: &str = "reconcile.fluxcd.io/resetAt";
/// On a `Kustomization`: the revision whose pruning may go beyond the ceiling. Ours.
pub const ALLOW_PRUNE: &str = "fairlead.dev/allow-prune";
/// Label on an applied object: name of the `Kustomization` that it belongs to.
pub const OWNER_NAME: &str = "kustomize.toolkit.fluxcd.io/name";
/// Label on an applied object: namespace of the `Kustomization` that it belongs to.
pub const OWNER_NAMESPACE: &str = "kustomize.toolkit.fluxcd.io/namespace";
/// Label, or annotation on an applied object, that switches a `Kustomization`'s hold on it off.
pub const RECONCILE: &str = "kustomize.toolkit.fluxcd.io/reconcile";
/// Label or annotation on an applied object that keeps it from being pruned.
pub const PRUNE: &str = "kustomize.toolkit.fluxcd.io/prune";
/// Label or annotation on an applied object that chooses how it is applied.
pub const SSA: &str = "kustomize.toolkit.fluxcd.io/ssa";
/// Label or annotation on an applied object that allows deleting and creating it anew.
pub const FORCE: &str = "kustomize.toolkit.fluxcd.io/force";
/// Annotation on a `HelmRelease` with drift detection: with the value `ENABLED`, fields that others added to its
/// objects are drift too. Ours; Flux has no such thing.
pub const DRIFT_ADDITIONS: &str = "fairlead.dev/drift-additions";
/// On a `HelmChart`: the Secret with the `OpenPGP` keys, one of which has to have signed the provenance file of its
/// package. Ours; Flux has no such thing.
pub const PROVENANCE_KEYS: &str = "fairlead.dev/provenance-keys";
/// Label or annotation on a manifest that switches variable substitution off in it.
pub const SUBSTITUTE: &str = "kustomize.toolkit.fluxcd.io/substitute";
/// Value that switches `RECONCILE`, `PRUNE` or `SUBSTITUTE` off.
pub const DISABLED: &str = "disabled";
/// Value that switches `FORCE` or `DRIFT_ADDITIONS` on.
pub const ENABLED: &str = "enabled";
/// Label on a Secret or `ConfigMap` whose changes wake the objects that refer to it.
pub const WATCH: &str = "reconcile.fluxcd.io/watch";
