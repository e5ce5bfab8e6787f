//! Health by expression: `spec.healthCheckExprs`. Pure.

use serde_json::Value;

use super::{Health, group, text, unobserved_generation};
use crate::api::kustomize::CustomHealthCheck;
use crate::cel::{Expression, Variables, fields};

/// Conditions of an object that a message quotes.
const QUOTED: usize = 3;

/// Expressions for the kinds they are for.
#[derive(Clone, Debug, Default)]
pub struct Checks(Vec<Check>);

#[derive(Clone, Debug)]
struct Check {
    field: String,
    group: String,
    kind: Option<String>,
    in_progress: Option<Expression>,
    failed: Option<Expression>,
    current: Expression,
}

impl Checks {
    /// Reads the expressions; in words which field is wrong and where.
    pub fn read(given: &[CustomHealthCheck]) -> Result<Self, String> {
        let mut checks: Vec<Check> = Vec::with_capacity(given.len());
        for (number, one) in given.iter().enumerate() {
            let check = Check::read(format!("spec.healthCheckExprs[{number}]"), one)?;
            if let Some(other) = checks.iter().find(|other| other.group == check.group && other.kind == check.kind) {
                return Err(format!("{}: {} is for the same kinds", check.field, other.field));
            }
            checks.push(check);
        }
        Ok(Self(checks))
    }

    /// Whether there is an expression for objects of a kind.
    pub fn cover(&self, api_version: &str, kind: &str) -> bool {
        self.find(api_version.split_once('/').map_or("", |(group, _)| group), kind).is_some()
    }

    /// The health of an object by the expressions for its kind; `None` where there are none.
    pub fn assess(&self, object: &Value) -> Option<Health> {
        Some(self.find(group(object), text(object, "/kind"))?.assess(object))
    }

    /// An expression for the kind itself goes before one for its whole group.
    fn find(&self, group: &str, kind: &str) -> Option<&Check> {
        let of_group = || self.0.iter().filter(|check| check.group == group);
        let of_kind = of_group().find(|check| check.kind.as_deref() == Some(kind));
        of_kind.or_else(|| of_group().find(|check| check.kind.is_none()))
    }
}

impl Check {
    fn read(field: String, given: &CustomHealthCheck) -> Result<Self, String> {
        let read = |name: &str, text: &str| Expression::parse(text).map_err(|error| format!("{field}.{name}: {error}"));
        let optional = |name: &str, text: &Option<String>| {
            text.as_deref().filter(|text| !text.is_empty()).map(|text| read(name, text)).transpose()
        };
        Ok(Self {
            in_progress: optional("inProgress", &given.in_progress)?,
            failed: optional("failed", &given.failed)?,
            current: read("current", &given.current)?,
            group: given.api_version.split_once('/').map_or("", |(group, _)| group).to_owned(),
            kind: given.kind.clone().filter(|kind| !kind.is_empty()),
            field,
        })
    }

    fn assess(&self, object: &Value) -> Health {
        if let Some(unobserved) = unobserved_generation(object) {
            return unobserved;
        }
        let variables = fields(object);
        match self.first(&variables) {
            Ok(Some("current")) => Health::Current,
            Ok(Some("failed")) => Health::Failed(self.said("failed holds", object)),
            Ok(Some(name)) => Health::InProgress(self.said(&format!("{name} holds"), object)),
            Ok(None) => Health::InProgress(self.said("current does not hold yet", object)),
            Err(error) => Health::InProgress(format!("{}{error}", self.field)),
        }
    }

    /// The first expression that holds, in the order that Flux gives them.
    fn first(&self, variables: &Variables) -> Result<Option<&'static str>, String> {
        let all = [("inProgress", self.in_progress.as_ref()), ("failed", self.failed.as_ref())];
        let all = all.into_iter().chain([("current", Some(&self.current))]);
        for (name, expression) in all.filter_map(|(name, expression)| Some((name, expression?))) {
            if expression.holds(variables).map_err(|error| format!(".{name} gives no result: {error}"))? {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    /// What an expression says, with what the object itself says of its state.
    fn said(&self, what: &str, object: &Value) -> String {
        let conditions = object.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
        let shown: Vec<String> = conditions
            .take(QUOTED)
            .map(|condition| {
                let words: Vec<&str> = ["/reason", "/message"]
                    .iter()
                    .map(|field| text(condition, field))
                    .filter(|w| !w.is_empty())
                    .collect();
                let why = if words.is_empty() { String::new() } else { format!(" ({})", words.join(": ")) };
                format!("{}={}{why}", text(condition, "/type"), text(condition, "/status"))
            })
            .collect();
        let shown = if shown.is_empty() { String::new() } else { format!("; {}", shown.join(", ")) };
        format!("{}.{what}{shown}", self.field)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn checks(given: &Value) -> Result<Checks, String> {
        let given: Vec<CustomHealthCheck> = serde_json::from_value(given.clone()).expect("checks");
        Checks::read(&given)
    }

    fn sealed(generation: i64, status: &Value) -> Value {
        json!({"apiVersion": "bitnami.com/v1alpha1", "kind": "SealedSecret", "metadata": {"generation": generation}, "status": status})
    }

    #[test]
    fn expressions_decide_in_flux_s_order() {
        let synced =
            |status: &str| format!("status.conditions.filter(e, e.type == 'Synced').all(e, e.status == '{status}')");
        let checks = checks(&json!([{"apiVersion": "bitnami.com/v1alpha1", "kind": "SealedSecret",
            "inProgress": "status.conditions.exists(e, e.type == 'Busy')", "failed": synced("False"), "current": synced("True")}]))
        .expect("good ones");
        let with = |type_: &str, status: &str| json!({"observedGeneration": 2, "conditions": [{"type": type_, "status": status, "reason": "R", "message": "m"}]});
        let progress = |words: &str| Health::InProgress(words.to_owned());
        for (object, wanted) in [
            (sealed(2, &with("Synced", "True")), Health::Current),
            (
                sealed(2, &with("Synced", "False")),
                Health::Failed("spec.healthCheckExprs[0].failed holds; Synced=False (R: m)".to_owned()),
            ),
            (sealed(2, &with("Busy", "")), progress("spec.healthCheckExprs[0].inProgress holds; Busy= (R: m)")),
            (
                sealed(2, &with("Synced", "Unknown")),
                progress("spec.healthCheckExprs[0].current does not hold yet; Synced=Unknown (R: m)"),
            ),
            (sealed(3, &with("Synced", "True")), progress("generation 3 is not observed by its controller yet (at 2)")),
            (
                sealed(2, &json!({})),
                progress("spec.healthCheckExprs[0].inProgress gives no result: column 8: no such key: 'conditions'"),
            ),
        ] {
            assert_eq!(checks.assess(&object), Some(wanted), "{object}");
        }
    }

    #[test]
    fn a_kind_goes_before_its_group_and_the_version_does_not_count() {
        let checks = checks(&json!([
            {"apiVersion": "a.io/v1", "current": "spec.group"},
            {"apiVersion": "a.io/v1", "kind": "One", "current": "spec.kind"},
        ]))
        .expect("good ones");
        let object = |group: &str, kind: &str| json!({"apiVersion": format!("{group}/v2"), "kind": kind, "spec": {"group": true, "kind": false}});
        assert_eq!(checks.assess(&object("a.io", "Other")), Some(Health::Current));
        assert!(matches!(checks.assess(&object("a.io", "One")), Some(Health::InProgress(_))));
        assert_eq!(checks.assess(&object("b.io", "One")), None);
        assert!(checks.cover("a.io/v3", "One") && !checks.cover("v1", "One"));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let one = |field: &str, text: &str| {
            let mut check = json!({"apiVersion": "a.io/v1", "kind": "One", "current": "true"});
            check[field] = json!(text);
            checks(&json!([{"apiVersion": "b.io/v1", "current": "true"}, check])).err()
        };
        assert_eq!(one("failed", ""), None);
        for (field, text, said) in [
            ("current", "", "spec.healthCheckExprs[1].current: column 1: expected an expression, found the end"),
            ("failed", "status.", "spec.healthCheckExprs[1].failed: column 8: expected a field"),
            ("inProgress", "a ==", "spec.healthCheckExprs[1].inProgress: column 5: expected an expression"),
        ] {
            let error = one(field, text).expect("an error");
            assert!(error.starts_with(said), "{error}");
        }
        let twice = json!([{"apiVersion": "a.io/v1", "current": "true"}, {"apiVersion": "a.io/v2", "current": "true"}]);
        let error = checks(&twice).expect_err("twice");
        assert_eq!(error, "spec.healthCheckExprs[1]: spec.healthCheckExprs[0] is for the same kinds");
    }
}
