//! Whether the releases that one depends on are ready, and whether they wait for each other.

use std::collections::HashSet;
use std::sync::Arc;

use kube::ResourceExt as _;

use crate::api::helm::v2::HelmRelease;
use crate::api::meta::DependencyReference;
use crate::controller::{conditions, dependencies};

/// What `spec.dependsOn` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dependencies {
    /// All are ready, or there are none.
    Ready,
    /// One is not, in words.
    NotReady(String),
    /// They wait for each other: the releases of the circle in order, from this one back to it.
    Cycle(Vec<String>),
    /// An expression cannot be read, in words; only another spec helps.
    Invalid(String),
}

/// Checks the dependencies of a release; `find` gives a release by namespace and name.
pub fn check<F>(object: &HelmRelease, find: F) -> Dependencies
where
    F: Fn(&str, &str) -> Option<Arc<HelmRelease>>,
{
    if let Some(why) = dependencies::invalid(&object.spec.depends_on) {
        return Dependencies::Invalid(why);
    }
    if let Some(cycle) = cycle(object, &find) {
        return Dependencies::Cycle(cycle);
    }
    let expressions = object.spec.depends_on.iter().map(|dependency| dependency.ready_expr.as_deref());
    let missing = named(object).zip(expressions).find_map(|((namespace, name), expression)| {
        let why = match (find(&namespace, &name), expression) {
            (None, _) => Err("does not exist".to_owned()),
            (Some(other), Some(expression)) => dependencies::ready_by(expression, object, other.as_ref()),
            (Some(other), None) if !is_ready(&other) => Err("is not ready".to_owned()),
            (Some(_), None) => Ok(()),
        };
        why.err().map(|why| format!("dependency '{namespace}/{name}' {why}"))
    });
    missing.map_or(Dependencies::Ready, Dependencies::NotReady)
}

/// Whether `object` names a release of that namespace and name as a dependency.
pub fn depends_on(object: &HelmRelease, namespace: &str, name: &str) -> bool {
    named(object).any(|named| named.0 == namespace && named.1 == name)
}

/// Namespace and name of every dependency.
fn named(object: &HelmRelease) -> impl Iterator<Item = (String, String)> {
    let own = object.namespace().unwrap_or_default();
    object.spec.depends_on.iter().map(move |dependency| place(dependency, &own))
}

fn place(dependency: &DependencyReference, own: &str) -> (String, String) {
    let namespace = dependency.namespace.clone().filter(|namespace| !namespace.is_empty());
    (namespace.unwrap_or_else(|| own.to_owned()), dependency.name.clone())
}

/// Those that have to be ready themselves. An expression may hold for one that is not: it makes
/// no circle.
fn awaited(object: &HelmRelease) -> impl Iterator<Item = (String, String)> {
    let own = object.namespace().unwrap_or_default();
    let plain = object.spec.depends_on.iter().filter(|dependency| dependency.ready_expr.is_none());
    plain.map(move |dependency| place(dependency, &own))
}

fn is_ready(object: &HelmRelease) -> bool {
    object.status.as_ref().is_some_and(|status| {
        status.observed_generation == object.metadata.generation && conditions::is_true(&status.conditions, "Ready")
    })
}

/// The circle that leads back to `object`, if there is one. Circles among others are theirs.
fn cycle<F>(object: &HelmRelease, find: &F) -> Option<Vec<String>>
where
    F: Fn(&str, &str) -> Option<Arc<HelmRelease>>,
{
    let start = (object.namespace().unwrap_or_default(), object.name_any());
    let mut seen = HashSet::new();
    let mut paths: Vec<Vec<(String, String)>> = awaited(object).map(|first| vec![first]).collect();
    while let Some(path) = paths.pop() {
        let last = path.last()?;
        if *last == start {
            let show = |(namespace, name): &(String, String)| format!("{namespace}/{name}");
            return Some(std::iter::once(&start).chain(&path).map(show).collect());
        }
        if !seen.insert(last.clone()) {
            continue;
        }
        let next = find(&last.0, &last.1);
        for following in next.iter().flat_map(|found| awaited(found)) {
            paths.push(path.iter().cloned().chain(std::iter::once(following)).collect());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn release(name: &str, depends_on: &[&str], ready: bool) -> HelmRelease {
        let depends_on: Vec<_> = depends_on.iter().map(|name| json!({"name": name})).collect();
        let status = if ready { "True" } else { "False" };
        let condition = json!({"type": "Ready", "status": status, "reason": "R", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        serde_json::from_value(json!({
            "apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
            "metadata": {"name": name, "namespace": "a", "generation": 1},
            "spec": {"interval": "1m", "dependsOn": depends_on},
            "status": {"observedGeneration": 1, "conditions": [condition]},
        }))
        .expect("a release")
    }

    fn checked(all: &[HelmRelease], name: &str) -> Dependencies {
        let find = |namespace: &str, name: &str| {
            let found = all.iter().find(|known| namespace == "a" && known.name_any() == name);
            found.cloned().map(Arc::new)
        };
        check(&find("a", name).expect("known"), find)
    }

    #[test]
    fn all_have_to_be_there_and_ready() {
        let mut old = release("old", &[], true);
        old.metadata.generation = Some(2);
        let all = [
            release("none", &[], false),
            release("good", &["ready"], false),
            release("ready", &[], true),
            release("bad", &["ready", "none"], false),
            release("lost", &["nobody"], false),
            release("early", &["old"], false),
            old,
        ];
        let not_ready = |text: &str| Dependencies::NotReady(text.to_owned());
        assert_eq!(checked(&all, "none"), Dependencies::Ready);
        assert_eq!(checked(&all, "good"), Dependencies::Ready);
        assert_eq!(checked(&all, "bad"), not_ready("dependency 'a/none' is not ready"));
        assert_eq!(checked(&all, "lost"), not_ready("dependency 'a/nobody' does not exist"));
        assert_eq!(checked(&all, "early"), not_ready("dependency 'a/old' is not ready"));
        assert!(depends_on(&all[1], "a", "ready") && !depends_on(&all[1], "b", "ready"));
    }

    #[test]
    fn a_dependency_may_be_in_another_namespace() {
        let mut object = release("front", &["back"], false);
        object.spec.depends_on[0].namespace = Some("b".to_owned());
        let far = |ready| {
            move |namespace: &str, name: &str| {
                (namespace == "b" && name == "back").then(|| Arc::new(release("back", &[], ready)))
            }
        };
        assert_eq!(check(&object, far(true)), Dependencies::Ready);
        assert_eq!(check(&object, far(false)), Dependencies::NotReady("dependency 'b/back' is not ready".to_owned()));
        assert!(depends_on(&object, "b", "back") && !depends_on(&object, "a", "back"));
        object.spec.depends_on[0].namespace = Some(String::new());
        assert!(depends_on(&object, "a", "back"), "an empty namespace is the own one");
    }

    #[test]
    fn an_expression_takes_the_place_of_readiness() {
        let with = |name: &str, expression: &str| {
            let mut object = release("self", &[name], false);
            object.spec.depends_on[0].ready_expr = Some(expression.to_owned());
            let all = [object, release("none", &[], false), release("back", &["self"], false)];
            checked(&all, "self")
        };
        assert_eq!(with("none", "dep.metadata.name == 'none' && self.metadata.name == 'self'"), Dependencies::Ready);
        let not_ready = |text: &str| Dependencies::NotReady(format!("dependency 'a/none' is not ready{text}"));
        assert_eq!(with("none", "dep.metadata.generation == 7"), not_ready(" according to readyExpr eval"));
        assert_eq!(
            with("none", "dep.spec.nothing"),
            not_ready(": its readyExpr gives no result: column 10: no such key: 'nothing'")
        );
        assert!(
            matches!(with("none", "dep."), Dependencies::Invalid(why) if why.contains("spec.dependsOn[0].readyExpr"))
        );
        assert_eq!(with("back", "true"), Dependencies::Ready, "an expression makes no circle");
    }

    #[test]
    fn a_circle_is_named_by_those_on_it_only() {
        let all = [
            release("one", &["two"], false),
            release("two", &["three", "one"], false),
            release("three", &["two"], false),
            release("self", &["self"], false),
            release("outside", &["one"], false),
        ];
        let circle = |names: &[&str]| Dependencies::Cycle(names.iter().map(|name| format!("a/{name}")).collect());
        assert_eq!(checked(&all, "one"), circle(&["one", "two", "one"]));
        assert_eq!(checked(&all, "three"), circle(&["three", "two", "three"]));
        assert_eq!(checked(&all, "self"), circle(&["self", "self"]));
        assert_eq!(checked(&all, "outside"), Dependencies::NotReady("dependency 'a/one' is not ready".to_owned()));
    }
}
