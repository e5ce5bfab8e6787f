//! Which objects a Kustomization has applied, in Flux's own notation.

use crate::api::meta::{ResourceInventory, ResourceRef};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// Identity of an object, whatever version of its kind a manifest uses.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId {
    /// Empty for a cluster-scoped object.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// API group; empty for the core group.
    pub group: String,
    /// Kind.
    pub kind: String,
}

impl ObjectId {
    /// The identity that a manifest states; missing parts are empty.
    pub fn of(object: &Value) -> Self {
        let text = |pointer: &str| {
            let value = object.pointer(pointer).and_then(Value::as_str);
            value.unwrap_or_default().to_owned()
        };
        Self {
            namespace: text("/metadata/namespace"),
            name: text("/metadata/name"),
            group: split_api_version(&text("/apiVersion")).0.to_owned(),
            kind: text("/kind"),
        }
    }

    /// `namespace_name_group_kind`; a colon in the name (RBAC) is written `__`.
    pub fn inventory_id(&self) -> String {
        let name = self.name.replace(':', "__");
        format!("{}_{name}_{}_{}", self.namespace, self.group, self.kind)
    }

    /// Reads what [`Self::inventory_id`] writes; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let (namespace, rest) = text.split_once('_')?;
        let (rest, kind) = rest.rsplit_once('_')?;
        let (name, group) = rest.rsplit_once('_')?;
        if name.is_empty() || kind.is_empty() {
            return None;
        }
        Some(Self {
            namespace: namespace.to_owned(),
            name: name.replace("__", ":"),
            group: group.to_owned(),
            kind: kind.to_owned(),
        })
    }
}

/// `Kind/namespace/name`, or `Kind/name` for a cluster-scoped object.
impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{}/{}", self.kind, self.name)
        } else {
            write!(f, "{}/{}/{}", self.kind, self.namespace, self.name)
        }
    }
}

/// Group and version of an `apiVersion`.
pub fn split_api_version(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

/// Objects with the version they were applied in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory(BTreeMap<ObjectId, String>);

impl Inventory {
    /// The inventory of a status; entries that nobody can read are left out.
    pub fn read(stored: Option<&ResourceInventory>) -> Self {
        let entries = stored.map_or(&[][..], |inventory| &inventory.entries);
        Self(entries.iter().filter_map(|entry| Some((ObjectId::parse(&entry.id)?, entry.v.clone()))).collect())
    }

    /// The form that a status holds, in a stable order.
    pub fn write(&self) -> ResourceInventory {
        let mut entries: Vec<_> =
            self.0.iter().map(|(id, version)| ResourceRef { id: id.inventory_id(), v: version.clone() }).collect();
        entries.sort_by(|a, b| a.id.cmp(&b.id));
        ResourceInventory { entries }
    }

    /// Adds an object, or moves it to another version.
    pub fn insert(&mut self, id: ObjectId, version: &str) {
        self.0.insert(id, version.to_owned());
    }

    /// The version an object was applied in; `None` when it is not in the inventory.
    pub fn version(&self, id: &ObjectId) -> Option<&str> {
        self.0.get(id).map(String::as_str)
    }

    /// Every object with its version, in a stable order.
    pub fn iter(&self) -> impl Iterator<Item = (&ObjectId, &str)> {
        self.0.iter().map(|(id, version)| (id, version.as_str()))
    }

    /// A copy of every object with its version, in a stable order.
    pub fn entries(&self) -> Vec<(ObjectId, String)> {
        self.0.iter().map(|(id, version)| (id.clone(), version.clone())).collect()
    }

    /// Whether it holds no object.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The number of objects.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// The `apiVersion` of a group and a version.
pub fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn ids_are_those_of_flux() {
        let table = [
            (
                json!({"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
                       "metadata": {"name": "api", "namespace": "api-default"}}),
                "api-default_api_helm.toolkit.fluxcd.io_HelmRelease",
                "HelmRelease/api-default/api",
            ),
            (
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "api"}}),
                "_api__Namespace",
                "Namespace/api",
            ),
            (
                json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
                       "metadata": {"name": "system:x:y"}}),
                "_system__x__y_rbac.authorization.k8s.io_ClusterRole",
                "ClusterRole/system:x:y",
            ),
        ];
        for (object, id, shown) in table {
            let found = ObjectId::of(&object);
            assert_eq!(found.inventory_id(), id);
            assert_eq!(ObjectId::parse(id), Some(found.clone()));
            assert_eq!(found.to_string(), shown);
        }
        for text in ["", "a", "a_b", "a_b_c", "____", "ns__g_K"] {
            assert_eq!(ObjectId::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn ids_survive_the_status(
            namespace in "([a-z0-9][a-z0-9-]{0,8})?",
            name in "[a-z0-9][a-z0-9.:-]{0,12}",
            group in "([a-z][a-z.]{0,8})?",
            kind in "[A-Z][A-Za-z]{0,8}",
        ) {
            let id = ObjectId { namespace, name, group, kind };
            let mut inventory = Inventory::default();
            inventory.insert(id, "v1");
            prop_assert_eq!(Inventory::read(Some(&inventory.write())), inventory);
        }
    }
}
