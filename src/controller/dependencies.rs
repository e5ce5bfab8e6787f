//! `spec.dependsOn[].readyExpr`, the same for every kind that has dependencies. Pure.

use serde::Serialize;

use crate::api::meta::DependencyReference;
use crate::cel::{Expression, Value, Variables};

/// How a message about a spec begins that only another spec can help.
pub const TERMINAL: &str = "Reconciliation failed terminally due to configuration error";

/// The variables of an expression: the object that depends, and the one it depends on.
const VARIABLES: [&str; 2] = ["self", "dep"];

/// The first expression that cannot be read, by its field and position in words.
pub fn invalid(depends_on: &[DependencyReference]) -> Option<String> {
    depends_on.iter().enumerate().find_map(|(number, dependency)| {
        let error = Expression::condition(dependency.ready_expr.as_deref()?, &VARIABLES).err()?;
        Some(format!("{TERMINAL}: spec.dependsOn[{number}].readyExpr: {error}"))
    })
}

/// Whether `dep` is ready for `own` by an expression; in words why not.
pub fn ready_by(expression: &str, own: &impl Serialize, dep: &impl Serialize) -> Result<(), String> {
    let variables: Variables = VARIABLES.iter().map(|name| (*name).to_owned()).zip([value(own), value(dep)]).collect();
    match Expression::parse(expression).and_then(|expression| expression.holds(&variables)) {
        Ok(true) => Ok(()),
        Ok(false) => Err("is not ready according to readyExpr eval".to_owned()),
        Err(error) => Err(format!("is not ready: its readyExpr gives no result: {error}")),
    }
}

fn value(object: &impl Serialize) -> Value {
    // An object that came as JSON goes back into it.
    Value::from(&serde_json::to_value(object).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_expression_sees_both_objects() {
        let (own, dep) = (json!({"spec": {"version": "1"}}), json!({"spec": {"version": "2"}}));
        let by = |expression: &str| ready_by(expression, &own, &dep);
        assert_eq!(by("self.spec.version != dep.spec.version"), Ok(()));
        assert_eq!(by("dep.spec.version == '1'"), Err("is not ready according to readyExpr eval".to_owned()));
        let error = by("dep.status.ready").expect_err("no status");
        assert_eq!(error, "is not ready: its readyExpr gives no result: column 5: no such key: 'status'");
    }

    #[test]
    fn the_first_bad_expression_is_named() {
        let reference = |expression: Option<&str>| DependencyReference {
            name: "a".to_owned(),
            namespace: None,
            ready_expr: expression.map(str::to_owned),
        };
        let all = [reference(None), reference(Some("dep.a == self.a")), reference(Some("dep.a == other.a"))];
        assert_eq!(invalid(&all[..2]), None);
        let empty: DependencyReference =
            serde_json::from_value(json!({"name": "a", "readyExpr": ""})).expect("a reference");
        assert_eq!(empty, reference(None), "empty text is none");
        let said = "spec.dependsOn[2].readyExpr: column 10: undeclared reference to 'other'";
        assert_eq!(invalid(&all), Some(format!("{TERMINAL}: {said}")));
    }
}
