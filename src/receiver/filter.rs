//! `spec.resourceFilter` and `spec.resources[].filter`. Pure.

use serde_json::Value as Json;

use crate::cel::{CelError, Expression, Value, Variables};

/// What a filter may name: the metadata of an object, and the body of the request.
const VARIABLES: [&str; 2] = ["res", "req"];

/// Reads a filter; an empty one is none.
pub fn read(text: Option<&String>) -> Result<Option<Expression>, CelError> {
    let given = text.filter(|text| !text.is_empty());
    given.map(|text| Expression::condition(text, &VARIABLES)).transpose()
}

/// Whether all filters hold for an object and a request.
pub fn hold<'f>(
    filters: impl IntoIterator<Item = &'f Expression>,
    object: &Json,
    request: &Value,
) -> Result<bool, CelError> {
    let values = [Value::from(object), request.clone()];
    let variables: Variables = VARIABLES.iter().map(|name| (*name).to_owned()).zip(values).collect();
    for filter in filters {
        if !filter.holds(&variables)? {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_filter_sees_the_object_s_metadata_and_the_request() {
        let object = json!({"kind": "ImageRepository", "metadata": {"name": "hello-world", "annotations": {"update-image": "hello-world"}}});
        let request = Value::from(&json!({"tag": "us-east1-docker.pkg.dev/my-project/my-repo/hello-world:1.1"}));
        let holds = |texts: &[&str]| {
            let filters: Vec<_> = texts.iter().map(|text| read(Some(&(*text).to_owned())).unwrap().unwrap()).collect();
            hold(&filters, &object, &request).map_err(|error| error.to_string())
        };
        assert_eq!(holds(&[]), Ok(true));
        assert_eq!(holds(&["req.tag.contains(res.metadata.name)"]), Ok(true));
        assert_eq!(holds(&["req.tag.contains(res.metadata.name)", "res.kind == 'GitRepository'"]), Ok(false));
        // As in Flux's documentation.
        let documented = "has(res.metadata.annotations) && req.tag.split('/').last().value().split(\":\").first().value() == res.metadata.annotations['update-image']";
        assert_eq!(holds(&[documented]), Ok(true));
        assert_eq!(holds(&["req.digest == 'x'"]), Err("column 5: no such key: 'digest'".to_owned()));
    }

    #[test]
    fn what_can_never_be_a_filter_is_refused_when_it_is_read() {
        for (text, needle) in [("claims.a == 'b'", "undeclared"), ("1 + 1", "has to give bool"), ("req.", "column")] {
            let error = read(Some(&text.to_owned())).unwrap_err().to_string();
            assert!(error.contains(needle), "{text}: {error}");
        }
        assert!(read(None).unwrap().is_none() && read(Some(&String::new())).unwrap().is_none());
    }
}
