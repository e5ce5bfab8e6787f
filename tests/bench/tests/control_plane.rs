//! The control plane behaves as a cluster does, and each fault shows as it should.

use std::time::Duration;

use fairlead_testbench::{TestBench, shared, wait_for};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ContainerStatus, Namespace, Pod};
use kube::api::{Api, DeleteParams, ListParams};

const TIMEOUT: Duration = Duration::from_secs(30);

fn deployment(namespace: &str, annotation: &str) -> String {
    format!(
        r"
apiVersion: apps/v1
kind: Deployment
metadata: {{name: app, namespace: {namespace}}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: app}}}}
  template:
    metadata: {{labels: {{app: app}}, annotations: {{{annotation}}}}}
    spec: {{containers: [{{name: app, image: 'example.org/app:1.0'}}]}}
"
    )
}

fn job(namespace: &str, annotation: &str) -> String {
    format!(
        r"
apiVersion: batch/v1
kind: Job
metadata: {{name: job, namespace: {namespace}}}
spec:
  backoffLimit: 0
  template:
    metadata: {{annotations: {{{annotation}}}}}
    spec: {{restartPolicy: Never, containers: [{{name: job, image: 'example.org/job:1.0'}}]}}
"
    )
}

fn test_pod(namespace: &str, annotation: &str) -> String {
    format!(
        r"
apiVersion: v1
kind: Pod
metadata: {{name: test, namespace: {namespace}, annotations: {{helm.sh/hook: test, {annotation}}}}}
spec: {{restartPolicy: Never, containers: [{{name: test, image: 'example.org/test:1.0'}}]}}
"
    )
}

async fn container_status(bench: &TestBench, namespace: &str, what: &str) -> (Pod, ContainerStatus) {
    let pods = Api::<Pod>::namespaced(bench.client().await, namespace);
    wait_for(what, TIMEOUT, || async {
        let pod =
            pods.list(&ListParams::default()).await.map_err(|error| error.to_string())?.items.pop().ok_or("no pod")?;
        let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.clone());
        let container = statuses.unwrap_or_default().pop().ok_or_else(|| format!("{:?}", pod.status))?;
        Ok((pod, container))
    })
    .await
}

async fn job_condition(bench: &TestBench, namespace: &str, wanted: &str) {
    let jobs = Api::<Job>::namespaced(bench.client().await, namespace);
    wait_for(&format!("the job to be {wanted}"), TIMEOUT, || async {
        let status = jobs.get("job").await.map_err(|error| error.to_string())?.status;
        let conditions = status.and_then(|status| status.conditions).unwrap_or_default();
        let is = conditions.iter().any(|condition| condition.type_ == wanted && condition.status == "True");
        is.then_some(()).ok_or_else(|| format!("{conditions:?}"))
    })
    .await;
}

async fn pod_phase(bench: &TestBench, namespace: &str, wanted: &str) {
    let pods = Api::<Pod>::namespaced(bench.client().await, namespace);
    wait_for(&format!("the pod to be {wanted}"), TIMEOUT, || async {
        let status = pods.get("test").await.map_err(|error| error.to_string())?.status;
        let phase = status.and_then(|status| status.phase).unwrap_or_default();
        (phase == wanted).then_some(()).ok_or(phase)
    })
    .await;
}

#[tokio::test]
async fn a_deployment_becomes_ready_and_its_namespace_goes() {
    let bench = shared().await;
    let namespace = bench.namespace("ready").await;
    bench.apply(&deployment(&namespace, ""));
    let client = bench.client().await;
    let deployments = Api::<Deployment>::namespaced(client.clone(), &namespace);
    wait_for("a ready replica", TIMEOUT, || async {
        let status = deployments.get("app").await.map_err(|error| error.to_string())?.status;
        let ready = status.as_ref().and_then(|status| status.ready_replicas);
        (ready == Some(1)).then_some(()).ok_or_else(|| format!("{status:?}"))
    })
    .await;

    let namespaces = Api::<Namespace>::all(client);
    namespaces.delete(&namespace, &DeleteParams::default()).await.unwrap();
    wait_for("the namespace to be gone", TIMEOUT, || async {
        match namespaces.get_opt(&namespace).await {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

#[tokio::test]
async fn a_pod_that_is_never_ready_runs() {
    let bench = shared().await;
    let namespace = bench.namespace("never-ready").await;
    bench.apply(&deployment(&namespace, "bench.fairlead.dev/fault: never-ready"));
    let (_, container) = container_status(bench, &namespace, "a container").await;
    assert!(!container.ready);
    assert!(container.state.unwrap().running.is_some());
}

#[tokio::test]
async fn a_crash_loop_has_an_exit_code_and_logs() {
    let bench = shared().await;
    let namespace = bench.namespace("crash-loop").await;
    bench.apply(&deployment(&namespace, "bench.fairlead.dev/fault: crash-loop"));
    let (pod, container) = container_status(bench, &namespace, "a container").await;
    assert_eq!(container.state.unwrap().waiting.unwrap().reason.as_deref(), Some("CrashLoopBackOff"));
    assert_eq!(container.last_state.unwrap().terminated.unwrap().exit_code, 3);
    let name = pod.metadata.name.unwrap();
    for previous in ["--previous=false", "--previous=true"] {
        let log = bench.kubectl(&["logs", "--namespace", &namespace, &name, previous]);
        assert!(log.contains("cannot reach the database"), "{log}");
    }
}

#[tokio::test]
async fn an_image_that_cannot_be_pulled_is_named() {
    let bench = shared().await;
    let namespace = bench.namespace("image-pull").await;
    bench.apply(&deployment(&namespace, "bench.fairlead.dev/fault: image-pull"));
    let (pod, container) = container_status(bench, &namespace, "a container").await;
    let waiting = container.state.unwrap().waiting.unwrap();
    assert_eq!(waiting.reason.as_deref(), Some("ImagePullBackOff"));
    assert!(waiting.message.unwrap().contains("example.org/app:1.0"));
    assert_eq!(pod.status.unwrap().phase.as_deref(), Some("Pending"));
}

#[tokio::test]
async fn jobs_complete_or_fail() {
    let bench = shared().await;
    let (good, bad) = (bench.namespace("job").await, bench.namespace("job").await);
    bench.apply(&job(&good, ""));
    bench.apply(&job(&bad, "bench.fairlead.dev/fault: job-fails"));
    job_condition(bench, &good, "Complete").await;
    job_condition(bench, &bad, "Failed").await;
}

#[tokio::test]
async fn test_pods_pass_or_fail() {
    let bench = shared().await;
    let (good, bad) = (bench.namespace("test").await, bench.namespace("test").await);
    bench.apply(&test_pod(&good, ""));
    bench.apply(&test_pod(&bad, "bench.fairlead.dev/fault: test-fails"));
    pod_phase(bench, &good, "Succeeded").await;
    pod_phase(bench, &bad, "Failed").await;
}

#[tokio::test]
async fn a_user_without_a_role_may_nothing() {
    let bench = shared().await;
    let pods = Api::<Pod>::all(bench.client_as(fairlead_testbench::User::TenantA).await);
    let error = pods.list(&ListParams::default()).await.unwrap_err();
    assert!(error.to_string().contains("tenant-a"), "{error}");
}
