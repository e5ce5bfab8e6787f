//! Helm's real failures, sorted by what can be done about them.

use fairlead::helm::client::HelmError;
use fairlead::helm::output::Cause;

use super::*;

const MAP: &str = "{apiVersion: v1, kind: ConfigMap, metadata: {name: taken}}";

struct Case {
    template: &'static str,
    cause: Cause,
    /// Words that the message must hold.
    says: &'static [&'static str],
}

const CASES: &[Case] = &[
    Case {
        template: "kind: X\nid: {{ .Values.account.id }}\n",
        cause: Cause::Render,
        says: &["small/templates/all.yaml:2", "nil pointer evaluating interface {}.id"],
    },
    Case {
        template: "{{ fail \"the image is required\" }}",
        cause: Cause::Render,
        says: &["small/templates/all.yaml:1", "the image is required"],
    },
    Case { template: "{{ if }}", cause: Cause::Render, says: &["small/templates/all.yaml:1"] },
    Case { template: "a: b: c\n", cause: Cause::Render, says: &["small/templates/all.yaml"] },
    Case {
        template: "{apiVersion: v1, kind: Service, metadata: {name: bad}, spec: {ports: [{port: 99999}]}}",
        cause: Cause::Rejected,
        says: &["Service \"bad\" is invalid", "99999"],
    },
    Case {
        template: "{apiVersion: v1, kind: ConfigMap, metadata: {name: Bad_Name}}",
        cause: Cause::Rejected,
        says: &["Bad_Name"],
    },
    Case {
        template: "{apiVersion: example.org/v1, kind: Unheard, metadata: {name: of}}",
        cause: Cause::Rejected,
        says: &["no matches for kind \"Unheard\""],
    },
    Case {
        template: "{apiVersion: v1, kind: ConfigMap, metadata: {name: x, namespace: no-such-namespace}}",
        cause: Cause::NamespaceMissing,
        says: &["no-such-namespace"],
    },
];

fn check(result: Result<fairlead::helm::client::Done, HelmError>, cause: Cause, says: &[&str], what: &str) {
    let error = result.expect_err(what);
    let HelmError::Failed { cause: found, message } = &error else { panic!("{what}: {error:?}") };
    assert_eq!(*found, cause, "{what}: {message}");
    for words in says {
        assert!(message.contains(words), "{what}: {words:?} is not in {message}");
    }
}

#[tokio::test]
async fn what_a_chart_does_wrong_is_named() {
    let bench = shared().await;
    for major in Major::BOTH {
        let folder = tempfile::tempdir().expect("a folder");
        let helm = helm(bench, major, folder.path()).await;
        for (i, case) in CASES.iter().enumerate() {
            let namespace = bench.namespace("wrong").await;
            let chart = chart_of(&folder.path().join(i.to_string()), case.template);
            let result = helm.release(&action(Verb::Install, &namespace, &chart), &EMPTY).await;
            check(result, case.cause, case.says, &format!("{major:?} {}", case.template));
        }
        let schema = chart_of(&folder.path().join("schema"), "");
        std::fs::write(schema.join("values.schema.json"), r#"{"properties": {"port": {"type": "integer"}}}"#)
            .expect("write a schema");
        let namespace = bench.namespace("wrong").await;
        let result = helm.release(&action(Verb::Install, &namespace, &schema), &values(json!({"port": "x"}))).await;
        check(result, Cause::Schema, &["port"], &format!("{major:?} schema"));
        let missing = folder.path().join("no-such.tgz");
        let result = helm.release(&action(Verb::Install, &namespace, &missing), &EMPTY).await;
        check(result, Cause::Chart, &["no-such.tgz"], &format!("{major:?} no chart"));
    }
}

#[tokio::test]
async fn what_the_cluster_refuses_is_named() {
    let bench = shared().await;
    for major in Major::BOTH {
        let folder = tempfile::tempdir().expect("a folder");
        let helm = helm(bench, major, folder.path()).await;
        let namespace = bench.namespace("refused").await;
        let chart = chart_of(&folder.path().join("chart"), MAP);
        let install = action(Verb::Install, &namespace, &chart);

        let nowhere = ChartAction { namespace: "no-such-namespace".to_owned(), ..install.clone() };
        check(helm.release(&nowhere, &EMPTY).await, Cause::NamespaceMissing, &["no-such-namespace"], "no namespace");

        bench.kubectl(&["create", "configmap", "taken", "-n", &namespace]);
        let careful = ChartAction { disable_take_ownership: true, ..install.clone() };
        check(helm.release(&careful, &EMPTY).await, Cause::Ownership, &["taken"], "somebody else's object");
        let other = ChartAction { release_name: "other".to_owned(), ..install.clone() };
        helm.release(&other, &EMPTY).await.expect("ownership is taken");
        check(helm.release(&other, &EMPTY).await, Cause::NameInUse, &[], "installed twice");

        let job = "{apiVersion: batch/v1, kind: Job, metadata: {name: job, annotations: {helm.sh/hook: pre-install}}, \
            spec: {backoffLimit: 0, template: {metadata: {annotations: {bench.fairlead.dev/fault: job-fails}}, \
            spec: {restartPolicy: Never, containers: [{name: c, image: example.org/c}]}}}}";
        let hook = chart_of(&folder.path().join("hook"), job);
        let hooked = ChartAction { release_name: "hooked".to_owned(), ..action(Verb::Install, &namespace, &hook) };
        check(helm.release(&hooked, &EMPTY).await, Cause::Hook, &["job"], "a failing hook");
    }
}

#[tokio::test]
async fn rights_and_reach_are_told_apart() {
    let bench = shared().await;
    for major in Major::BOTH {
        let folder = tempfile::tempdir().expect("a folder");
        let namespace = bench.namespace("rights").await;
        let chart = chart_of(&folder.path().join("chart"), MAP);
        let install = action(Verb::Install, &namespace, &chart);

        let config = std::fs::read_to_string(bench.kubeconfig()).expect("a kubeconfig");
        let powerless = folder.path().join("powerless");
        let account = bench.kubectl(&["create", "token", "default", "-n", &namespace]);
        let mut parsed: Value = fairlead::yaml::parse(&config).expect("a kubeconfig");
        parsed["users"][0]["user"] = json!({"token": account.trim()});
        std::fs::write(&powerless, parsed.to_string()).expect("write a kubeconfig");
        let denied = Helm::new(&major.path(), folder.path(), Some(powerless), 1).await.expect("a helm");
        check(denied.release(&install, &EMPTY).await, Cause::Forbidden, &["forbidden"], "no rights");

        let gone = folder.path().join("gone");
        std::fs::write(&gone, config.replace(bench.server(), "https://127.0.0.1:1")).expect("write a kubeconfig");
        let cut_off = Helm::new(&major.path(), folder.path(), Some(gone), 1).await.expect("a helm");
        check(cut_off.release(&install, &EMPTY).await, Cause::Unreachable, &["127.0.0.1:1"], "no API server");
    }
}
