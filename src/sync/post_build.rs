//! Variables in built manifests: each object is written as YAML, as kustomize would write it, and
//! read again after the substitution, so that a variable may become a number or a whole mapping.
//! Pure.

use super::manifest::Manifest;
use super::problem::Problem;
use super::substitute::{Substituted, Variables, concerns, substitute};
use crate::redact::Redactor;
use crate::values::go_yaml::encode_unfolded;
use crate::yaml;
use serde_json::{Map, Value};

/// Label or annotation that keeps variables out of an object when its value is `disabled`.
const SUBSTITUTE_KEY: &str = "kustomize.toolkit.fluxcd.io/substitute";

/// Substitutes variables in manifests. Those in which that is impossible are named, and are not
/// among the result; `redactor` learns what secret variables became.
pub fn substitute_all(
    manifests: Vec<Manifest>,
    variables: &Variables,
    redactor: &mut Redactor,
) -> (Vec<Manifest>, Vec<Problem>) {
    let (mut good, mut problems) = (Vec::new(), Vec::new());
    for mut manifest in manifests.into_iter().flat_map(Manifest::flatten) {
        let result = match manifest.object.as_object() {
            Some(object) if !is_disabled(&manifest.object) => substituted(object, variables),
            _ => Ok(None),
        };
        match result {
            Ok(None) => good.push(manifest),
            Ok(Some((object, found))) => {
                found.secrets.iter().for_each(|secret| redactor.add(secret));
                manifest.object = object;
                good.push(manifest);
            }
            Err(fault) => {
                let place = manifest.place(&fault.pointer);
                problems.push(Problem::unreadable(place, fault.reason).about(&manifest.id()).fix(fault.fix));
            }
        }
    }
    (good, problems)
}

fn is_disabled(object: &Value) -> bool {
    ["labels", "annotations"].iter().any(|map| object["metadata"][*map][SUBSTITUTE_KEY] == "disabled")
}

/// Why an object cannot be substituted in, and which field is at fault.
struct Fault {
    pointer: String,
    reason: String,
    fix: &'static str,
}

/// The object after substitution; none when there is nothing to substitute.
fn substituted(object: &Map<String, Value>, variables: &Variables) -> Result<Option<(Value, Substituted)>, Fault> {
    let text = encode_unfolded(object);
    if !concerns(&text) {
        return Ok(None);
    }
    let found = substitute(&text, variables).map_err(|error| {
        // A field's own error says more than that of the whole text, where a brace may end elsewhere.
        let mut reason = error;
        let mut fails = |leaf: &Value| {
            let failed = leaf.as_str().and_then(|leaf| substitute(leaf, variables).err());
            failed.map(|error| reason = error).is_some()
        };
        let pointer = first_leaf(object, &mut fails).unwrap_or_default();
        let hidden = object.get("kind").is_some_and(|kind| kind == "Secret") && reason.quotes();
        let reason =
            if hidden { "an expression in it is none that substitution knows".to_owned() } else { reason.to_string() };
        Fault { pointer, reason, fix: "write `$${` for text that is no variable" }
    })?;
    let mut value = yaml::parse(&found.text).map_err(|error| Fault {
        pointer: first_leaf(object, &mut |leaf| becomes_no_yaml(leaf, variables)).unwrap_or_default(),
        reason: format!("what the variables make of it is no YAML: {}", error.message),
        fix: "put the expression in a variable's quotes, `${quote}${x}${quote}` with quote: '\"', or change the value",
    })?;
    keep_text(object, &mut value, variables);
    Ok(Some((value, found)))
}

fn becomes_no_yaml(leaf: &Value, variables: &Variables) -> bool {
    let alone = encode_unfolded(&Map::from_iter([("x".to_owned(), leaf.clone())]));
    concerns(&alone) && !substitute(&alone, variables).is_ok_and(|found| yaml::parse(&found.text).is_ok())
}

/// Pointer of the first key or value with that property.
fn first_leaf(object: &Map<String, Value>, fits: &mut dyn FnMut(&Value) -> bool) -> Option<String> {
    object.iter().find_map(|(key, value)| {
        let pointer = format!("/{}", key.replace('~', "~0").replace('/', "~1"));
        if fits(&Value::String(key.clone())) {
            return Some(pointer);
        }
        leaf_within(value, pointer, fits)
    })
}

fn leaf_within(value: &Value, pointer: String, fits: &mut dyn FnMut(&Value) -> bool) -> Option<String> {
    match value {
        Value::Object(entries) => first_leaf(entries, fits).map(|inner| pointer + &inner),
        Value::Array(items) => {
            items.iter().enumerate().find_map(|(index, item)| leaf_within(item, format!("{pointer}/{index}"), fits))
        }
        leaf => fits(leaf).then_some(pointer),
    }
}

/// Maps whose values can only be text keep text, though a variable makes it look like a number.
fn keep_text(before: &Map<String, Value>, after: &mut Value, variables: &Variables) {
    let of_core = before.get("apiVersion").is_some_and(|version| version == "v1");
    let data = before.get("kind").is_some_and(|kind| kind == "ConfigMap" || kind == "Secret") && of_core;
    let maps: [(&[&str], bool); 4] = [
        (&["metadata", "labels"], true),
        (&["metadata", "annotations"], true),
        (&["data"], data),
        (&["stringData"], data),
    ];
    for (path, _) in maps.into_iter().filter(|(_, applies)| *applies) {
        let pointer = format!("/{}", path.join("/"));
        let texts = path.iter().skip(1).fold(before.get(path[0]), |map, key| map?.get(key)).and_then(Value::as_object);
        let Some(values) = after.pointer_mut(&pointer).and_then(Value::as_object_mut) else { continue };
        for (key, text) in texts.into_iter().flatten() {
            let Some(value) = values.get_mut(key).filter(|value| !value.is_string()) else { continue };
            if let Some(found) = text.as_str().and_then(|text| substitute(text, variables).ok())
                && !value.is_object()
                && !value.is_array()
            {
                *value = found.text.into();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::substitute::tests::variables;
    use super::*;
    use serde::Deserialize;
    use serde_json::json;

    #[derive(Deserialize)]
    struct Golden {
        variables: std::collections::BTreeMap<String, String>,
        objects: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        before: Value,
        after: Value,
    }

    /// What has to be text stays text with us.
    fn textual(after: &Value, ours: &Value) -> Value {
        let mut after = after.clone();
        for map in ["/data", "/metadata/labels"] {
            let Some(values) = after.pointer_mut(map).and_then(Value::as_object_mut) else { continue };
            for (key, value) in values.iter_mut().filter(|(_, value)| !value.is_string() && !value.is_object()) {
                let text = &ours.pointer(map).expect("the map")[key];
                assert!(text.is_string(), "{key}: {text}");
                if !value.is_null() {
                    let read = yaml::parse(text.as_str().expect("text")).expect("YAML");
                    assert!(read == *value || read.as_f64() == value.as_f64(), "{text}");
                }
                *value = text.clone();
            }
        }
        after
    }

    #[test]
    fn objects_become_what_flux_makes_of_them() {
        let golden: Golden = serde_json::from_str(include_str!("testdata/substituted.json")).unwrap();
        let variables = variables(golden.variables.iter().map(|(name, text)| (name.as_str(), text.as_str())));
        for Case { before, after } in golden.objects {
            let found = substituted(before.as_object().unwrap(), &variables);
            match found {
                Err(fault) => assert!(after.is_null(), "{before}: {}", fault.reason),
                Ok(None) => assert_eq!(before, after),
                Ok(Some((ours, _))) => assert_eq!(ours, textual(&after, &ours), "{before}"),
            }
        }
    }

    fn read(text: &str) -> Vec<Manifest> {
        let documents = yaml::documents(text).into_iter();
        documents.map(|one| Manifest::read("a.yaml".into(), one.lines, one.result.unwrap())).collect()
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line_and_stops_no_other() {
        let text = "kind: A\nmetadata: {name: a}\nspec:\n  x: 1\n  y: \"${a\"\n---\nkind: B\nmetadata: {name: b}\nx: ${a}\n---\n\
                    kind: C\nmetadata: {name: c}\nx:\n- ok\n- ${bad}\n";
        let mut variables = variables([("a", "1"), ("bad", "b: c: d")]);
        let mut redactor = Redactor::default();
        let (good, problems) = substitute_all(read(text), &variables, &mut redactor);
        assert_eq!(good.iter().map(|one| one.object["x"].clone()).collect::<Vec<_>>(), [json!(1)]);
        let told: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert!(told[0].starts_with("a.yaml:5: A/a: the expression `${a` has no closing brace"), "{told:?}");
        assert!(told[1].starts_with("a.yaml:15: C/c: what the variables make of it is no YAML"), "{told:?}");
        variables.strict = true;
        let (_, problems) = substitute_all(read("kind: A\nmetadata:\n  name: ${b}\n"), &variables, &mut redactor);
        assert!(problems[0].to_string().contains("a.yaml:3: ") && problems[0].to_string().contains("`b` is not set"));
    }

    #[test]
    fn a_secret_is_not_quoted() {
        let (_, problems) = substitute_all(
            read("kind: Secret\nmetadata: {name: a}\nstringData:\n  x: \"a${hunter2!\"\n"),
            &variables([("a", "b")]),
            &mut Redactor::default(),
        );
        let told = problems[0].to_string();
        assert!(told.starts_with("a.yaml:4: Secret/a: an expression in it") && !told.contains("hunter2"), "{told}");
    }

    #[test]
    fn objects_can_stay_out_of_it_also_within_lists() {
        let text = "kind: List\nitems:\n- kind: A\n  metadata: {labels: {kustomize.toolkit.fluxcd.io/substitute: disabled}}\n  \
                    x: ${a}\n- kind: B\n  metadata: {annotations: {kustomize.toolkit.fluxcd.io/substitute: disabled}}\n  \
                    x: ${a}\n- kind: C\n  x: ${a}\n---\njust ${a}\n";
        let (good, problems) = substitute_all(read(text), &variables([("a", "b")]), &mut Redactor::default());
        assert!(problems.is_empty());
        let found: Vec<_> = good.iter().map(|one| one.object.get("x").cloned()).collect();
        assert_eq!(found, [Some(json!("${a}")), Some(json!("${a}")), Some(json!("b")), None]);
        assert_eq!(good[3].object, json!("just ${a}"));
    }
}
