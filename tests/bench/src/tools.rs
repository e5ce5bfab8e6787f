//! Where the pinned tools are.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The repository's root folder.
///
/// # Panics
/// When this crate is not where it was built.
pub fn workspace() -> &'static Path {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_folder.ancestors().nth(2).expect("the crate is two folders below the root")
}

/// The path of a pinned tool: `kubectl`, `helm3`, `helm4`, `kustomize`, `crane`, …
///
/// `FAIRLEAD_TOOLS_BIN` names another folder than `target/tools/bin`.
///
/// # Panics
/// When it has not been built, saying how to.
pub fn tool(name: &str) -> PathBuf {
    let bin =
        std::env::var_os("FAIRLEAD_TOOLS_BIN").map_or_else(|| workspace().join("target/tools/bin"), PathBuf::from);
    let path = bin.join(name);
    assert!(path.exists(), "the tool {} is missing: run `make tools`", path.display());
    path.canonicalize().unwrap_or(path)
}

/// The path of the machine's own git.
///
/// # Panics
/// When `PATH` has none.
pub fn git() -> PathBuf {
    std::env::var_os("PATH")
        .iter()
        .flat_map(std::env::split_paths)
        .map(|folder| folder.join("git"))
        .find(|path| path.exists())
        .expect("git is missing: install it and put it on the PATH")
}

/// Runs a command to its end and gives its standard output.
///
/// # Panics
/// When it cannot be started or fails, with both of its outputs.
pub fn run(command: &mut Command) -> String {
    try_run(command).unwrap_or_else(|error| panic!("{error}"))
}

/// Runs a command to its end and gives its standard output, or an error text with both of its outputs.
pub fn try_run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("cannot start {command:?}: {error}"))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(format!("{command:?} ended with {}:\n{stdout}{stderr}", output.status))
}
