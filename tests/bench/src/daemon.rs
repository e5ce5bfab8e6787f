//! Child processes that cannot outlive this one.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// Turns the shell into the program, after leaving a watcher in the same process group. The watcher holds the reading
/// end of a pipe whose other end only this process has: when this process ends, in whatever way, the pipe closes and the
/// group is killed. The second subshell makes the watcher an orphan, so that it is no child of the program.
const WATCHED: &str = r#"
exec 3<&0
( { read -r _ <&3; kill -KILL 0; } >/dev/null 2>&1 & )
exec "$@" 3<&- </dev/null
"#;

/// Removes a folder when this process has ended, and after it everything that still writes there.
const REMOVED: &str = r#"
trap '' INT TERM HUP
read -r _
for _ in 1 2 3 4 5 6 7 8 9 10; do rm -rf "$1" 2>/dev/null && exit; sleep 0.2; done
"#;

/// A running program in a process group of its own, its output in a file; killed when dropped and when this process ends.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    log: PathBuf,
    child: Child,
}

impl Daemon {
    /// Starts a program; `log` gets (more of) its standard output and error.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start<A: AsRef<OsStr>>(
        name: &str,
        program: &Path,
        args: impl IntoIterator<Item = A>,
        env: &[(String, String)],
        log: &Path,
    ) -> Self {
        let output = File::options().create(true).append(true).open(log).expect("open a log file");
        let child = Command::new("sh")
            .args(["-c", WATCHED, "watched"])
            .arg(program)
            .args(args)
            .envs(env.iter().map(|(key, value)| (key, value)))
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(output.try_clone().expect("share a log file"))
            .stderr(output)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name} ({}): {error}", program.display()));
        Self { name: name.to_owned(), log: log.to_owned(), child }
    }

    /// The process id, which is also that of its group.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The file with its output.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// How it ended, if it did.
    ///
    /// # Panics
    /// When the system does not know the child, which cannot be.
    pub fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.child.try_wait().expect("ask for a child's state")
    }

    /// Panics with the end of its output when it has ended.
    ///
    /// # Panics
    /// As said.
    pub fn assert_running(&mut self) {
        if let Some(status) = self.ended() {
            panic!("{} ended with {status}:\n{}", self.name, tail(&self.log, 30));
        }
    }

    /// SIGKILL to the program alone (not to what it has started), and waits for its end.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM to the program alone; its exit code when it ends within `grace`, -1 when a signal ended it.
    pub fn terminate(&mut self, grace: Duration) -> Result<i32, String> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).map_err(|error| format!("SIGTERM to {}: {error}", self.name))?;
        let start = Instant::now();
        while start.elapsed() < grace {
            if let Some(status) = self.ended() {
                return Ok(status.code().unwrap_or_else(|| -status.signal().unwrap_or(1)));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(format!("{} still runs {grace:?} after SIGTERM:\n{}", self.name, tail(&self.log, 30)))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // The watcher keeps the group alive, so its id cannot have been given to others.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

/// A fresh folder that is removed when dropped and when this process ends, in whatever way.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    guard: Child,
}

impl Scratch {
    /// Makes the folder below the system's temporary one, named `fairlead-<prefix>-…`.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn new(prefix: &str) -> Self {
        let folder =
            tempfile::Builder::new().prefix(&format!("fairlead-{prefix}-")).tempdir().expect("make a temporary folder");
        let path = folder.keep();
        let guard = Command::new("sh")
            .args(["-c", REMOVED, "scratch"])
            .arg(&path)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start a shell");
        Self { path, guard }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

/// The last lines of a file, or why it cannot be read.
pub fn tail(path: &Path, lines: usize) -> String {
    let text = match std::fs::read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => return format!("({}: {error})", path.display()),
    };
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// The ids of a process' children, and their command lines.
pub fn children(parent: u32) -> Vec<(u32, String)> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| parent_of(*pid) == Some(parent))
        .map(|pid| (pid, command_line(pid)))
        .collect()
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; the fields behind it do not.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn command_line(pid: u32) -> String {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ").trim_end().to_owned()
}

/// A process' resident memory in bytes; `None` when it does not run.
pub fn resident(pid: u32) -> Option<u64> {
    status(pid, "VmRSS:")
}

/// The most that was resident since the process began, or since [`forget_peak`], in bytes.
pub fn peak(pid: u32) -> Option<u64> {
    status(pid, "VmHWM:")
}

/// Lets [`peak`] count from now on.
///
/// # Panics
/// When there is no such process.
pub fn forget_peak(pid: u32) {
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("a process of one's own");
}

fn status(pid: u32, field: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? * 1024)
}

/// The processor time of a process and of its children that have ended, theirs included; zero when it does not run.
pub fn cpu(pid: u32) -> std::time::Duration {
    let ticks = || -> Option<u64> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // After the name in parentheses: the state, and from the 12th field on utime, stime, cutime and cstime.
        let times = stat.rsplit_once(')')?.1.split_whitespace().skip(11).take(4);
        times.map(|field| field.parse::<u64>().ok()).sum()
    };
    // Linux counts in hundredths of a second for programs, whatever it counts in itself.
    std::time::Duration::from_millis(ticks().unwrap_or(0) * 10)
}

/// Whether a process runs (a zombie does not).
pub fn is_running(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|stat| Some(stat.rsplit_once(')')?.1.trim_start().chars().next()? != 'Z'))
        .unwrap_or(false)
}
