//! Runs helm as a child process.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::Semaphore;

use super::argv::{self, ChartAction, RollbackAction, TestAction, UninstallAction};
use super::endpoint::Admission;
use super::output::{self, Cause};
use super::version::{self, Version, VersionError};
use crate::postrender::{Instructions, Plugin, Workplace, WorkplaceError};
use crate::process::{Command, Output, ProcessError};
use crate::redact;
use crate::values::go_yaml;

/// Helm's directory below the data directory.
const HOME: &str = "helm";

/// How long `helm version` may take.
const VERSION_TIMEOUT: Duration = Duration::from_secs(20);

/// What a call may take beyond helm's own limit for each operation before it counts as hung.
const HANG_MARGIN: Duration = Duration::from_secs(30);

/// Cap on what helm may print, in bytes: the largest release is 1 MiB, notes included.
const OUTPUT_LIMIT: usize = 8 * 1024 * 1024;

/// Bytes of helm's message that an error keeps.
const MESSAGE_LIMIT: usize = 3 * 1024;

/// Why helm did not do what it was asked to do.
#[derive(Debug, thiserror::Error)]
pub enum HelmError {
    /// It could not be run, hung or flooded its output.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// It is no version that can be used.
    #[error(transparent)]
    Version(#[from] VersionError),
    /// Its private directories cannot be made.
    #[error("{}: {source}", dir.display())]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// What its post-rendering needs cannot be made.
    #[error(transparent)]
    PostRendering(#[from] WorkplaceError),
    /// It ran and failed.
    #[error("{message}")]
    Failed {
        /// Sorted by what can be done about it.
        cause: Cause,
        /// Helm's words, redacted and bounded.
        message: String,
    },
}

impl HelmError {
    /// Whether the same call may succeed later with nothing changed in the repository.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Failed { cause, .. } => cause.is_transient(),
            Self::Process(_) | Self::Version(_) | Self::Directory { .. } | Self::PostRendering(_) => true,
        }
    }

    /// Whether helm did nothing because the release, or its next revision, is another client's.
    pub fn is_held_by_another(&self) -> bool {
        matches!(self, Self::Failed { cause: Cause::Locked | Cause::NameInUse, .. })
    }
}

/// A helm call that did what it was asked to do.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    /// From start to end of the child.
    pub elapsed: Duration,
}

/// The helm binary, of a known version, with directories of its own. Cheap to clone.
#[derive(Clone)]
pub struct Helm {
    program: PathBuf,
    version: Version,
    home: PathBuf,
    kubeconfig: Option<PathBuf>,
    admission: Option<Arc<Admission>>,
    slots: Arc<Semaphore>,
    post_rendering: Plugin,
}

impl Helm {
    /// Finds out the version of `program` and makes its directories below `data_dir`. At most
    /// `concurrent` calls run at the same time; others wait.
    ///
    /// Without a `kubeconfig` helm uses the pod's service account.
    pub async fn new(
        program: &Path,
        data_dir: &Path,
        kubeconfig: Option<PathBuf>,
        concurrent: u16,
    ) -> Result<Self, HelmError> {
        let home = data_dir.join(HOME);
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&home)
            .map_err(|source| HelmError::Directory { dir: home.clone(), source })?;
        let post_rendering = Plugin::install(&home)?;
        let version = Version { major: 0, minor: 0, patch: 0 };
        let slots = Arc::new(Semaphore::new(usize::from(concurrent)));
        let program = program.to_owned();
        let mut helm = Self { program, version, home, kubeconfig, admission: None, slots, post_rendering };
        helm.version = helm.read_version().await?;
        Ok(helm)
    }

    /// This helm with another access to a cluster, for one action.
    #[must_use]
    pub fn admitted(&self, admission: Admission) -> Self {
        Self { admission: Some(Arc::new(admission)), ..self.clone() }
    }

    async fn read_version(&self) -> Result<Version, HelmError> {
        let args = ["version", "--template", "{{.Version}}"].map(OsString::from);
        let output = Box::pin(self.command(&args).timeout(VERSION_TIMEOUT).output_limit(64 * 1024).run()).await?;
        if !output.success() {
            return Err(failed(&output));
        }
        Ok(version::parse(&String::from_utf8_lossy(&output.stdout))?)
    }

    /// The version that was found at the start.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Installs or upgrades a release with these values.
    pub async fn release(&self, action: &ChartAction, values: &Map<String, Value>) -> Result<Done, HelmError> {
        let args = argv::chart_action(action, self.version);
        // JSON would not do: helm reads YAML, in which some characters that JSON leaves alone are
        // line breaks or forbidden.
        self.run(&args, Some(go_yaml::encode(values).into_bytes()), action.timeout).await
    }

    /// Uninstalls a release; one that is gone is what was wanted.
    pub async fn uninstall(&self, action: &UninstallAction) -> Result<Done, HelmError> {
        self.run(&argv::uninstall(action, self.version), None, action.timeout).await
    }

    /// A private place with these instructions for one release's post-rendering.
    pub fn workplace(&self, instructions: &Instructions) -> Result<Workplace, WorkplaceError> {
        Workplace::new(&self.post_rendering.workplaces(), instructions)
    }

    /// Makes a revision that is an earlier one again.
    pub async fn rollback(&self, action: &RollbackAction) -> Result<Done, HelmError> {
        self.run(&argv::rollback(action, self.version), None, action.timeout).await
    }

    /// Runs the tests of a release. Waits for pods only, and so takes no slot.
    pub async fn test(&self, action: &TestAction) -> Result<Done, HelmError> {
        self.run_now(&argv::test(action), None, action.timeout).await
    }

    async fn run(&self, args: &[OsString], input: Option<Vec<u8>>, timeout: Duration) -> Result<Done, HelmError> {
        let _slot = self.slots.acquire().await.expect("the semaphore is never closed");
        self.run_now(args, input, timeout).await
    }

    async fn run_now(&self, args: &[OsString], input: Option<Vec<u8>>, timeout: Duration) -> Result<Done, HelmError> {
        let mut command = self.command(args).timeout(timeout.saturating_add(HANG_MARGIN)).output_limit(OUTPUT_LIMIT);
        if let Some(input) = input {
            command = command.stdin(input);
        }
        let output = Box::pin(command.run()).await?;
        if output.success() { Ok(Done { elapsed: output.elapsed }) } else { Err(failed(&output)) }
    }

    fn command(&self, args: &[OsString]) -> Command {
        let mut command = Command::new(&self.program)
            .args(args)
            .env("HOME", &self.home)
            .env("HELM_CACHE_HOME", self.home.join("cache"))
            .env("HELM_CONFIG_HOME", self.home.join("config"))
            .env("HELM_DATA_HOME", self.home.join("data"))
            .env("KUBECACHEDIR", self.home.join("kube"))
            // Measured: a fifth less time for a child that lives for a tenth of a second.
            .env("GOGC", "400");
        if self.version.major >= 4 {
            command = command.env("HELM_PLUGINS", self.post_rendering.plugins());
        }
        match (&self.admission, &self.kubeconfig) {
            (Some(admission), _) => command.env("KUBECONFIG", admission.kubeconfig()).redact(admission.secret()),
            (None, Some(kubeconfig)) => command.env("KUBECONFIG", kubeconfig),
            (None, None) => command,
        }
    }
}

/// Removes what an operator that died left of its helm actions below `data_dir`.
pub fn sweep(data_dir: &Path) -> Result<(), HelmError> {
    Ok(Plugin::sweep(&data_dir.join(HOME))?)
}

/// The kubeconfig that the operator itself uses: `KUBECONFIG`, or `~/.kube/config` where there is
/// one; none in a pod.
pub fn own_kubeconfig() -> Option<PathBuf> {
    let named = std::env::var_os("KUBECONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
    named.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".kube/config")).filter(|path| path.is_file()))
}

fn failed(output: &Output) -> HelmError {
    let failure = output::failure(&output.stderr);
    HelmError::Failed { cause: failure.cause, message: redact::bounded(&failure.message, MESSAGE_LIMIT).into_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Helm's real failures are tested with the real helm; these are the ones it does not have.
    async fn helm(fake: &str) -> Result<Helm, HelmError> {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/fake-helm").join(fake);
        let data_dir = tempfile::tempdir().unwrap();
        Helm::new(&program, data_dir.path(), None, 1).await
    }

    #[tokio::test]
    async fn a_binary_that_cannot_be_used_is_named() {
        for (fake, words) in [
            ("missing", "fake-helm/missing: No such file"),
            ("too-old", "helm v3.2.1 is too old"),
            ("too-new", "newer than this version"),
            ("refuses", "unknown flag: --template"),
            ("floods", "printed more than 65536 bytes"),
        ] {
            let error = helm(fake).await.err().expect("it cannot be used").to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[tokio::test]
    async fn a_good_version_is_kept() {
        assert_eq!(helm("works").await.unwrap().version().major, 4);
    }
}
