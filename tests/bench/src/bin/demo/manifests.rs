//! The files of the releases repository, in the shape that real ones have.

/// One app's file.
#[derive(Clone)]
pub struct App {
    /// The app's name, which is its release's as well.
    pub name: &'static str,
    /// The port of its Service.
    pub port: u16,
    /// A fault of its pods, or nothing.
    pub fault: &'static str,
    /// How long its pods may take to become ready.
    pub timeout: &'static str,
}

impl App {
    /// A healthy app.
    pub const fn new(name: &'static str, port: u16) -> Self {
        Self { name, port, fault: "", timeout: "1m" }
    }

    /// The namespace of its release.
    pub fn namespace(&self) -> String {
        format!("{}-default", self.name)
    }

    /// Its file's path.
    pub fn path(&self) -> String {
        format!("production/{}.yaml", self.name)
    }

    /// Its file's text: a Namespace, the chart's `GitRepository` and the `HelmRelease`.
    pub fn render(&self, charts: &str) -> String {
        let Self { name, port, fault, timeout } = self;
        let namespace = self.namespace();
        format!(
            r#"---
apiVersion: v1
kind: Namespace
metadata:
  name: {namespace}
  labels:
    sandboxId: default
---
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata:
  name: {name}-chart
  namespace: {namespace}
spec:
  interval: 5m0s
  url: {charts}
  ref:
    branch: main
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata:
  name: {name}
  namespace: {namespace}
spec:
  releaseName: {name}
  interval: 2m0s
  timeout: {timeout}
  chart:
    spec:
      chart: charts/nodejs
      sourceRef:
        kind: GitRepository
        name: {name}-chart
        namespace: {namespace}
      reconcileStrategy: Revision
  values:
    image:
      repository: {name}
      tag: 0.90.1
    port: {port}
    fault: "{fault}"
"#
        )
    }
}

/// What an administrator applies once: the releases repository and the folder to follow.
pub fn bootstrap(releases: &str) -> String {
    format!(
        r"---
apiVersion: v1
kind: Namespace
metadata:
  name: flux-system
---
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata:
  name: flux-system
  namespace: flux-system
spec:
  interval: 1s
  url: {releases}
  ref:
    branch: main
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata:
  name: flux-sync
  namespace: flux-system
spec:
  interval: 5m0s
  path: ./production
  prune: true
  sourceRef:
    kind: GitRepository
    name: flux-system
"
    )
}
