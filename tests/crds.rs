//! The custom resource definitions on a real API server.

use std::io::Write;
use std::process::Stdio;

use fairlead::api::helm::v2::{DeletionPropagation, HelmRelease};
use fairlead::api::kustomize::v1::Kustomization;
use fairlead::api::meta::Duration;
use fairlead::api::notification::v1::Receiver;
use fairlead::api::notification::v1beta3::{Alert, EventSeverity};
use fairlead::api::source::v1::{
    Bucket, GitRepository, GitVerificationMode, HelmChart, HelmRepository, OCIRepository, ReconcileStrategy,
};
use fairlead_testbench::{TestBench, shared};
use kube::api::{Api, ApiResource, DynamicObject, PostParams};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Kind, the version that is stored, the plural.
const KINDS: [(&str, &str, &str); 11] = [
    ("HelmRelease", "helm.toolkit.fluxcd.io/v2", "helmreleases"),
    ("Kustomization", "kustomize.toolkit.fluxcd.io/v1", "kustomizations"),
    ("GitRepository", "source.toolkit.fluxcd.io/v1", "gitrepositories"),
    ("HelmRepository", "source.toolkit.fluxcd.io/v1", "helmrepositories"),
    ("HelmChart", "source.toolkit.fluxcd.io/v1", "helmcharts"),
    ("OCIRepository", "source.toolkit.fluxcd.io/v1", "ocirepositories"),
    ("Bucket", "source.toolkit.fluxcd.io/v1", "buckets"),
    ("ExternalArtifact", "source.toolkit.fluxcd.io/v1", "externalartifacts"),
    ("Receiver", "notification.toolkit.fluxcd.io/v1", "receivers"),
    ("Alert", "notification.toolkit.fluxcd.io/v1beta3", "alerts"),
    ("Provider", "notification.toolkit.fluxcd.io/v1beta3", "providers"),
];

fn release() -> Value {
    json!({
        "interval": "2m",
        "chart": {"spec": {"chart": "charts/ui", "sourceRef": {"kind": "GitRepository", "name": "ui"}}},
    })
}

/// The smallest spec of each kind.
fn smallest(kind: &str) -> Value {
    match kind {
        "HelmRelease" => release(),
        "Kustomization" => {
            json!({"interval": "5m", "prune": true, "sourceRef": {"kind": "GitRepository", "name": "releases"}})
        }
        "GitRepository" => json!({"interval": "1m", "url": "ssh://git@host/releases"}),
        "HelmRepository" => json!({"url": "https://charts.host"}),
        "HelmChart" => {
            json!({"interval": "1m", "chart": "ui", "sourceRef": {"kind": "HelmRepository", "name": "charts"}})
        }
        "OCIRepository" => json!({"interval": "1m", "url": "oci://registry/ui"}),
        "Bucket" => json!({"interval": "1m", "bucketName": "releases", "endpoint": "store"}),
        "Receiver" => json!({
            "type": "github", "secretRef": {"name": "token"}, "resources": [{"kind": "GitRepository", "name": "releases"}],
        }),
        "Alert" => {
            json!({"providerRef": {"name": "chat"}, "eventSources": [{"kind": "GitRepository", "name": "releases"}]})
        }
        "Provider" => json!({"type": "generic"}),
        _ => json!({}),
    }
}

/// `base` with the fields of `patch` over it; null removes.
fn with(mut base: Value, patch: &Value) -> Value {
    match (&mut base, patch) {
        (Value::Object(fields), Value::Object(changes)) => {
            for (name, change) in changes {
                let field = fields.remove(name).unwrap_or_default();
                if !change.is_null() {
                    fields.insert(name.clone(), with(field, change));
                }
            }
            base
        }
        _ => patch.clone(),
    }
}

struct Cluster {
    bench: &'static TestBench,
    namespace: String,
}

impl Cluster {
    async fn new(prefix: &str) -> Self {
        let bench = shared().await;
        bench.install_crds().await;
        Self { bench, namespace: bench.namespace(prefix).await }
    }

    /// Creates an object of the stored version and reads it back.
    async fn create(&self, kind: &str, name: &str, spec: Value) -> Result<DynamicObject, String> {
        let (_, api_version, plural) = KINDS.into_iter().find(|(known, ..)| *known == kind).unwrap();
        let (group, version) = api_version.split_once('/').unwrap();
        let resource = ApiResource {
            group: group.to_owned(),
            version: version.to_owned(),
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
        };
        let api = Api::<DynamicObject>::namespaced_with(self.bench.client().await, &self.namespace, &resource);
        let object = DynamicObject::new(name, &resource).data(json!({"spec": spec}));
        api.create(&PostParams::default(), &object).await.map_err(|error| error.to_string())
    }

    /// Applies a manifest as people do; gives what kubectl printed, warnings included.
    fn apply(&self, api_version: &str, kind: &str, name: &str, spec: &Value) -> Result<String, String> {
        let manifest = json!({
            "apiVersion": api_version,
            "kind": kind,
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": spec,
        });
        let mut child = self
            .bench
            .command("kubectl")
            .args(["apply", "--filename=-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(manifest.to_string().as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        if output.status.success() { Ok(text) } else { Err(text) }
    }

    /// Reads an object in the version that `K` stands for.
    async fn get<K>(&self, name: &str) -> K
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned,
    {
        let api = Api::<K>::namespaced(self.bench.client().await, &self.namespace);
        api.get(name).await.unwrap()
    }
}

#[tokio::test]
async fn every_kind_takes_its_smallest_object_and_prints_flux_s_columns() {
    let cluster = Cluster::new("columns").await;
    let columns = [
        ("hr", "NAME AGE READY STATUS"),
        ("ks", "NAME AGE READY STATUS"),
        ("gitrepo", "NAME URL AGE READY STATUS"),
        ("helmrepo", "NAME URL AGE READY STATUS"),
        ("hc", "NAME CHART VERSION SOURCE KIND SOURCE NAME AGE READY STATUS"),
        ("ocirepo", "NAME URL READY STATUS AGE"),
        ("buckets", "NAME ENDPOINT AGE READY STATUS"),
        ("ea", "NAME AGE READY STATUS SOURCE"),
        ("receivers", "NAME AGE READY STATUS"),
        ("alerts", "NAME AGE"),
        ("providers", "NAME AGE"),
    ];
    for ((kind, ..), (name, expected)) in KINDS.into_iter().zip(columns) {
        cluster.create(kind, "smallest", smallest(kind)).await.unwrap_or_else(|error| panic!("{kind}: {error}"));
        let table = cluster.bench.kubectl(&["get", name, "--namespace", &cluster.namespace]);
        let header: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
        assert_eq!(header.join(" "), expected, "{kind}");
    }
    for category in ["fluxcd", "fluxcd-sources", "fluxcd-appliers", "fluxcd-notifications"] {
        let names = cluster.bench.kubectl(&["get", category, "--namespace", &cluster.namespace, "--output=name"]);
        let expected = match category {
            "fluxcd" => 11,
            "fluxcd-sources" => 6,
            "fluxcd-notifications" => 3,
            _ => 2,
        };
        assert_eq!(names.lines().count(), expected, "{category}: {names}");
    }
}

#[tokio::test]
async fn defaults_are_filled_in() {
    let cluster = Cluster::new("defaults").await;
    for (kind, ..) in KINDS {
        let patch = match kind {
            "HelmRelease" => json!({"uninstall": {}}),
            "GitRepository" => json!({"verify": {"secretRef": {"name": "keys"}}}),
            _ => json!({}),
        };
        cluster.create(kind, "a", with(smallest(kind), &patch)).await.unwrap();
    }
    let minute = Some(Duration::from_secs(60));

    let release: HelmRelease = cluster.get("a").await;
    let chart = release.spec.chart.unwrap().spec;
    assert_eq!((chart.version.as_deref(), chart.reconcile_strategy), (Some("*"), ReconcileStrategy::ChartVersion));
    assert_eq!(release.spec.uninstall.unwrap().deletion_propagation, DeletionPropagation::Background);
    assert_eq!(release.status.unwrap().observed_generation, Some(-1));

    let folder: Kustomization = cluster.get("a").await;
    assert!(!folder.spec.force && folder.spec.prune);
    assert_eq!(folder.status.unwrap().observed_generation, Some(-1));

    let git: GitRepository = cluster.get("a").await;
    assert_eq!((git.spec.timeout, git.spec.verify.unwrap().mode), (minute, GitVerificationMode::Head));
    assert_eq!(git.status.unwrap().observed_generation, Some(-1));

    let chart: HelmChart = cluster.get("a").await;
    assert_eq!(chart.spec.version.as_deref(), Some("*"));
    let registry: OCIRepository = cluster.get("a").await;
    assert_eq!((registry.spec.timeout, registry.spec.provider.as_str()), (minute, "generic"));
    let bucket: Bucket = cluster.get("a").await;
    assert_eq!((bucket.spec.timeout, bucket.spec.provider.as_str()), (minute, "generic"));
    let receiver: Receiver = cluster.get("a").await;
    assert_eq!(receiver.spec.interval, Some(Duration::from_secs(600)));
    assert_eq!(receiver.status.unwrap().observed_generation, Some(-1));
    let alert: Alert = cluster.get("a").await;
    assert_eq!(alert.spec.event_severity, EventSeverity::Info);
    let repository: HelmRepository = cluster.get("a").await;
    assert_eq!((repository.spec.timeout, repository.spec.provider.as_str()), (None, "generic"));
}

/// Kind, a change to its smallest spec, and a word of the refusal.
fn refusals() -> Vec<(&'static str, Value, &'static str)> {
    let named = json!({"name": "x"});
    let issuer = |url: &str| json!({"issuerURL": url, "validations": [{"expression": "true", "message": "no"}]});
    let sts = |provider: &str| json!({"provider": provider, "endpoint": "https://sts"});
    vec![
        ("HelmRelease", json!({"chart": null}), "exactly one of spec.chart and spec.chartRef"),
        ("HelmRelease", json!({"chartRef": {"kind": "HelmChart", "name": "x"}}), "exactly one of spec.chart"),
        ("HelmRelease", json!({"kubeConfig": {}}), "has to be set"),
        ("HelmRelease", json!({"kubeConfig": {"secretRef": named, "configMapRef": named}}), "only one of"),
        (
            "HelmRelease",
            json!({"install": {"strategy": {"name": "RemediateOnFailure", "retryInterval": "1m"}}}),
            "retryInterval cannot be set",
        ),
        (
            "HelmRelease",
            json!({"upgrade": {"strategy": {"name": "RemediateOnFailure", "retryInterval": "1m"}}}),
            "retryInterval can only be set",
        ),
        ("HelmRelease", json!({"interval": "two minutes"}), "spec.interval"),
        ("HelmRelease", json!({"interval": null}), "spec.interval: Required"),
        ("HelmRelease", json!({"releaseName": "x".repeat(54)}), "spec.releaseName: Too long"),
        ("HelmRelease", json!({"install": {"crds": "Maybe"}}), "spec.install.crds: Unsupported value"),
        (
            "HelmRelease",
            json!({"valuesFrom": [{"kind": "Secret", "name": "x", "targetPath": "a b"}]}),
            "spec.valuesFrom[0].targetPath",
        ),
        ("Kustomization", json!({"prune": null}), "spec.prune: Required"),
        ("Kustomization", json!({"kubeConfig": {}}), "has to be set"),
        ("Kustomization", json!({"sourceRef": {"kind": "HelmRepository"}}), "Unsupported value"),
        ("GitRepository", json!({"url": "git@host:releases"}), "spec.url"),
        ("GitRepository", json!({"timeout": "1h"}), "spec.timeout"),
        ("GitRepository", json!({"serviceAccountName": "x"}), "spec.serviceAccountName can only be set"),
        ("HelmRepository", json!({"url": "ftp://charts"}), "spec.url"),
        ("HelmChart", json!({"verify": {}, "sourceRef": {"kind": "GitRepository"}}), "spec.verify can only be set"),
        ("OCIRepository", json!({"url": "https://registry"}), "spec.url"),
        ("Bucket", json!({"provider": "gcp", "sts": sts("aws")}), "can only be set for the providers"),
        ("Bucket", json!({"provider": "aws", "sts": sts("ldap")}), "from the STS provider 'aws' only"),
        ("Bucket", json!({"provider": "generic", "sts": sts("aws")}), "from the STS provider 'ldap' only"),
        (
            "Bucket",
            json!({"provider": "aws", "sts": with(sts("aws"), &json!({"secretRef": named}))}),
            "takes no spec.sts.secretRef",
        ),
        (
            "Bucket",
            json!({"provider": "aws", "sts": with(sts("aws"), &json!({"certSecretRef": named}))}),
            "takes no spec.sts.certSecretRef",
        ),
        ("Bucket", json!({"serviceAccountName": "x"}), "takes no spec.serviceAccountName"),
        (
            "Bucket",
            json!({"provider": "gcp", "serviceAccountName": "x", "secretRef": named}),
            "only one of spec.secretRef and spec.serviceAccountName",
        ),
        ("Receiver", json!({"secretRef": null}), "spec.secretRef has to be set"),
        ("Receiver", json!({"type": "generic-oidc"}), "takes no spec.secretRef"),
        ("Receiver", json!({"type": "generic-oidc", "secretRef": null}), "at least one of spec.oidcProviders"),
        ("Receiver", json!({"oidcProviders": [issuer("https://x")]}), "only be set with the type 'generic-oidc'"),
        ("Receiver", json!({"type": "generic-oidc", "secretRef": null, "oidcProviders": [issuer("x")]}), "issuerURL"),
        ("Receiver", json!({"type": "gitea"}), "spec.type: Unsupported value"),
        ("Receiver", json!({"resources": [{"kind": "Secret", "name": "x"}]}), "spec.resources[0].kind"),
        ("Receiver", json!({"resources": null}), "spec.resources: Required"),
        ("Alert", json!({"providerRef": null}), "spec.providerRef: Required"),
        ("Alert", json!({"eventSources": null}), "spec.eventSources: Required"),
        ("Alert", json!({"eventSources": [{"kind": "Secret", "name": "x"}]}), "spec.eventSources[0].kind"),
        ("Alert", json!({"eventSeverity": "warning"}), "spec.eventSeverity: Unsupported value"),
        ("Alert", json!({"summary": "x".repeat(256)}), "spec.summary: Too long"),
        ("Provider", json!({"type": "carrier-pigeon"}), "spec.type: Unsupported value"),
        ("Provider", json!({"timeout": "1h"}), "spec.timeout"),
        ("Provider", json!({"proxy": "socks5://proxy"}), "spec.proxy"),
        ("Provider", json!({"commitStatusExpr": "'x'"}), "spec.commitStatusExpr can only be set with the types"),
    ]
}

#[tokio::test]
async fn every_rule_refuses_what_it_is_for() {
    let cluster = Cluster::new("rules").await;
    for (kind, patch, expected) in refusals() {
        let spec = with(smallest(kind), &patch);
        match cluster.create(kind, "refused", spec).await {
            Err(error) => assert!(error.contains(expected), "{kind} {patch}: {error}"),
            Ok(_) => panic!("{kind} {patch} was taken"),
        }
    }
}

#[tokio::test]
async fn older_versions_are_taken_with_a_warning_and_read_back_as_the_newest() {
    let cluster = Cluster::new("older").await;
    let release = with(release(), &json!({"valuesFrom": [{"kind": "ConfigMap", "name": "account-config"}]}));
    for version in ["v2beta1", "v2beta2"] {
        let api_version = format!("helm.toolkit.fluxcd.io/{version}");
        let printed = cluster.apply(&api_version, "HelmRelease", version, &release).unwrap();
        let warning = format!("Warning: HelmRelease {version} is an old version: write v2 instead");
        assert!(printed.contains(&warning), "{printed}");

        let stored: HelmRelease = cluster.get(version).await;
        assert_eq!(stored.spec.interval, Duration::from_secs(120));
        assert_eq!(stored.spec.values_from[0].name, "account-config");
        let chart = stored.spec.chart.unwrap().spec;
        assert_eq!((chart.version.as_deref(), chart.source_ref.kind.as_str()), (Some("*"), "GitRepository"));
        assert_eq!(stored.status.unwrap().observed_generation, Some(-1));
    }

    let of_one_version = ["HelmRelease", "ExternalArtifact", "Receiver", "Alert", "Provider"];
    for (kind, api_version, _) in KINDS.into_iter().filter(|(kind, ..)| !of_one_version.contains(kind)) {
        let patch = match kind {
            "Kustomization" => json!({"validation": "client"}),
            "GitRepository" => json!({"gitImplementation": "libgit2", "accessFrom": {"namespaceSelectors": [{}]}}),
            "HelmChart" | "Bucket" => json!({"accessFrom": {"namespaceSelectors": [{}]}}),
            _ => json!({}),
        };
        let (group, newest) = api_version.split_once('/').unwrap();
        let older = format!("{group}/{newest}beta2");
        let printed = cluster.apply(&older, kind, "old", &with(smallest(kind), &patch)).unwrap();
        assert!(printed.contains(&format!("Warning: {kind} {newest}beta2 is an old version")), "{printed}");
    }
    let git: GitRepository = cluster.get("old").await;
    assert_eq!(git.spec.timeout, Some(Duration::from_secs(60)));
    let folder: Kustomization = cluster.get("old").await;
    assert!(folder.spec.prune);
    let stored = cluster.bench.kubectl(&["get", "gitrepo", "old", "--namespace", &cluster.namespace, "--output=json"]);
    assert!(stored.contains("source.toolkit.fluxcd.io/v1\"") && !stored.contains("\"accessFrom\": {"), "{stored}");
}

#[tokio::test]
async fn fields_of_older_versions_whose_loss_would_matter_are_refused() {
    let cluster = Cluster::new("lost").await;
    let patches = json!([{"kind": "Deployment"}]);
    let cases = [
        (
            "helm.toolkit.fluxcd.io/v2beta1",
            "HelmRelease",
            json!({"chart": {"spec": {"valuesFile": "values-prod.yaml"}}}),
            "put the path into valuesFiles",
        ),
        (
            "helm.toolkit.fluxcd.io/v2beta2",
            "HelmRelease",
            json!({"postRenderers": [{"kustomize": {"patchesStrategicMerge": patches}}]}),
            "patchesStrategicMerge is gone",
        ),
        ("kustomize.toolkit.fluxcd.io/v1beta2", "Kustomization", json!({"patchesJson6902": patches}), "write patches"),
        ("source.toolkit.fluxcd.io/v1beta2", "HelmChart", json!({"valuesFile": "x.yaml"}), "valuesFile is gone"),
    ];
    for (api_version, kind, patch, expected) in cases {
        let error = cluster.apply(api_version, kind, "lost", &with(smallest(kind), &patch)).unwrap_err();
        assert!(error.contains(expected), "{kind} {patch}: {error}");
    }
}
