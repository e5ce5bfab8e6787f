//! One object of a folder, with the place where it stands.

use super::inventory::ObjectId;
use super::problem::Place;
use crate::yaml::Lines;
use serde_json::Value;
use std::sync::Arc;

/// A manifest as it was read.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// The object.
    pub object: Value,
    origin: Origin,
}

#[derive(Debug, Clone)]
struct Origin {
    file: Arc<str>,
    /// `None` for manifests that kustomize built: its output has no lines of the repository.
    lines: Option<Arc<Lines>>,
    /// JSON pointer of the object within its document (an item of a `List`).
    base: String,
}

impl Manifest {
    /// A document of a file.
    pub fn read(file: Arc<str>, lines: Lines, object: Value) -> Self {
        let origin = Origin { file, lines: Some(Arc::new(lines)), base: String::new() };
        Self { object, origin }
    }

    /// An object that was built from a folder; `file` is its `kustomization.yaml`.
    pub fn built(file: Arc<str>, object: Value) -> Self {
        let origin = Origin { file, lines: None, base: String::new() };
        Self { object, origin }
    }

    /// Another form of the object, in the same place.
    #[must_use]
    pub fn with_object(&self, object: Value) -> Self {
        Self { object, origin: self.origin.clone() }
    }

    /// Where a field of the object stands (JSON pointer; empty for the object itself).
    pub fn place(&self, pointer: &str) -> Place {
        let line = |lines: &Arc<Lines>| lines.of(&format!("{}{pointer}", self.origin.base));
        Place { file: Arc::clone(&self.origin.file), line: self.origin.lines.as_ref().map(line) }
    }

    /// Where a field stands that is written as a dotted path (`spec.ports[0].name`).
    pub fn place_of_field(&self, field: &str) -> Place {
        self.place(&pointer(&self.object, field))
    }

    /// The object's identity as the manifest states it.
    pub fn id(&self) -> ObjectId {
        ObjectId::of(&self.object)
    }

    /// The items of a `List`, or the manifest itself.
    pub fn flatten(mut self) -> Vec<Self> {
        let is_list = self.object["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
        let Some(Value::Array(items)) = self.object.get_mut("items").filter(|_| is_list).map(Value::take) else {
            return vec![self];
        };
        let item = |(index, object)| {
            let base = format!("{}/items/{index}", self.origin.base);
            let origin = Origin { base, ..self.origin.clone() };
            Self { object, origin }.flatten()
        };
        items.into_iter().enumerate().flat_map(item).collect()
    }
}

/// The JSON pointer of a dotted path; an item of a keyed list (`[name="web"]`) is looked up.
fn pointer(object: &Value, field: &str) -> String {
    let mut pointer = String::new();
    for part in field.split('.') {
        let (name, brackets) = part.split_once('[').unwrap_or((part, ""));
        if !name.is_empty() {
            pointer = format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
        }
        for inner in brackets.split('[').map(|text| text.trim_end_matches(']')).filter(|text| !text.is_empty()) {
            match index(object.pointer(&pointer), inner) {
                Some(index) => pointer = format!("{pointer}/{index}"),
                None => return pointer,
            }
        }
    }
    pointer
}

/// The index that `0` or `name="web"` names within a list.
fn index(list: Option<&Value>, inner: &str) -> Option<usize> {
    if let Ok(index) = inner.parse() {
        return Some(index);
    }
    let (key, value) = inner.split(',').next()?.split_once('=')?;
    let value: Value = serde_json::from_str(value).ok()?;
    list?.as_array()?.iter().position(|item| item.get(key) == Some(&value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml;

    fn read(text: &str) -> Manifest {
        let document = yaml::documents(text).remove(0);
        Manifest::read("a.yaml".into(), document.lines, document.result.unwrap())
    }

    #[test]
    fn fields_are_found_by_the_paths_that_the_api_server_prints() {
        let manifest = read(
            "kind: Pod\nmetadata:\n  tags: x\nspec:\n  containers:\n  - name: a\n    imag: x\n  - name: web\n    imag: y\n",
        );
        let table = [
            ("metadata.tags", 3),
            ("spec.containers[name=\"web\"].imag", 9),
            ("spec.containers[0].imag", 7),
            ("spec.containers[7].imag", 5),
            ("spec.nowhere.at", 4),
            ("", 1),
        ];
        for (field, line) in table {
            assert_eq!(manifest.place_of_field(field).line, Some(line), "{field}");
        }
    }

    #[test]
    fn lists_become_their_items_with_their_lines() {
        let list = read("apiVersion: v1\nkind: List\nitems:\n- kind: A\n- kind: List\n  items:\n  - kind: B\n");
        let found: Vec<_> =
            list.flatten().iter().map(|item| (item.object["kind"].clone(), item.place("").line)).collect();
        assert_eq!(found, [("A".into(), Some(4)), ("B".into(), Some(7))]);
        assert_eq!(read("kind: ConfigMapList\n").flatten().len(), 1);
    }
}
