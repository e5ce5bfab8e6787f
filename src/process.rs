//! The only place that starts a child process.
//!
//! A child gets a cleared environment with an allow-list, its own process group, a time limit
//! (SIGTERM, then SIGKILL to the whole group), and a cap on what it may print. It ends with the
//! operator: a dropped future kills its group, and a killed operator takes the child along,
//! because the child starts through `fairlead child-guard`, which asks the kernel for that.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use zeroize::Zeroizing;

use crate::redact::Redactor;

mod tally;

pub use tally::{Count, counts};

/// Name of the hidden subcommand that binds a child's life to the operator's.
pub const GUARD_SUBCOMMAND: &str = "child-guard";

/// How long a child may take to end after SIGTERM before it gets SIGKILL.
const TERMINATION_GRACE: Duration = Duration::from_secs(2);

/// Default cap on each of standard output and standard error, in bytes.
const DEFAULT_OUTPUT_LIMIT: usize = 32 * 1024 * 1024;

/// Bytes of standard error that an error message may carry.
const ERROR_TEXT_LIMIT: usize = 4 * 1024;

/// Variables that a child inherits. Everything else is set explicitly or not at all.
const INHERITED: &[&str] = &[
    "PATH",
    "HOME",
    "TMPDIR",
    "LANG",
    "LC_ALL",
    "TZ",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_SYSTEM",
    "GIT_CONFIG_NOSYSTEM",
    "KUBERNETES_SERVICE_HOST",
    "KUBERNETES_SERVICE_PORT",
];

/// Why a child gave no result. A child that ran and failed is an [`Output`] with its code.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The program does not exist or is not executable.
    #[error("cannot start {}: {source}; install it or name its path with the flag for it", program.display())]
    Missing {
        /// The program as configured.
        program: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The operating system refused to start or to talk to the child.
    #[error("cannot run {}: {source}", program.display())]
    Io {
        /// The program as configured.
        program: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The child did not end in time and was killed.
    #[error("{} did not end within {timeout:?} and was killed{}", program.display(), said(stderr))]
    TimedOut {
        /// The program as configured.
        program: PathBuf,
        /// The limit that passed.
        timeout: Duration,
        /// The redacted end of what it had said.
        stderr: String,
    },
    /// The child printed more than the cap and was killed.
    #[error("{} printed more than {limit} bytes and was killed", program.display())]
    OutputTooLarge {
        /// The program as configured.
        program: PathBuf,
        /// The cap, in bytes.
        limit: usize,
    },
}

fn said(stderr: &str) -> String {
    if stderr.is_empty() { String::new() } else { format!("; it said: {stderr}") }
}

/// What a child that ended by itself left behind.
#[derive(Debug)]
pub struct Output {
    /// Its exit code, or -1 when a signal ended it.
    pub code: i32,
    /// What it printed.
    pub stdout: Vec<u8>,
    /// What it printed on standard error, redacted.
    pub stderr: String,
    /// From start to end.
    pub elapsed: Duration,
}

impl Output {
    /// Whether the child ended with code 0.
    pub fn success(&self) -> bool {
        self.code == 0
    }
}

/// A child process to run. Defaults: no input, 60 s, 32 MiB of output.
pub struct Command {
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    current_dir: Option<PathBuf>,
    stdin: Option<Zeroizing<Vec<u8>>>,
    timeout: Duration,
    output_limit: usize,
    redactor: Redactor,
}

impl Command {
    /// A call of `program`, looked up in `PATH` unless it is a path.
    pub fn new(program: &Path) -> Self {
        Self {
            program: program.to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            current_dir: None,
            stdin: None,
            timeout: Duration::from_mins(1),
            output_limit: DEFAULT_OUTPUT_LIMIT,
            redactor: Redactor::default(),
        }
    }

    /// Adds one argument. Arguments are visible to every user of the machine: never a secret.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments, see [`Self::arg`].
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets a variable of the child's environment.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Sets the child's working directory.
    #[must_use]
    pub fn current_dir(mut self, dir: &Path) -> Self {
        self.current_dir = Some(dir.to_owned());
        self
    }

    /// What the child reads from standard input; wiped from memory afterwards.
    #[must_use]
    pub fn stdin(mut self, input: Vec<u8>) -> Self {
        self.stdin = Some(Zeroizing::new(input));
        self
    }

    /// How long the child may take before it is killed.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Cap on each of standard output and standard error, in bytes.
    #[must_use]
    pub fn output_limit(mut self, limit: usize) -> Self {
        self.output_limit = limit;
        self
    }

    /// A secret that must not show in what the child says.
    #[must_use]
    pub fn redact(mut self, secret: &str) -> Self {
        self.redactor.add(secret);
        self
    }

    /// Runs the child to its end.
    pub async fn run(mut self) -> Result<Output, ProcessError> {
        let started = Instant::now();
        let mut running = tally::Running::begin(&self.program);
        let input = self.stdin.take();
        let mut child = self.spawn(input.is_some())?;
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let guard = KillGroupOnDrop(group);
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let mut said = Vec::new();
        let mut printed = Vec::new();
        let ended = {
            let talk = async {
                let feed = async {
                    if let (Some(mut pipe), Some(input)) = (stdin, input) {
                        // A child that ends without reading its input tells why by its code.
                        let _ = pipe.write_all(&input).await;
                    }
                };
                let limit = self.output_limit;
                let ((), out, err, status) = tokio::join!(
                    feed,
                    read_capped(stdout, &mut printed, limit, group),
                    read_capped(stderr, &mut said, limit, group),
                    child.wait(),
                );
                Ok::<_, std::io::Error>((out? && err?, status?))
            };
            tokio::time::timeout(self.timeout, talk).await
        };
        let Ok(ended) = ended else {
            terminate(&mut child, group).await;
            let (program, timeout) = (self.program, self.timeout);
            return Err(ProcessError::TimedOut { program, timeout, stderr: tail(&said, &self.redactor) });
        };
        drop(guard);
        let (within_limit, status) =
            ended.map_err(|source| ProcessError::Io { program: self.program.clone(), source })?;
        if !within_limit {
            return Err(ProcessError::OutputTooLarge { program: self.program, limit: self.output_limit });
        }
        running.ended(status.success());
        Ok(Output {
            code: status.code().unwrap_or(-1),
            stdout: printed,
            stderr: self.redactor.text(&String::from_utf8_lossy(&said)).into_owned(),
            elapsed: started.elapsed(),
        })
    }

    fn spawn(&self, with_input: bool) -> Result<tokio::process::Child, ProcessError> {
        let program =
            resolve(&self.program).map_err(|source| ProcessError::Missing { program: self.program.clone(), source })?;
        let mut command = match guard_binary() {
            Some(guard) => {
                let mut command = tokio::process::Command::new(guard);
                command.arg(GUARD_SUBCOMMAND).arg(std::process::id().to_string()).arg(program);
                command
            }
            None => tokio::process::Command::new(program),
        };
        command.args(&self.args).env_clear().process_group(0).kill_on_drop(true);
        command.envs(INHERITED.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        if let Some(dir) = &self.current_dir {
            command.current_dir(dir);
        }
        command.stdin(if with_input { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().map_err(|source| ProcessError::Io { program: self.program.clone(), source })
    }
}

/// Finds the program now, so that a missing one is told from a child that failed.
fn resolve(program: &Path) -> std::io::Result<PathBuf> {
    let executable = |path: &Path| {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    if program.components().count() > 1 {
        return match std::fs::metadata(program) {
            Err(error) => Err(error),
            Ok(_) if executable(program) => Ok(program.to_owned()),
            Ok(_) => Err(std::io::Error::new(std::io::ErrorKind::PermissionDenied, "not an executable file")),
        };
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|candidate| executable(candidate))
        .ok_or_else(|| std::io::Error::new(std::io::ErrorKind::NotFound, "not found in PATH"))
}

/// The operator's own binary; none in unit tests, whose binary has no subcommands.
fn guard_binary() -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    (own.file_name()? == "fairlead").then_some(own)
}

/// Replaces the current process by `program`, after asking the kernel to kill it when its parent
/// (the operator, of that id) dies. Returns only on failure.
pub fn exec_guarded(parent: i32, program: &OsStr, args: &[OsString]) -> std::io::Error {
    if let Err(error) = rustix::process::set_parent_process_death_signal(Some(Signal::KILL)) {
        return error.into();
    }
    // Of a death before that nobody tells.
    if rustix::process::getppid().map(Pid::as_raw_nonzero).map(i32::from) != Some(parent) {
        return std::io::Error::other("the operator is gone");
    }
    std::process::Command::new(program).args(args).exec()
}

struct KillGroupOnDrop(Option<Pid>);

impl Drop for KillGroupOnDrop {
    fn drop(&mut self) {
        signal(self.0, Signal::KILL);
    }
}

fn signal(group: Option<Pid>, signal: Signal) {
    if let Some(group) = group {
        // An empty group has ended by itself, which is what was wanted.
        let _ = rustix::process::kill_process_group(group, signal);
    }
}

async fn terminate(child: &mut tokio::process::Child, group: Option<Pid>) {
    signal(group, Signal::TERM);
    if tokio::time::timeout(TERMINATION_GRACE, child.wait()).await.is_err() {
        signal(group, Signal::KILL);
        let _ = child.wait().await;
    }
}

/// Reads to the end; past the cap it kills the group and says `false`.
async fn read_capped(
    pipe: Option<impl AsyncRead + Unpin>,
    into: &mut Vec<u8>,
    limit: usize,
    group: Option<Pid>,
) -> std::io::Result<bool> {
    let Some(mut pipe) = pipe else { return Ok(true) };
    let mut chunk = vec![0; 16 * 1024];
    loop {
        let read = pipe.read(&mut chunk).await?;
        if read == 0 {
            return Ok(true);
        }
        if into.len() + read > limit {
            signal(group, Signal::KILL);
            return Ok(false);
        }
        into.extend_from_slice(&chunk[..read]);
    }
}

fn tail(said: &[u8], redactor: &Redactor) -> String {
    let text = String::from_utf8_lossy(said);
    let clean = redactor.text(text.trim());
    let start = clean.ceil_char_boundary(clean.len().saturating_sub(ERROR_TEXT_LIMIT));
    clean[start..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        Command::new(Path::new("sh")).args(["-c", script])
    }

    #[tokio::test]
    async fn a_child_gets_its_input_and_its_code_is_kept() {
        let output = sh("cat; echo no >&2; exit 3").stdin(b"hello".to_vec()).run().await.unwrap();
        assert_eq!((output.code, output.stdout.as_slice(), output.stderr.trim()), (3, &b"hello"[..], "no"));
    }

    #[tokio::test]
    async fn a_missing_program_is_named() {
        let error = Command::new(Path::new("/no/such/helm")).run().await.unwrap_err();
        assert!(matches!(error, ProcessError::Missing { .. }));
        assert!(error.to_string().contains("/no/such/helm"), "{error}");
    }

    #[tokio::test]
    async fn a_hanging_child_is_killed_with_its_children() {
        let dir = tempfile::tempdir().unwrap();
        let pid_file = dir.path().join("pid");
        let script = format!("echo waiting >&2; sleep 600 & echo $! > {}; wait", pid_file.display());
        let error = sh(&script).timeout(Duration::from_millis(300)).run().await.unwrap_err();
        assert!(error.to_string().contains("it said: waiting"), "{error}");
        let pid: i32 = std::fs::read_to_string(pid_file).unwrap().trim().parse().unwrap();
        let alive = || {
            let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            !state.is_empty() && !state.contains(") Z ")
        };
        let deadline = Instant::now() + Duration::from_secs(5);
        while alive() && Instant::now() < deadline {
            tokio::task::yield_now().await;
        }
        assert!(!alive(), "the grandchild lives");
    }

    #[tokio::test]
    async fn a_flood_ends_the_child() {
        let error = sh("yes").output_limit(100_000).run().await.unwrap_err();
        assert!(matches!(error, ProcessError::OutputTooLarge { limit: 100_000, .. }), "{error}");
    }

    #[tokio::test]
    async fn secrets_do_not_show_and_the_environment_is_cleared() {
        let output = sh("echo $PASSWORD >&2; env").env("PASSWORD", "hunter2").redact("hunter2").run().await.unwrap();
        assert_eq!(output.stderr.trim(), "*****");
        assert!(!String::from_utf8_lossy(&output.stdout).contains("CARGO_MANIFEST_DIR"));
    }
}
