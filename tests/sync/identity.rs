//! In whose name, and in which cluster, a folder is applied, pruned, waited for and let go.

use fairlead_testbench::{TestBench, User, wait_for};
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::health::deployment;
use crate::world::{PATIENCE, Verdict, World, config_map};

const MAP: &str = "production/a.yaml";

impl World {
    fn grant(&self, account: &str, verbs: &[&str]) {
        let api = "rbac.authorization.k8s.io";
        let metadata = json!({"name": account, "namespace": self.id});
        let rules = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": verbs}]);
        let version = format!("{api}/v1");
        let objects = [
            json!({"apiVersion": version, "kind": "Role", "metadata": metadata, "rules": rules}),
            json!({"apiVersion": version, "kind": "RoleBinding", "metadata": metadata,
                   "roleRef": {"apiGroup": api, "kind": "Role", "name": account},
                   "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": self.id}]}),
        ];
        for object in objects {
            self.bench.apply(&object.to_string());
        }
    }

    fn account(&self, name: &str) {
        let metadata = json!({"name": name, "namespace": self.id});
        self.bench.apply(&json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}).to_string());
    }

    async fn says(&self, words: &str) -> Verdict {
        let api = self.kustomizations();
        let api = &api;
        wait_for(&format!("the status to say {words:?}"), PATIENCE, || async move {
            let object = api.get("apps").await.map_err(|error| error.to_string())?;
            let status = object.status.unwrap_or_default();
            match status.conditions.iter().find(|condition| condition.type_ == "Ready").cloned() {
                Some(ready) if ready.message.contains(words) => {
                    Ok(Verdict { ready: ready.status, reason: ready.reason, message: ready.message, status })
                }
                _ => Err(format!("{status:?}")),
            }
        })
        .await
    }

    async fn is_let_go(&self) {
        let api = self.kustomizations();
        let api = &api;
        wait_for("the Kustomization to go", PATIENCE, || async move {
            match api.get_opt("apps").await {
                Ok(None) => Ok(()),
                other => Err(format!("{other:?}\n{}", self.operator.log())),
            }
        })
        .await;
    }

    async fn delete(&self) {
        self.kustomizations().delete("apps", &DeleteParams::default()).await.unwrap();
    }
}

/// The life of a folder under an account that `follow` makes it act as.
async fn acts_as(world: World, account: &str, spec: &[&str]) {
    let ns = world.id.clone();
    let secret = format!("apiVersion: v1\nkind: Secret\nmetadata:\n  name: b\n  namespace: {ns}\n");
    let moved = config_map("default", &format!("stray-{ns}"), "1");
    world.releases.commit("Map", &[(MAP, Some(&config_map(&ns, "a", "1")))]);
    world.follow(&[&["path: production", "prune: true"], spec].concat());
    let user = format!("system:serviceaccount:{ns}:{account}");
    world.says(&format!("service account {ns}/{account} does not exist")).await.complains(&[&user, "configmaps"]);
    world.account(account);
    world.grant(account, &["get", "patch", "create"]);
    world.annotate("apps", "reconcile.fluxcd.io/requestedAt=rights");
    world.says("Applied revision").await.is_ready();
    assert_eq!(world.value("a").await.as_deref(), Some("1"));

    // It has its own rights and no others, and the others of the folder go on.
    let (b, map) = ("production/b.yaml", config_map(&ns, "a", "2"));
    let verdict = world.push(&[(b, Some(&secret)), ("production/c.yaml", Some(&moved)), (MAP, Some(&map))]).await;
    verdict.complains(&[
        &format!("{b}:1: Secret/{ns}/b: "),
        &user,
        "give that account this right",
        "ConfigMap/default/",
    ]);
    assert_eq!(world.value("a").await.as_deref(), Some("2"));
    world.push(&[(b, None), ("production/c.yaml", None)]).await.is_ready();

    // Nor may it delete without the right to.
    let verdict = world.push(&[(MAP, None), ("production/d.yaml", Some(&config_map(&ns, "d", "1")))]).await;
    verdict.complains(&[&format!("ConfigMap/{ns}/a: "), &user, "cannot delete"]);
    assert_eq!(verdict.reason, "PruneFailed");
    world.grant(account, &["get", "patch", "create", "delete"]);
    world.annotate("apps", "reconcile.fluxcd.io/requestedAt=delete");
    world.says("Applied revision").await.is_ready();
    assert_eq!((world.value("a").await, world.value("d").await.as_deref()), (None, Some("1")));

    // An account that is gone leaves nobody who could delete anything.
    world.bench.kubectl(&["-n", &ns, "delete", "serviceaccount", account]);
    world.delete().await;
    world.is_let_go().await;
    world.said("Warning", "PruneFailed", &["does not exist: 1 objects stay"]).await;
    assert_eq!(world.value("d").await.as_deref(), Some("1"));
}

#[tokio::test]
async fn a_folder_has_the_rights_of_its_account_and_no_others() {
    let world = World::new("account", &[("production/PLACEHOLDER", Some(""))]).await;
    acts_as(world, "deployer", &["serviceAccountName: deployer"]).await;
}

#[tokio::test]
async fn the_default_account_is_for_folders_that_name_none() {
    let args = ["--default-service-account=tenant"];
    let world = World::with_args("default", &[("production/PLACEHOLDER", Some(""))], &args).await;
    acts_as(world, "tenant", &[]).await;
}

fn value_in(bench: &TestBench, namespace: &str, name: &str) -> Option<Value> {
    let found = bench.try_kubectl(&["get", "configmap", name, "--namespace", namespace, "--output=json"]).ok()?;
    serde_json::from_str::<Value>(&found).expect("kubectl prints JSON").pointer("/data/x").cloned()
}

#[tokio::test]
async fn a_folder_is_applied_to_another_cluster() {
    let world = World::new("remote", &[("production/PLACEHOLDER", Some(""))]).await;
    let remote = TestBench::start().await;
    let ns = world.id.clone();
    remote.create_namespace(&ns).await;
    world.releases.commit(
        "Maps",
        &[(MAP, Some(&config_map(&ns, "a", "1"))), ("production/b.yaml", Some(&config_map(&ns, "b", "1")))],
    );
    world.follow(&["path: production", "prune: true", "wait: true", "kubeConfig: {secretRef: {name: prod}}"]);
    world.says(&format!("KubeConfig Secret {ns}/prod does not exist; waiting for it")).await.complains(&[]);
    let secret = |kubeconfig: &str| {
        let metadata = json!({"name": "prod", "namespace": ns});
        let data = json!({"value.yaml": kubeconfig});
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data});
        world.bench.apply(&secret.to_string());
    };
    let kubeconfig = std::fs::read_to_string(remote.kubeconfig()).expect("reads");
    secret(&kubeconfig);
    let head = format!("main@sha1:{}", world.releases.head("main"));
    world.verdict_of("apps", |status| status.last_applied_revision.as_ref() == Some(&head)).await.is_ready();
    assert_eq!(value_in(&remote, &ns, "a"), Some(json!("1")));
    assert_eq!(world.value("a").await, None, "nothing is applied here");
    world.push(&[("production/b.yaml", None), (MAP, Some(&config_map(&ns, "a", "2")))]).await.is_ready();
    assert_eq!((value_in(&remote, &ns, "a"), value_in(&remote, &ns, "b")), (Some(json!("2")), None));
    // Its health is that of what runs there: of its pods as well.
    let web = |fault: &str| deployment(&ns, fault);
    let verdict = world.push(&[("production/web.yaml", Some(&web("crash-loop")))]).await;
    verdict.complains(&[&format!("Deployment/{ns}/web: "), "container web: CrashLoopBackOff", "its log ends with: "]);
    assert_eq!(verdict.reason, "HealthCheckFailed");
    world.push(&[("production/web.yaml", Some(&web("")))]).await.is_ready();
    assert!(world.live("apps/v1", "Deployment", &ns, "web").await.is_none(), "nothing is applied here");
    assert!(!world.operator.log().contains(&User::Admin.token()), "the token is in the log");

    world.delete().await;
    world.is_let_go().await;
    assert_eq!(value_in(&remote, &ns, "a"), None);

    // A cluster that is gone for good: said, with the way out, and nothing is stuck for ever.
    world.follow(&["path: production", "prune: true", "kubeConfig: {secretRef: {name: prod}}"]);
    world.says("Applied revision").await;
    drop(remote);
    world
        .push(&[(MAP, Some(&config_map(&ns, "a", "3")))])
        .await
        .complains(&[&format!("the cluster of Secret {ns}/prod")]);
    world.delete().await;
    world.says(&format!("delete Secret {ns}/prod to let this object go")).await;
    world.bench.kubectl(&["-n", &ns, "delete", "secret", "prod"]);
    world.is_let_go().await;
}

#[tokio::test]
async fn a_cluster_that_trusts_our_tokens_needs_no_secret() {
    let world = World::new("workload", &[("production/PLACEHOLDER", Some(""))]).await;
    let (ns, bench) = (world.id.clone(), world.bench);
    let map = |value: &str| config_map(&ns, "a", value);
    world.releases.commit("Map", &[(MAP, Some(&map("1")))]);
    let cluster = |provider: &str, authority: &str| {
        let data = json!({
            "provider": provider, "address": bench.server(), "ca.crt": authority, "serviceAccountName": "deployer",
            "audiences": "https://kubernetes.default.svc",
        });
        let metadata = json!({"name": "prod", "namespace": ns});
        bench.apply(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}).to_string());
    };
    world.follow(&["path: production", "prune: true", "wait: true", "kubeConfig: {configMapRef: {name: prod}}"]);
    world.says(&format!("ConfigMap {ns}/prod does not exist; waiting for it")).await.complains(&[]);
    cluster("aws", "");
    world.says("a login by the provider 'aws'").await.complains(&[]);
    world.account("deployer");
    cluster("generic", &std::fs::read_to_string(bench.folder().join("ca.crt")).expect("reads"));
    let user = format!("system:serviceaccount:{ns}:deployer");
    world.says(&user).await.complains(&["configmaps"]);
    world.grant("deployer", &["get", "patch", "create", "delete"]);
    world.annotate("apps", "reconcile.fluxcd.io/requestedAt=granted");
    world.says("Applied revision").await.is_ready();
    assert_eq!(world.value("a").await.as_deref(), Some("1"));

    // It has the rights of that account alone.
    let secret = format!("apiVersion: v1\nkind: Secret\nmetadata:\n  name: b\n  namespace: {ns}\n");
    world.push(&[("production/b.yaml", Some(&secret)), (MAP, Some(&map("2")))]).await.complains(&[&user, "secrets"]);
    assert_eq!(world.value("a").await.as_deref(), Some("2"));
    let other = config_map(&ns, "c", "1");
    world.push(&[("production/b.yaml", None), (MAP, None), ("production/c.yaml", Some(&other))]).await.is_ready();
    assert_eq!((world.value("a").await, world.value("c").await.as_deref()), (None, Some("1")));
    world.delete().await;
    world.is_let_go().await;
    assert_eq!(world.value("c").await, None);
}
