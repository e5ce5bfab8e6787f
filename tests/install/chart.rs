//! What the chart renders, before anything of it runs.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use fairlead_testbench::tools::{run, try_run, workspace};
use fairlead_testbench::{Helm, TestBench};

use crate::site::{RELEASE, Site, bench, chart};

/// Values that switch everything on.
const EVERYTHING: &[&str] = &[
    "environment.url=https://git.example/releases",
    "environment.secretRef=login",
    "environment.serviceAccountName=deployer",
    "defaultServiceAccount=deployer",
    "defaultKubeconfigServiceAccount=visitor",
    "watchNamespace=team-a",
    "watchLabelSelector=!sharding.fluxcd.io/key",
    "eventsAddr=http://notification-controller.flux-system.svc",
    "metricsPerObject=true",
    "otlpEndpoint=http://collector.observability.svc:4318",
    "leaderElection.enabled=true",
    "noCrossNamespaceRefs=true",
    "strictSubstitutions=false",
    "allowRemoteBases=true",
    "disableChartDigestTracking=true",
    "insecureKubeconfigTLS=true",
    "receiver.enabled=true",
    "receiver.ingress.enabled=true",
    "receiver.ingress.host=hooks.example",
    "receiver.ingress.tlsSecret=hooks",
    "receiver.ingress.className=nginx",
    "persistence.enabled=true",
    "persistence.storageClass=fast",
    "sizeLimits.data=10Gi",
    "sizeLimits.tmp=1Gi",
    "podDisruptionBudget.enabled=true",
    "networkPolicy.enabled=true",
    "networkPolicy.from[0].namespaceSelector.matchLabels.team=metrics",
    "networkPolicy.receiverFrom[0].ipBlock.cidr=192.0.2.0/24",
    "extraArgs[0]=--git=/usr/bin/git",
    "extraEnv[0].name=HTTPS_PROXY",
    "extraEnv[0].value=http://proxy.example",
    "priorityClassName=system-cluster-critical",
    "imagePullSecrets[0].name=registry",
    "podAnnotations.a=b",
    "podLabels.a=b",
    "nodeSelector.disk=fast",
];

/// Flags that the image settles, or that the chart sets as a variable.
const NOT_AN_ARGUMENT: [&str; 12] = [
    "--leader-election-namespace",
    "--data-dir",
    "--listen",
    "--helm",
    "--git",
    "--kustomize",
    "--sops",
    "--cosign",
    "--notation",
    "--own-release",
    "--help",
    "--version",
];

fn template(bench: &TestBench, helm: Helm, values: &[&str]) -> Result<String, String> {
    let mut command = bench.command(helm.name());
    command.args(["template", "fairlead"]).arg(chart()).args(["--namespace", "fairlead-system"]);
    for value in values {
        command.args(["--set", value]);
    }
    try_run(&mut command)
}

#[tokio::test]
async fn the_api_server_takes_all_that_is_rendered() {
    let site = Site::new("render").await;
    let cluster_wide: Vec<&str> =
        EVERYTHING.iter().copied().filter(|value| !value.starts_with("watchNamespace")).collect();
    let own = format!("watchNamespace={}", site.namespace);
    let elected = ["persistence.enabled=false", "leaderElection.enabled=true", "replicas=2"];
    site.bench.apply(r#"{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "fairlead-system"}}"#);
    for helm in Helm::BOTH {
        site.bench.helm(helm, &["lint", "--strict", &chart().display().to_string()]);
        let crds = site.bench.helm(helm, &["show", "crds", &chart().display().to_string()]);
        site.bench.apply(&crds);
        site.bench.kubectl(&["wait", "--for=condition=Established", "--timeout=30s", "crd", "--all"]);
        for values in [vec![], cluster_wide.clone(), [&cluster_wide[..], &[&own], &elected].concat()] {
            let rendered = template(site.bench, helm, &values).expect("renders");
            let mut child = site
                .bench
                .command("kubectl")
                .args(["apply", "--server-side", "--dry-run=server", "--validate=strict", "--filename=-"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("starts");
            std::io::Write::write_all(&mut child.stdin.take().expect("a pipe"), rendered.as_bytes()).expect("writes");
            let output = child.wait_with_output().expect("ends");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success() && !said.contains("Warning"), "{said}\n{rendered}");
        }
    }
}

#[tokio::test]
async fn two_replicas_become_one_again() {
    let site = Site::new("replicas").await;
    for helm in Helm::BOTH {
        site.install(helm, &chart(), &["replicas=2", "leaderElection.enabled=true"]);
        site.install(helm, &chart(), &[]);
        let deployment = site.get(&site.namespace, "deployment", RELEASE).expect("there is a Deployment");
        assert_eq!(deployment["spec"]["strategy"], serde_json::json!({"type": "Recreate"}));
        site.leave(helm, &site.namespace).await;
    }
}

#[tokio::test]
async fn nonsense_is_refused_with_a_reason() {
    let bench = bench().await;
    for helm in Helm::BOTH {
        for (values, words) in [
            (&["replica=2"][..], "'replica' not allowed"),
            (&["environment.uri=https://x"], "'uri' not allowed"),
            (&["environment.url=git@host:x"], "/environment/url"),
            (&["environment.interval=often"], "/environment/interval"),
            (&["concurrent=many"], "/concurrent"),
            (&["watchNamespace=A_B"], "/watchNamespace"),
            (&["controllers[0]=helmet"], "/controllers/0"),
            (&["image.digest=latest"], "/image/digest"),
            (&["otlpEndpoint=collector:4318"], "/otlpEndpoint"),
            (&["replicas=2"], "set leaderElection.enabled"),
            (&["replicas=2", "leaderElection.enabled=true", "persistence.enabled=true"], "persistence"),
            (&["serviceAccount.create=false"], "serviceAccount.name is needed"),
            (&["receiver.enabled=true", "receiver.ingress.enabled=true"], "receiver.ingress.host is needed"),
            (&["eventsAddr=http://x", "controllers={notification}"], "nothing is left to do"),
            (&["gracefulShutdownTimeout=30s"], "shorter than terminationGracePeriodSeconds (30)"),
            (&["gracefulShutdownTimeout=0.4m6s1ms"], "shorter than terminationGracePeriodSeconds (30)"),
            (&["rbac.clusterAdmin=false", "environment.url=https://x"], "set environment.serviceAccountName"),
            (&["podDisruptionBudget.minAvailable=most"], "/podDisruptionBudget/minAvailable"),
            (&["sizeLimits.tmp=much"], "/sizeLimits/tmp"),
        ] {
            let said = template(bench, helm, values).expect_err("is refused");
            assert!(said.contains(words), "{values:?}: {said}");
        }
    }
}

#[tokio::test]
async fn what_can_work_together_is_rendered() {
    let bench = bench().await;
    for helm in Helm::BOTH {
        for (values, words) in [
            (&["gracefulShutdownTimeout=29s999ms"][..], "--graceful-shutdown-timeout=29s999ms"),
            (
                &["rbac.clusterAdmin=false", "environment.url=https://x", "environment.serviceAccountName=me"],
                "  serviceAccountName: me\n  sourceRef:",
            ),
            (
                &["rbac.clusterAdmin=false", "defaultServiceAccount=me", "environment.url=https://x"],
                "kind: Kustomization",
            ),
            (&["persistence.existingClaim=there"], "claimName: there"),
            (&["sizeLimits.data=10Gi"], "emptyDir: {sizeLimit: 10Gi}"),
            (&["podDisruptionBudget.enabled=true"], "maxUnavailable: 1\n"),
            (&["podDisruptionBudget.enabled=true", "podDisruptionBudget.minAvailable=50%"], "minAvailable: 50%\n"),
            (&["podMonitor.enabled=true", "podMonitor.labels.a=b"], "a: b\nspec:\n  selector:"),
        ] {
            let rendered = template(bench, helm, values).unwrap_or_else(|error| panic!("{values:?}: {error}"));
            assert!(rendered.contains(words), "{values:?}: {rendered}");
        }
        let claimed = template(bench, helm, &["persistence.existingClaim=there"]).expect("renders");
        assert!(!claimed.contains("kind: PersistentVolumeClaim"), "{claimed}");
    }
}

#[tokio::test]
async fn several_replicas_avoid_each_others_nodes_unless_told_where_to_be() {
    let bench = bench().await;
    let anti = |values: &[&str]| {
        let elected = ["leaderElection.enabled=true"];
        template(bench, Helm::V4, &[values, &elected].concat()).expect("renders").contains("podAntiAffinity")
    };
    assert!(anti(&["replicas=2"]));
    assert!(!anti(&["replicas=1"]));
    assert!(!anti(&["replicas=2", "affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution=null"]));
}

/// What `fairlead run --help` says.
fn help() -> String {
    run(Command::new(env!("CARGO_BIN_EXE_fairlead")).args(["run", "--help"]))
}

fn flags(help: &str) -> BTreeSet<&str> {
    let flags: BTreeSet<&str> = help
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("--").map(|_| line.trim_start()))
        .chain(help.lines().filter_map(|line| line.trim_start().split_once(", ").map(|(_, long)| long)))
        .filter_map(|line| line.split([' ', '=', '[']).next())
        .filter(|flag| flag.starts_with("--"))
        .collect();
    assert!(flags.len() > 15, "{help}");
    flags
}

#[tokio::test]
async fn every_flag_has_a_value() {
    let bench = bench().await;
    let help = help();
    let flags = flags(&help);
    let rendered = template(bench, Helm::V4, EVERYTHING).expect("renders");
    for flag in flags.difference(&BTreeSet::from(NOT_AN_ARGUMENT)) {
        let forms = [format!("- {flag}"), format!("- \"{flag}")];
        assert!(forms.iter().any(|form| rendered.contains(form)), "the chart never sets {flag}");
    }
}

#[test]
fn every_flag_is_in_the_documentation() {
    let docs = std::fs::read_dir(workspace().join("docs")).expect("lists");
    let pages = docs.map(|page| page.expect("lists").path()).chain([workspace().join("README.md")]);
    let pages: String = pages.map(|page| std::fs::read_to_string(page).expect("reads")).collect();
    let words: BTreeSet<&str> = pages.split(|part: char| !(part.is_ascii_alphanumeric() || part == '-')).collect();
    let help = help();
    let unnamed =
        flags(&help).into_iter().filter(|flag| !["--help", "--version"].contains(flag) && !words.contains(flag));
    let unnamed: Vec<_> = unnamed.collect();
    assert!(unnamed.is_empty(), "no page names {unnamed:?}");
}
