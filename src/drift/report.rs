//! Drift in words: which object, which field, how it differs. Values of Secrets never show, nor
//! does anything else that is known to be one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::compare::{Change, FieldChange};
use super::objects::{display, is_secret};
use crate::redact::{MASK, Redactor, bounded};

/// Fields of one object that are shown; the others are counted.
const FIELDS: usize = 10;
/// Bytes of a value that are shown.
const VALUE: usize = 120;
/// Shorter data of a Secret (a port, `true`) is not looked for outside of it: blanking it
/// everywhere would make the text unreadable.
const SHORTEST_DATA: usize = 8;

/// An object that is not as the release made it.
#[derive(Clone, Debug, PartialEq)]
pub struct Drifted {
    /// As the release makes it, with the namespace that it lives in.
    pub object: Value,
    /// How it differs.
    pub finding: Finding,
}

/// How an object differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It does not exist.
    Gone,
    /// Some of its fields do; at least one.
    Changed(Vec<FieldChange>),
}

/// A redactor that also knows the data of the release's Secrets.
pub fn with_secrets(redactor: &Redactor, objects: &[Value]) -> Redactor {
    let mut redactor = redactor.clone();
    for object in objects.iter().filter(|object| is_secret(object)) {
        let data = |field: &str| object[field].as_object().into_iter().flat_map(|data| data.values());
        let encoded = data("data").filter_map(Value::as_str);
        let decoded = encoded.filter_map(|text| String::from_utf8(STANDARD.decode(text.trim()).ok()?).ok());
        let plain = data("stringData").filter_map(Value::as_str).map(str::to_owned);
        for secret in decoded.chain(plain).filter(|secret| secret.trim().len() >= SHORTEST_DATA) {
            redactor.add(&STANDARD.encode(&secret));
            redactor.add(&secret);
        }
    }
    redactor
}

/// What is found: one line an object, as Flux words it, and below it one line a field.
pub fn found(drifted: &[Drifted], redactor: &Redactor) -> String {
    let lines = drifted.iter().map(|one| {
        let name = display(&one.object);
        match &one.finding {
            Finding::Gone => format!("{name} removed"),
            Finding::Changed(fields) => {
                let count = |wanted: fn(&Change) -> bool| fields.iter().filter(|field| wanted(&field.change)).count();
                let additions = count(|change| matches!(change, Change::Missing { .. }));
                let changes = count(|change| matches!(change, Change::Different { .. }));
                let removals = count(|change| matches!(change, Change::Unwanted { .. }));
                let head = format!("{name} changed ({additions} additions, {changes} changes, {removals} removals)");
                with_fields(&head, fields, is_secret(&one.object), IS, redactor)
            }
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// What is set right: one line an object, as Flux words it, and below it one line a field.
pub fn corrected(drifted: &[&Drifted], redactor: &Redactor) -> String {
    let lines = drifted.iter().map(|one| {
        let name = display(&one.object);
        match &one.finding {
            Finding::Gone => format!("{name} created"),
            Finding::Changed(fields) => {
                with_fields(&format!("{name} configured"), fields, is_secret(&one.object), WAS, redactor)
            }
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The words between the values of a field.
type Tense = [&'static str; 2];
const IS: Tense = ["is", "should be"];
const WAS: Tense = ["was", "is"];

fn with_fields(head: &str, fields: &[FieldChange], secret: bool, tense: Tense, redactor: &Redactor) -> String {
    let mut lines = vec![head.to_owned()];
    for field in fields.iter().take(FIELDS) {
        let line = format!("  {}: {}", field.pointer, difference(&field.change, secret, tense, redactor));
        lines.push(redactor.text(&line).into_owned());
    }
    if fields.len() > FIELDS {
        lines.push(format!("  and {} more", fields.len() - FIELDS));
    }
    lines.join("\n")
}

fn difference(change: &Change, secret: bool, [before, after]: Tense, redactor: &Redactor) -> String {
    let shown = |value: &Value| shown(value, redactor);
    match change {
        Change::Missing { .. } if secret => "missing".to_owned(),
        Change::Different { .. } if secret => "changed".to_owned(),
        Change::Unwanted { .. } if secret => "added".to_owned(),
        Change::Missing { wanted } => format!("{before} missing, {after} {}", shown(wanted)),
        Change::Different { found, wanted } => format!("{before} {}, {after} {}", shown(found), shown(wanted)),
        Change::Unwanted { found } => format!("{before} {}, {after} absent", shown(found)),
    }
}

/// Redacted before it is written as JSON, which would hide a secret with a quote in it from the
/// redactor, and before it is cut, which would leave a part of one.
fn shown(value: &Value, redactor: &Redactor) -> String {
    let text = redacted(value, redactor).to_string();
    bounded(&redactor.text(&text), VALUE).into_owned()
}

fn redacted(value: &Value, redactor: &Redactor) -> Value {
    match value {
        Value::String(text) => redactor.text(text).into_owned().into(),
        Value::Number(number) if redactor.text(&number.to_string()) != number.to_string() => MASK.into(),
        Value::Array(items) => items.iter().map(|item| redacted(item, redactor)).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(key, value)| (redactor.text(key).into_owned(), redacted(value, redactor))).collect()
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn changed(object: Value, fields: Vec<(&str, Change)>) -> Drifted {
        let field = |(pointer, change): (&str, Change)| FieldChange { pointer: pointer.to_owned(), change };
        Drifted { object, finding: Finding::Changed(fields.into_iter().map(field).collect()) }
    }

    fn object(kind: &str) -> Value {
        json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "ui", "namespace": "web"}})
    }

    fn all(found: Value, wanted: Value) -> Vec<(&'static str, Change)> {
        vec![
            ("/data/a", Change::Different { found: found.clone(), wanted: wanted.clone() }),
            ("/data/b", Change::Missing { wanted }),
            ("/data/c", Change::Unwanted { found }),
        ]
    }

    #[test]
    fn drift_is_told_by_object_and_field() {
        let drifted = [
            changed(object("ConfigMap"), all(json!("x"), json!({"y": [1]}))),
            Drifted { object: object("Service"), finding: Finding::Gone },
        ];
        let redactor = Redactor::default();
        assert_eq!(
            found(&drifted, &redactor),
            "ConfigMap/web/ui changed (1 additions, 1 changes, 1 removals)\n  \
             /data/a: is \"x\", should be {\"y\":[1]}\n  \
             /data/b: is missing, should be {\"y\":[1]}\n  \
             /data/c: is \"x\", should be absent\n\
             Service/web/ui removed"
        );
        assert_eq!(
            corrected(&drifted.iter().collect::<Vec<_>>(), &redactor),
            "ConfigMap/web/ui configured\n  \
             /data/a: was \"x\", is {\"y\":[1]}\n  \
             /data/b: was missing, is {\"y\":[1]}\n  \
             /data/c: was \"x\", is absent\n\
             Service/web/ui created"
        );
    }

    #[test]
    fn a_secret_s_data_shows_nowhere() {
        let drifted = changed(object("Secret"), all(json!("Zm91bmQ="), json!("d2FudGVk")));
        let redactor = Redactor::default();
        let lines = "  /data/a: changed\n  /data/b: missing\n  /data/c: added";
        let head = "Secret/web/ui changed (1 additions, 1 changes, 1 removals)";
        assert_eq!(found(std::slice::from_ref(&drifted), &redactor), format!("{head}\n{lines}"));
        assert_eq!(corrected(&[&drifted], &redactor), format!("Secret/web/ui configured\n{lines}"));
    }

    #[test]
    fn what_is_known_to_be_secret_shows_nowhere_else_either() {
        let mut redactor = Redactor::default();
        redactor.add("pass\"word");
        redactor.add("54321");
        let mut secret = object("Secret");
        secret["data"] = json!({"t": STANDARD.encode("from-data"), "on": STANDARD.encode("true"), "bad": "%"});
        secret["stringData"] = json!({"u": "plain-text"});
        let redactor = with_secrets(&redactor, &[secret, json!({"kind": "ConfigMap", "data": {"t": "public-text"}})]);
        let value = json!({"a": "x pass\"word y", "b": 54321, "c": ["from-data", STANDARD.encode("from-data")],
            "plain-text": true, "d": "public-text"});
        let drifted = changed(object("ConfigMap"), vec![("/data/plain-text", Change::Missing { wanted: value })]);
        let text = found(&[drifted], &redactor);
        let shown =
            "{\"*****\":true,\"a\":\"x ***** y\",\"b\":\"*****\",\"c\":[\"*****\",\"*****\"],\"d\":\"public-text\"}";
        assert!(text.ends_with(&format!("\n  /data/*****: is missing, should be {shown}")), "{text}");
    }

    #[test]
    fn the_text_is_bounded_and_no_cut_shows_a_part_of_a_secret() {
        let mut redactor = Redactor::default();
        redactor.add("long-secret");
        let value = format!("{}long-secret", "x".repeat(VALUE - 4));
        let fields = (0..25).map(|_| ("/data/a", Change::Unwanted { found: json!(value) })).collect();
        let text = found(&[changed(object("ConfigMap"), fields)], &redactor);
        assert!(text.ends_with("\n  and 15 more"), "{text}");
        assert!(!text.contains("long"), "{text}");
        assert!(text.len() < 2500, "{}", text.len());
    }
}
