//! Fields that are accepted but not acted on yet, so that a status can say so instead of nothing.
//!
//! Each function takes its spec apart without `..`: a new field does not compile until it stands in
//! one of the two groups. To support a field, move its name to the first group and delete its line.

use super::helm::v2::HelmReleaseSpec;
use super::kustomize::v1::KustomizationSpec;
use super::source::v1::{
    BucketSpec, GitRepositorySpec, HelmChartSpec, HelmRepositorySpec, OCIRepositorySpec, OCIRepositoryVerification,
    VerificationProvider,
};

/// A path in the object and whether it is set.
type Field = (&'static str, bool);

/// Paths of the fields of a `GitRepository` that are set and not acted on.
pub fn git_repository(spec: &GitRepositorySpec) -> Vec<&'static str> {
    let GitRepositorySpec {
        // Acted on.
        url: _,
        secret_ref: _,
        interval: _,
        timeout: _,
        r#ref: _,
        ignore: _,
        suspend: _,
        recurse_submodules: _,
        include: _,
        sparse_checkout: _,
        verify: _,
        // Acted on for http and https; the controller says so for ssh.
        proxy_secret_ref: _,
        // Acted on for GitHub; those of other clouds the controller refuses with a reason of its own.
        provider: _,
        service_account_name: _,
    } = spec;
    set(&[])
}

/// Paths of the fields of an `OCIRepository` that are set and not acted on.
pub fn oci_repository(spec: &OCIRepositorySpec) -> Vec<&'static str> {
    let OCIRepositorySpec {
        // Acted on.
        url: _,
        r#ref: _,
        layer_selector: _,
        secret_ref: _,
        service_account_name: _,
        cert_secret_ref: _,
        proxy_secret_ref: _,
        interval: _,
        timeout: _,
        ignore: _,
        insecure: _,
        suspend: _,
        // Refused by the controller, with a reason of its own.
        provider: _,
        // Acted on, but for what is cosign's alone, as in Flux.
        verify,
    } = spec;
    let by_policy = verify.as_ref().filter(|verify| verify.provider == VerificationProvider::Notation);
    let set_in = |field: fn(&OCIRepositoryVerification) -> bool| by_policy.is_some_and(field);
    set(&[
        ("spec.verify.matchOIDCIdentity", set_in(|verify| !verify.match_oidc_identity.is_empty())),
        ("spec.verify.trustedRootSecretRef", set_in(|verify| verify.trusted_root_secret_ref.is_some())),
    ])
}

/// Paths of the fields of a `HelmRepository` that are set and not acted on.
pub fn helm_repository(spec: &HelmRepositorySpec) -> Vec<&'static str> {
    let HelmRepositorySpec {
        // Acted on.
        url: _,
        secret_ref: _,
        cert_secret_ref: _,
        pass_credentials: _,
        interval: _,
        timeout: _,
        suspend: _,
        r#type: _,
        insecure: _,
        // Refused by the controller of charts, with a reason of its own.
        provider: _,
        // Not yet; nor in Flux.
        access_from,
    } = spec;
    set(&[("spec.accessFrom", access_from.is_some())])
}

/// Paths of the fields of a `Bucket` that are set and not acted on.
pub fn bucket(spec: &BucketSpec) -> Vec<&'static str> {
    let BucketSpec {
        // Acted on.
        bucket_name: _,
        endpoint: _,
        insecure: _,
        region: _,
        prefix: _,
        secret_ref: _,
        cert_secret_ref: _,
        proxy_secret_ref: _,
        interval: _,
        timeout: _,
        ignore: _,
        suspend: _,
        // In parts: the controller refuses what needs a cloud's own login, with a reason of its own.
        provider: _,
        // Not yet.
        sts,
        service_account_name,
    } = spec;
    set(&[("spec.sts", sts.is_some()), ("spec.serviceAccountName", service_account_name.is_some())])
}

/// Paths of the fields of a `HelmChart` that are set and not acted on.
pub fn helm_chart(spec: &HelmChartSpec) -> Vec<&'static str> {
    let HelmChartSpec {
        // Acted on.
        chart: _,
        version: _,
        interval: _,
        reconcile_strategy: _,
        values_files: _,
        ignore_missing_values_files: _,
        suspend: _,
        // Acted on, but for what the controller refuses with a reason of its own.
        source_ref: _,
        // Acted on, but for what is cosign's alone, as in Flux.
        verify,
    } = spec;
    let by_policy = verify.as_ref().filter(|verify| verify.provider == VerificationProvider::Notation);
    let identities = by_policy.is_some_and(|verify| !verify.match_oidc_identity.is_empty());
    set(&[("spec.verify.matchOIDCIdentity", identities)])
}

/// Paths of the fields of a `Kustomization` that are set and not acted on.
pub fn kustomization(spec: &KustomizationSpec) -> Vec<&'static str> {
    let KustomizationSpec {
        // Acted on.
        interval: _,
        retry_interval: _,
        path: _,
        prune: _,
        deletion_policy: _,
        suspend: _,
        target_namespace: _,
        timeout: _,
        wait: _,
        source_ref: _,
        depends_on: _,
        post_build: _,
        // But for `serviceAccountName`, which the controller refuses.
        decryption: _,
        common_metadata: _,
        name_prefix: _,
        name_suffix: _,
        patches: _,
        images: _,
        build_metadata: _,
        components: _,
        ignore_missing_components: _,
        force: _,
        health_checks: _,
        health_check_exprs: _,
        kube_config: _,
        service_account_name: _,
        ignore: _,
    } = spec;
    set(&[])
}

/// Paths of the fields of a `HelmRelease` that are set and not acted on.
pub fn helm_release(spec: &HelmReleaseSpec) -> Vec<&'static str> {
    let HelmReleaseSpec {
        // Acted on.
        interval: _,
        suspend: _,
        release_name: _,
        target_namespace: _,
        timeout: _,
        max_history: _,
        drift_detection: _,
        uninstall: _,
        values_from: _,
        values: _,
        install: _,
        upgrade: _,
        rollback: _,
        test: _,
        depends_on: _,
        wait_strategy: _,
        health_check_exprs: _,
        common_metadata: _,
        post_renderers: _,
        // Acted on as far as helm does: with helm 3 the controller says what is left out.
        post_render_strategy: _,
        storage_namespace: _,
        kube_config: _,
        service_account_name: _,
        // Nothing to do: no client outlives a helm action, and health follows kstatus.
        persistent_client: _,
        chart_ref: _,
        // Handed to the source, `verify` included: the `HelmChart` says what becomes of it.
        chart: _,
    } = spec;
    set(&[])
}

fn set(fields: &[Field]) -> Vec<&'static str> {
    fields.iter().filter(|(_, set)| *set).map(|(path, _)| *path).collect()
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    use super::*;

    fn spec<T: DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_plain_spec_is_acted_on_in_full() {
        let git = json!({"url": "https://git/x", "interval": "1m", "ref": {"branch": "main"}});
        assert!(git_repository(&spec(git)).is_empty());
        let helm = json!({"url": "https://charts", "type": "default"});
        assert!(helm_repository(&spec(helm)).is_empty());
        let source_ref = json!({"kind": "GitRepository", "name": "charts"});
        let chart = json!({"chart": "ui", "interval": "1m", "sourceRef": source_ref});
        assert!(helm_chart(&spec(chart)).is_empty());
        let folder =
            json!({"interval": "1m", "path": "production", "prune": true, "wait": true, "sourceRef": source_ref});
        assert!(kustomization(&spec(folder)).is_empty());
        let release = json!({
            "interval": "1m",
            "chart": {"spec": {"chart": "ui", "sourceRef": source_ref}},
            "driftDetection": {"mode": "enabled", "ignore": [{"paths": ["/spec/replicas"]}]},
            "install": {"createNamespace": true, "crds": "Create"},
            "test": {"enable": false},
            "values": {"tag": "1.2.3"},
            "commonMetadata": {"labels": {"team": "a"}},
            "postRenderers": [{"kustomize": {"images": [{"name": "nginx", "newTag": "2"}]}}],
            "postRenderStrategy": "nohooks",
        });
        assert!(helm_release(&spec(release)).is_empty());
    }

    #[test]
    fn what_is_not_acted_on_is_named() {
        let helm = json!({"url": "https://charts", "accessFrom": {"namespaceSelectors": []}});
        assert_eq!(helm_repository(&spec(helm)), ["spec.accessFrom"]);
        let sts = json!({"provider": "ldap", "endpoint": "https://sts"});
        let store = json!({"bucketName": "b", "endpoint": "s3", "interval": "1m", "sts": sts});
        assert_eq!(bucket(&spec(store)), ["spec.sts"]);
        let source_ref = json!({"kind": "HelmRepository", "name": "charts"});
        let verify = json!({"provider": "cosign"});
        let chart = json!({"chart": "ui", "interval": "1m", "sourceRef": source_ref, "verify": verify});
        assert!(helm_chart(&spec(chart)).is_empty());
        let who = json!([{"issuer": "^https://i$", "subject": "^s$"}]);
        let mut policy = json!({"provider": "notation", "secretRef": {"name": "trust"}, "matchOIDCIdentity": who});
        let chart = json!({"chart": "ui", "interval": "1m", "sourceRef": source_ref, "verify": policy});
        assert_eq!(helm_chart(&spec(chart)), ["spec.verify.matchOIDCIdentity"]);
        policy["trustedRootSecretRef"] = json!({"name": "root"});
        let artifact = json!({"url": "oci://a.io/x", "interval": "1m", "verify": policy});
        let cosigns = ["spec.verify.matchOIDCIdentity", "spec.verify.trustedRootSecretRef"];
        assert_eq!(oci_repository(&spec(artifact)), cosigns);
        let folder = json!({
            "interval": "1m",
            "prune": false,
            "sourceRef": {"kind": "Bucket", "name": "b"},
            "dependsOn": [{"name": "a"}, {"name": "b", "readyExpr": "true"}],
            "healthChecks": [{"kind": "Deployment", "name": "a"}],
            "postBuild": {"substitute": {"a": "b"}},
        });
        assert!(kustomization(&spec(folder)).is_empty());
        let release = json!({
            "interval": "1m",
            "chart": {"spec": {"chart": "ui", "sourceRef": source_ref, "verify": verify}},
            "install": {"remediation": {"retries": 3}},
            "upgrade": {"force": true, "crds": "CreateReplace"},
            "test": {"enable": true},
        });
        assert!(helm_release(&spec(release)).is_empty());
    }
}
