//! Older versions of each kind, still served so that old manifests keep working.
//!
//! Objects are stored in the newest version and nothing converts them, so whatever an older
//! version lets through has to make sense in the newest one. An older version is therefore the
//! newest one plus the fields that only it had. Those without effect are accepted; those whose
//! loss would change what is deployed are refused, with the way to write it today.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionVersion, JSONSchemaProps, JSONSchemaPropsOrArray, ValidationRule,
};
use serde_json::{Value, json};

/// One older version of a kind.
struct Older {
    kind: &'static str,
    version: &'static str,
    fields: &'static [Field],
}

/// A field that only an older version had.
struct Field {
    /// Object that holds the field: property names with dots, `[]` for the items of a list.
    holder: &'static str,
    name: &'static str,
    schema: fn() -> Value,
    /// How to write it today; a field without this has no effect.
    instead: Option<&'static str>,
}

const fn without_effect(holder: &'static str, name: &'static str, schema: fn() -> Value) -> Field {
    Field { holder, name, schema, instead: None }
}

const fn refused(holder: &'static str, name: &'static str, schema: fn() -> Value, instead: &'static str) -> Field {
    Field { holder, name, schema, instead: Some(instead) }
}

const KUSTOMIZE: &str = "spec.postRenderers[].kustomize";

const HELM_RELEASE: &[Field] = &[
    refused("spec.chart.spec", "valuesFile", text, "valuesFile is gone: put the path into valuesFiles"),
    refused(KUSTOMIZE, "patchesStrategicMerge", patches, "patchesStrategicMerge is gone: write patches"),
    refused(KUSTOMIZE, "patchesJson6902", patches, "patchesJson6902 is gone: write patches"),
    without_effect("status", "lastAppliedRevision", text),
];

const OLDER: &[Older] = &[
    Older { kind: "HelmRelease", version: "v2beta2", fields: HELM_RELEASE },
    Older { kind: "HelmRelease", version: "v2beta1", fields: HELM_RELEASE },
    Older {
        kind: "Kustomization",
        version: "v1beta2",
        fields: &[
            refused("spec", "patchesStrategicMerge", patches, "patchesStrategicMerge is gone: write patches"),
            refused("spec", "patchesJson6902", patches, "patchesJson6902 is gone: write patches"),
            without_effect("spec", "validation", text),
        ],
    },
    Older { kind: "Bucket", version: "v1beta2", fields: &[without_effect("spec", "accessFrom", access_from)] },
    Older {
        kind: "GitRepository",
        version: "v1beta2",
        fields: &[
            without_effect("spec", "accessFrom", access_from),
            without_effect("spec", "gitImplementation", text),
            without_effect("status", "contentConfigChecksum", text),
            without_effect("status", "url", text),
        ],
    },
    Older {
        kind: "HelmChart",
        version: "v1beta2",
        fields: &[
            refused("spec", "valuesFile", text, "valuesFile is gone: put the path into valuesFiles"),
            without_effect("spec", "accessFrom", access_from),
        ],
    },
    Older { kind: "HelmRepository", version: "v1beta2", fields: &[] },
    Older {
        kind: "OCIRepository",
        version: "v1beta2",
        fields: &[without_effect("status", "contentConfigChecksum", text)],
    },
];

fn text() -> Value {
    json!({"type": "string"})
}

/// Typed down to the items, as rules can only speak about fields of a known type.
fn patches() -> Value {
    json!({"type": "array", "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}})
}

fn access_from() -> Value {
    json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

/// Adds the older versions of the kind, each deprecated, behind the newest one.
pub(super) fn add_versions(crd: &mut CustomResourceDefinition) {
    let newest = crd.spec.versions[0].clone();
    let kind = &crd.spec.names.kind;
    for older in OLDER.iter().filter(|older| older.kind == kind) {
        crd.spec.versions.push(older.definition(&newest));
    }
}

impl Older {
    fn definition(&self, newest: &CustomResourceDefinitionVersion) -> CustomResourceDefinitionVersion {
        let Self { kind, version, fields } = self;
        let warning = format!("{kind} {version} is an old version: write {} instead", newest.name);
        let mut definition = CustomResourceDefinitionVersion {
            name: (*version).to_owned(),
            storage: false,
            deprecated: Some(true),
            deprecation_warning: Some(warning),
            ..newest.clone()
        };
        let schema = definition.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut());
        let schema = schema.expect("every version has a schema");
        for field in *fields {
            field.add(schema);
        }
        definition
    }
}

impl Field {
    fn add(&self, root: &mut JSONSchemaProps) {
        let holder = self.holder.split('.').fold(root, |schema, step| self.step(schema, step));
        let mut schema: JSONSchemaProps =
            serde_json::from_value((self.schema)()).expect("the schemas of this module are sound");
        schema.description = Some(match self.instead {
            None => "Accepted without effect.".to_owned(),
            Some(instead) => format!("Refused: {instead}."),
        });
        holder.properties.get_or_insert_default().insert(self.name.to_owned(), schema);
        if let Some(instead) = self.instead {
            holder.x_kubernetes_validations.get_or_insert_default().push(ValidationRule {
                rule: format!("!has(self.{})", self.name),
                message: Some(instead.to_owned()),
                ..ValidationRule::default()
            });
        }
    }

    fn step<'a>(&self, schema: &'a mut JSONSchemaProps, step: &str) -> &'a mut JSONSchemaProps {
        let (name, items) = step.strip_suffix("[]").map_or((step, false), |name| (name, true));
        let property = schema.properties.as_mut().and_then(|properties| properties.get_mut(name));
        match (items, property) {
            (false, Some(property)) => property,
            (true, Some(JSONSchemaProps { items: Some(JSONSchemaPropsOrArray::Schema(items)), .. })) => items,
            _ => panic!("no {step} on the way to {}.{}", self.holder, self.name),
        }
    }
}
