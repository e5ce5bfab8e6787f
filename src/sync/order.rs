//! In which order objects are applied, and, reversed, pruned.

use super::inventory::ObjectId;

/// A step of a pass; objects of one stage do not wait for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Namespaces.
    Namespaces,
    /// Custom resource definitions; the next stage waits until they are established.
    Definitions,
    /// Kinds that other objects name as their class (`StorageClass`, `IngressClass`, …).
    Classes,
    /// What workloads and releases read when they start: accounts, rights, configuration, sources.
    Foundations,
    /// Everything else.
    Rest,
    /// What judges or serves other objects, and would refuse them while its workload is not up.
    Gates,
}

impl Stage {
    /// Every stage, first to last.
    pub const ALL: [Self; 6] =
        [Self::Namespaces, Self::Definitions, Self::Classes, Self::Foundations, Self::Rest, Self::Gates];

    /// The stage of an object.
    pub fn of(id: &ObjectId) -> Self {
        match (id.group.as_str(), id.kind.as_str()) {
            ("", "Namespace") => Self::Namespaces,
            ("apiextensions.k8s.io", "CustomResourceDefinition") => Self::Definitions,
            (_, kind) if kind.ends_with("Class") => Self::Classes,
            ("", "ServiceAccount" | "ConfigMap" | "Secret" | "ResourceQuota" | "LimitRange")
            | ("rbac.authorization.k8s.io" | "source.toolkit.fluxcd.io", _) => Self::Foundations,
            ("admissionregistration.k8s.io" | "apiregistration.k8s.io", _) => Self::Gates,
            _ => Self::Rest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_object_has_its_stage() {
        let table = [
            ("", "Namespace", Stage::Namespaces),
            ("apiextensions.k8s.io", "CustomResourceDefinition", Stage::Definitions),
            ("storage.k8s.io", "StorageClass", Stage::Classes),
            ("", "Secret", Stage::Foundations),
            ("source.toolkit.fluxcd.io", "GitRepository", Stage::Foundations),
            ("rbac.authorization.k8s.io", "Role", Stage::Foundations),
            ("helm.toolkit.fluxcd.io", "HelmRelease", Stage::Rest),
            ("apps", "Deployment", Stage::Rest),
            ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration", Stage::Gates),
        ];
        for (group, kind, stage) in table {
            let id = ObjectId {
                namespace: String::new(),
                name: "a".to_owned(),
                group: group.to_owned(),
                kind: kind.to_owned(),
            };
            assert_eq!(Stage::of(&id), stage, "{kind}");
        }
        assert!(Stage::ALL.is_sorted());
    }
}
