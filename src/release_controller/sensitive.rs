//! What of a release's values must never be shown: everything that comes from a Secret.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::redact::Redactor;
use crate::values::{Content, FetchedReference};
use crate::yaml;

/// A redactor that knows every text and number that Secrets contribute, also as base64, which is
/// how a rendered Secret shows them.
pub fn redactor(fetched: &[FetchedReference]) -> Redactor {
    let mut redactor = Redactor::default();
    for reference in fetched.iter().filter(|reference| reference.origin.kind == "Secret") {
        match &reference.content {
            Content::AtPath { value, .. } => add(&mut redactor, value),
            Content::Mapping(text) => match yaml::parse(text) {
                Ok(values) => add_leaves(&mut redactor, &values),
                // It cannot be released either, but an error may quote it.
                Err(_) => {
                    for line in text.lines() {
                        add(&mut redactor, line);
                    }
                }
            },
        }
    }
    redactor
}

fn add_leaves(redactor: &mut Redactor, value: &Value) {
    match value {
        Value::String(text) => add(redactor, text),
        Value::Number(number) => add(redactor, &number.to_string()),
        Value::Array(items) => items.iter().for_each(|item| add_leaves(redactor, item)),
        Value::Object(entries) => entries.values().for_each(|entry| add_leaves(redactor, entry)),
        Value::Null | Value::Bool(_) => {}
    }
}

fn add(redactor: &mut Redactor, secret: &str) {
    redactor.add(secret);
    redactor.add(&STANDARD.encode(secret));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::merge::Origin;
    use crate::values::path::Reading;

    fn reference(kind: &'static str, content: Content) -> FetchedReference {
        let origin = Origin { kind, namespace: "a".to_owned(), name: "b".to_owned(), key: "c".to_owned() };
        FetchedReference { origin, content }
    }

    #[test]
    fn only_secrets_are_blanked_out_and_they_in_every_form() {
        let redactor = redactor(&[
            reference("Secret", Content::Mapping("db: {password: hunter2, ports: [54321], on: true}".to_owned())),
            reference("Secret", Content::Mapping("broken: {password: s3cret".to_owned())),
            reference(
                "Secret",
                Content::AtPath { path: "x".to_owned(), value: "at-a-path".to_owned(), reading: Reading::Typed },
            ),
            reference("ConfigMap", Content::Mapping("name: public".to_owned())),
        ]);
        let encoded = STANDARD.encode("hunter2");
        let text = format!("hunter2 54321 at-a-path {encoded} public true broken: {{password: s3cret");
        assert_eq!(redactor.text(&text), "***** ***** ***** ***** public true *****");
    }
}
