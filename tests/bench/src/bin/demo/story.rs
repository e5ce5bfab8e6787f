//! The story itself, chapter by chapter.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use fairlead_testbench::objects::{Cluster, ready, revision};
use fairlead_testbench::{GitServer, Repository, TestBench, chart_files, fixture_chart, try_wait_for};
use serde_json::Value;

use crate::manifests::{App, bootstrap};
use crate::screen::Screen;

const API: App = App::new("api", 3000);
const UI: App = App::new("ui", 3000);
const WORKER: App = App::new("worker", 4000);

/// Longer than any step takes on a slow machine.
const TIMEOUT: Duration = Duration::from_mins(1);

/// The story's places and what was measured so far.
pub struct Story<'a> {
    screen: &'a Screen,
    cluster: Cluster,
    releases: Repository,
    releases_url: String,
    charts_url: String,
    times: RefCell<Vec<(String, Duration)>>,
}

impl<'a> Story<'a> {
    /// Fills both repositories and applies the two objects that make the cluster follow `production/`.
    pub async fn begin(screen: &'a Screen, bench: &TestBench, git: &GitServer) -> Self {
        let charts = git.repository("charts");
        let files = chart_files(&fixture_chart("nodejs"));
        let files: Vec<(String, String)> =
            files.into_iter().map(|(path, text)| (format!("charts/nodejs/{path}"), text)).collect();
        let files: Vec<(&str, Option<&str>)> = files.iter().map(|(path, text)| (&**path, Some(&**text))).collect();
        charts.commit("A chart for web applications", &files);
        let releases = git.repository("releases");
        let story = Self {
            screen,
            cluster: Cluster::new(bench.client().await),
            releases_url: git.url(&releases),
            releases,
            charts_url: git.url(&charts),
            times: RefCell::default(),
        };
        story.releases.commit("An empty environment", &[("production/PLACEHOLDER", Some(""))]);
        bench.apply(&bootstrap(&story.releases_url));
        screen.fact("releases repository", &story.releases_url);
        screen.fact("charts repository", &story.charts_url);
        story
    }

    /// The releases repository's address.
    pub fn url(&self) -> &str {
        &self.releases_url
    }

    /// What took how long.
    pub fn times(&self) -> Vec<(String, Duration)> {
        self.times.borrow().clone()
    }

    /// All chapters; an error says what did not come to pass.
    pub async fn tell(&self) -> Result<(), String> {
        self.three_releases().await?;
        self.a_change().await?;
        self.a_broken_commit().await?;
        self.a_crash().await?;
        self.a_removal().await
    }

    async fn three_releases(&self) -> Result<(), String> {
        self.screen.chapter("Three files are committed, three releases become ready");
        self.wait("the environment to be followed", || async { self.applied("").await }).await?;
        let start = self.commit("Add api, ui and worker", &[API, UI, WORKER]);
        for app in [API, UI, WORKER] {
            let release = self.wait_ready(&app, 1).await?;
            let message = ready(&release).map(|ready| ready.message).unwrap_or_default();
            self.screen.done(&format!("{}/{} is Ready: {message}", app.namespace(), app.name), start.elapsed());
        }
        self.note("three new releases committed → all Ready", start);
        Ok(())
    }

    async fn a_change(&self) -> Result<(), String> {
        self.screen.chapter("A commit changes the ui's port, and the cluster follows");
        let old = self.cluster.port(&UI.namespace(), UI.name).await?;
        let start = self.commit("Move ui to port 8080", &[App { port: 8080, ..UI }]);
        let release = self.wait_ready(&UI, 2).await?;
        let new = self.cluster.port(&UI.namespace(), UI.name).await?;
        if new != 8080 {
            return Err(format!("the service's port is {new} instead of 8080"));
        }
        let number = revision(&release).unwrap_or_default();
        self.screen.done(&format!("port {old} → {new}, helm revision {number}"), start.elapsed());
        self.note("a changed port committed → Ready at the new port", start);
        Ok(())
    }

    async fn a_broken_commit(&self) -> Result<(), String> {
        self.screen.chapter("A broken commit is named, and everything else keeps running");
        let broken = API.render(&self.charts_url).replace("tag: 0.90.1", "tag: {{ IMAGE_TAG }}");
        let start = Instant::now();
        self.releases.commit("Fill in the image's tag", &[(&API.path(), Some(&broken))]);
        self.screen.act("commit: production/api.yaml has an unfilled placeholder, `tag: {{ IMAGE_TAG }}`");
        let message = self
            .wait("the broken file to be named", || async {
                let state = ready(&self.kustomization().await?).ok_or("no condition yet")?;
                let named = state.status == "False" && state.message.contains("api.yaml");
                if named { Ok(state.message) } else { Err(format!("{}: {}", state.reason, state.message)) }
            })
            .await?;
        self.screen.trouble(&message);
        self.note("a broken file committed → named with its line", start);
        for app in [API, UI, WORKER] {
            self.is_ready(&app, 1).await?;
        }
        self.screen.done("api, ui and worker are Ready still, and nothing was pruned", start.elapsed());
        let start = self.commit("Fill in the image's tag, really", &[API]);
        let head = self.releases.head("main");
        self.wait("the next commit to heal it", || async { self.applied(&head).await }).await?;
        self.screen.done("the next commit heals it", start.elapsed());
        Ok(())
    }

    async fn a_crash(&self) -> Result<(), String> {
        self.screen.chapter("A release whose pods crash says so");
        let app = pipeline();
        let start = self.commit("Add pipeline (its container exits with code 3)", std::slice::from_ref(&app));
        let message = self
            .wait("the crash to be reported", || async {
                let release = self.cluster.get("HelmRelease", &app.namespace(), app.name).await?;
                let state = ready(&release).ok_or("no condition yet")?;
                if state.status == "False" && revision(&release).is_some() {
                    Ok(format!("{}: {}", state.reason, state.message))
                } else {
                    Err(format!("{}: {}", state.reason, state.message))
                }
            })
            .await?;
        self.screen.trouble(&message);
        self.note(&format!("crashing pods committed → reported (its timeout is {})", app.timeout), start);
        Ok(())
    }

    async fn a_removal(&self) -> Result<(), String> {
        self.screen.chapter("A removed file takes its release with it");
        let app = pipeline();
        let start = Instant::now();
        self.releases.commit("Remove pipeline", &[(&app.path(), None)]);
        self.screen.act("commit: Remove pipeline");
        self.wait("the namespace to be gone", || async {
            if self.cluster.has_namespace(&app.namespace()).await? {
                return Err(format!("namespace {} is still there", app.namespace()));
            }
            Ok(())
        })
        .await?;
        self.screen.done("its release and its namespace are gone", start.elapsed());
        self.note("a removed file committed → release and namespace gone", start);
        for app in [API, UI, WORKER] {
            self.is_ready(&app, 1).await?;
        }
        Ok(())
    }

    fn commit(&self, message: &str, apps: &[App]) -> Instant {
        let texts: Vec<(String, String)> = apps.iter().map(|app| (app.path(), app.render(&self.charts_url))).collect();
        let files: Vec<(&str, Option<&str>)> = texts.iter().map(|(path, text)| (&**path, Some(&**text))).collect();
        let start = Instant::now();
        let hash = self.releases.commit(message, &files);
        self.screen.act(&format!("commit {}: {message}", &hash[..7]));
        start
    }

    async fn kustomization(&self) -> Result<Value, String> {
        self.cluster.get("Kustomization", "flux-system", "flux-sync").await
    }

    /// Whether the Kustomization is ready with a revision that holds `commit`.
    async fn applied(&self, commit: &str) -> Result<(), String> {
        let object = self.kustomization().await?;
        let state = ready(&object).ok_or("no condition yet")?;
        let revision = object["status"]["lastAppliedRevision"].as_str().unwrap_or_default();
        let done = state.status == "True" && revision.contains(commit);
        if done { Ok(()) } else { Err(format!("{}: {}", state.reason, state.message)) }
    }

    async fn wait_ready(&self, app: &App, at_least: i64) -> Result<Value, String> {
        self.wait(&format!("{} to become Ready", app.name), || self.is_ready(app, at_least)).await
    }

    async fn is_ready(&self, app: &App, at_least: i64) -> Result<Value, String> {
        let release = self.cluster.get("HelmRelease", &app.namespace(), app.name).await?;
        let state = ready(&release).ok_or_else(|| format!("{}: no condition yet", app.name))?;
        let newest = revision(&release).unwrap_or_default();
        if state.status == "True" && state.current && newest >= at_least {
            Ok(release)
        } else {
            Err(format!("{}: {}: {}", app.name, state.reason, state.message))
        }
    }

    async fn wait<T, F>(&self, what: &str, mut attempt: impl FnMut() -> F) -> Result<T, String>
    where
        F: Future<Output = Result<T, String>>,
    {
        let waited = try_wait_for(TIMEOUT, || {
            let attempt = attempt();
            async {
                let seen = attempt.await;
                if let Err(state) = &seen {
                    self.screen.progress(&format!("waiting for {what} ({state})"));
                }
                seen
            }
        });
        waited.await.map_err(|seen| format!("waited {TIMEOUT:?} for {what}; last seen: {seen}"))
    }

    fn note(&self, what: &str, start: Instant) {
        self.times.borrow_mut().push((what.to_owned(), start.elapsed()));
    }
}

fn pipeline() -> App {
    App { fault: "crash-loop", timeout: "5s", ..App::new("pipeline", 5000) }
}
