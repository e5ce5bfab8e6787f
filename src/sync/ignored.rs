//! Fields of an object that a `Kustomization` leaves to others (`spec.ignore`). Pure.

use crate::drift::ignore::{Pointer, carry_over, remove};
use crate::kube_ext::apply::FIELD_MANAGER;
use crate::kube_ext::field_set::is_applied_by_another;
use serde_json::Value;

/// What to apply to an object that is there. A field that somebody else applies is left out, so that
/// it is theirs alone; any other keeps the value that it has, because the API server would remove
/// what its last owner leaves out.
pub fn without_ignored(manifest: &Value, live: &Value, ignored: &[&Pointer]) -> Value {
    let mut manifest = manifest.clone();
    let (theirs, ours): (Vec<&Pointer>, Vec<&Pointer>) =
        ignored.iter().partition(|pointer| is_applied_by_another(live, pointer, FIELD_MANAGER));
    carry_over(&mut manifest, live, &ours);
    remove(&mut live.clone(), &mut manifest, &theirs);
    manifest["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"].clone();
    manifest
}

/// The fields as the object has them: the texts of a Secret are stored, and applied, as its data.
pub fn as_stored(manifest: &Value, pointers: Vec<&Pointer>) -> Vec<Pointer> {
    let is_secret = manifest["apiVersion"] == "v1" && manifest["kind"] == "Secret";
    let stored = |pointer: &Pointer| {
        let mut pointer = pointer.clone();
        if let Some(first) = pointer.first_mut().filter(|first| is_secret && *first == "stringData") {
            "data".clone_into(first);
        }
        pointer
    };
    pointers.into_iter().map(stored).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pointer(path: &str) -> Pointer {
        path.split('/').skip(1).map(str::to_owned).collect()
    }

    #[test]
    fn the_texts_of_a_secret_are_its_data() {
        let (secret, map) = (json!({"apiVersion": "v1", "kind": "Secret"}), json!({"apiVersion": "v1", "kind": "Map"}));
        let (texts, data) = (pointer("/stringData/a"), pointer("/data/a"));
        assert_eq!(as_stored(&secret, vec![&texts, &data]), [data.clone(), data]);
        assert_eq!(as_stored(&map, vec![&texts]), [texts]);
    }

    #[test]
    fn what_others_apply_is_left_out_and_what_else_changed_stays() {
        let live = json!({
            "metadata": {"name": "a", "resourceVersion": "7", "managedFields": [
                {"manager": "vpa", "operation": "Apply", "fieldsV1": {"f:spec": {"f:containers": {
                    "k:{\"name\":\"app\"}": {"f:resources": {}}}}}},
                {"manager": "hand", "operation": "Update", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
            ]},
            "spec": {"replicas": 5, "containers": [
                {"name": "proxy"}, {"name": "app", "image": "a:1", "resources": {"cpu": 2}}]},
        });
        let manifest = json!({
            "metadata": {"name": "a"},
            "spec": {"replicas": 1, "paused": true, "containers": [
                {"name": "app", "image": "a:2", "resources": {"cpu": 1}}]},
        });
        let ignored = ["/spec/replicas", "/spec/paused", "/spec/containers/1/resources"].map(pointer);
        let expected = json!({
            "metadata": {"name": "a", "resourceVersion": "7"},
            "spec": {"replicas": 5, "containers": [{"name": "app", "image": "a:2"}]},
        });
        assert_eq!(without_ignored(&manifest, &live, &ignored.iter().collect::<Vec<_>>()), expected);
    }
}
