//! One post-renderer by the kustomize binary, in a folder of its own.

use std::borrow::Cow;
use std::path::Path;

use serde_json::{Value, json};

use super::workplace::{private_dir, private_file};
use crate::api::helm::v2::Kustomize;
use crate::api::kustomize::Patch;
use crate::process::Command;
use crate::redact::{self, Redactor};
use crate::yaml;

/// The rendered objects, as the kustomization names them.
const INPUT: &str = "helm-output.yaml";

/// Bytes of kustomize's words that a message keeps.
const MESSAGE_LIMIT: usize = 1024;

/// What helps where kustomize says something.
const HINTS: [(&str, &str); 2] = [
    (
        "already registered id",
        "the chart renders that object twice: where one of them is a hook, set spec.postRenderStrategy to separate or nohooks",
    ),
    ("[noNs]\": no matches for Id", "a patch without a target must name the object's namespace where the chart does"),
];

/// Runs a step on a stream of objects below the private folder `parent`; what is wrong in words.
pub async fn run(program: &Path, parent: &Path, step: &Kustomize, stream: &str) -> Result<String, String> {
    let folder = private_dir(parent).map_err(|error| error.to_string())?;
    let write = |name: &str, bytes: &[u8]| {
        private_file(&folder.path().join(name), bytes).map_err(|error| format!("{name}: {error}"))
    };
    write(INPUT, stream.as_bytes())?;
    write("kustomization.yaml", kustomization(step).to_string().as_bytes())?;
    let command = Command::new(program).arg("build").arg(folder.path());
    let output = Box::pin(command.run()).await.map_err(|error| error.to_string())?;
    if !output.success() {
        return Err(explained(step, &output.stderr));
    }
    String::from_utf8(output.stdout).map_err(|error| format!("its output is no text: {error}"))
}

fn kustomization(step: &Kustomize) -> Value {
    json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [INPUT],
        "patches": step.patches,
        "images": step.images,
        "sortOptions": {"order": "fifo"},
    })
}

/// Kustomize's words, and what helps where that is known.
fn explained(step: &Kustomize, stderr: &str) -> String {
    let mut words = words(&step.patches, stderr);
    for (begin, hint) in HINTS {
        if stderr.contains(begin) && !words.starts_with("patches[") {
            words.push_str("; ");
            words.push_str(hint);
        }
    }
    words
}

/// Kustomize's words, or those about a patch that is no YAML where there is one: kustomize quotes
/// all of it, but does not say where it is wrong. Nothing that a patch sets is among them.
pub(crate) fn words(patches: &[Patch], stderr: &str) -> String {
    for (index, patch) in patches.iter().enumerate() {
        if let Err(error) = yaml::parse(&patch.patch) {
            return format!("patches[{index}]: the patch cannot be read: {error}");
        }
    }
    let said = stderr.trim();
    let said = said.rfind("Error: ").map_or(said, |at| &said[at + "Error: ".len()..]);
    let clean = redactor(patches).text(&without_quote(said)).into_owned();
    redact::bounded(&clean, MESSAGE_LIMIT).into_owned()
}

/// Kustomize's words without the whole patch and its target, which it puts before the reason.
fn without_quote(said: &str) -> Cow<'_, str> {
    let quote = said.split_once(" with config: `").and_then(|(what, rest)| Some((what, rest.split_once("`: ")?.1)));
    quote.map_or(Cow::Borrowed(said), |(what, why)| Cow::Owned(format!("{what}: {why}")))
}

/// Knows what the patches set: that may be secret, and kustomize quotes it.
fn redactor(patches: &[Patch]) -> Redactor {
    let mut redactor = Redactor::default();
    for patch in patches {
        patch.patch.lines().filter(|line| !line.trim_end().ends_with(':')).for_each(|line| redactor.add(line));
        match yaml::parse(&patch.patch) {
            Ok(Value::Array(operations)) => {
                operations
                    .iter()
                    .filter_map(|operation| operation.get("value"))
                    .for_each(|set| add(&mut redactor, set));
            }
            Ok(Value::Object(fields)) => {
                // What names the object is needed to find the mistake.
                let named = |key: &str| matches!(key, "apiVersion" | "kind" | "metadata");
                fields.iter().filter(|(key, _)| !named(key)).for_each(|(_, set)| add(&mut redactor, set));
                let metadata = fields.get("metadata");
                ["labels", "annotations"]
                    .iter()
                    .filter_map(|key| metadata?.get(key))
                    .for_each(|set| add(&mut redactor, set));
            }
            _ => {}
        }
    }
    redactor
}

fn add(redactor: &mut Redactor, value: &Value) {
    match value {
        Value::String(text) => redactor.add(text),
        Value::Number(number) => redactor.add(&number.to_string()),
        Value::Array(items) => items.iter().for_each(|item| add(redactor, item)),
        Value::Object(entries) => entries.values().for_each(|entry| add(redactor, entry)),
        Value::Null | Value::Bool(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_patch_sets_is_not_shown() {
        let said = |patch: &str, words: &str| explained(&step(json!({"patches": [{"patch": patch}]})), words);
        let quote = "Error: trouble configuring builtin PatchTransformer with config: `\npatch: |-\n  a: hunter2\n  kind: Service\ntarget:\n  kind: (\n`: unable to parse SM or JSON patch from [patch: \"a: hunter2\\nkind: Service\"]";
        assert_eq!(
            said("a: hunter2\nkind: Service", quote),
            "trouble configuring builtin PatchTransformer: unable to parse SM or JSON patch from [patch: \"*****\\n*****\"]"
        );
        let patch = "kind: Service\nmetadata: {name: front, labels: {a: hunter4}}\nspec: {b: [hunter2, 7654321]}";
        assert_eq!(
            said(patch, "Error: Service front: node contents:\nhunter2 7654321 hunter4"),
            "Service front: node contents:\n***** ***** *****"
        );
        let operations = "- {op: add, path: /data/x, value: {y: hunter2}}";
        assert_eq!(said(operations, "Error: missing path /data/x: hunter2"), "missing path /data/x: *****");
    }

    fn step(value: Value) -> Kustomize {
        serde_json::from_value(value).expect("a step")
    }

    #[test]
    fn a_step_becomes_a_kustomization() {
        let value = json!({
            "patches": [{"patch": "kind: X", "target": {"kind": "Deployment", "labelSelector": "a=b"}}],
            "images": [{"name": "nginx", "newName": "other", "newTag": "2", "digest": "sha256:0"}],
        });
        let found = kustomization(&step(value.clone()));
        assert_eq!((&found["patches"], &found["images"]), (&value["patches"], &value["images"]));
        assert_eq!(found["resources"], json!(["helm-output.yaml"]));
    }

    #[test]
    fn failures_are_said_in_few_words() {
        let good = step(json!({"patches": [{"patch": "a: 1"}]}));
        assert_eq!(explained(&good, "# Warning: x\nError: no matches for Id\n"), "no matches for Id");
        let elsewhere = explained(
            &good,
            "Error: no resource matches strategic merge patch \"X.v1.[noGrp]/ui.[noNs]\": no matches for Id X.v1.[noGrp]/ui.[noNs]",
        );
        assert!(!elsewhere.contains("already") && elsewhere.ends_with("where the chart does"), "{elsewhere}");
        let twice = explained(&good, "Error: may not add resource with an already registered id: Namespace.v1/b");
        assert!(twice.ends_with("separate or nohooks"), "{twice}");
        assert!(explained(&good, &"x".repeat(5000)).len() < 1200);
        let bad = step(json!({"patches": [{"patch": "a: 1"}, {"patch": "a: [1\nb: secret"}]}));
        let said = explained(&bad, "Error: trouble configuring builtin PatchTransformer");
        assert!(said.starts_with("patches[1]: the patch cannot be read: line 2"), "{said}");
    }

    #[tokio::test]
    async fn a_missing_kustomize_is_named_and_nothing_stays_behind() {
        let folder = tempfile::tempdir().expect("a directory");
        let error = run(Path::new("/no/kustomize"), folder.path(), &step(json!({})), "").await.expect_err("missing");
        assert!(error.contains("/no/kustomize") && error.contains("install it"), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).expect("a directory").count(), 0);
    }
}
