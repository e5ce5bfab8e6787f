//! `fairlead post-render FILE`, run by helm: a rendered stream on standard input, the stream to
//! release on standard output. Started for every install and upgrade, so it does no more than it
//! must; threads and timers exist only where kustomize has to run.

use std::io::{self, Read as _, Write as _};
use std::path::Path;

use super::workplace::leave_word;
use super::{Instructions, Step, kustomize, render};

/// Runs the subcommand. What is wrong is also left beside the instructions, for the operator.
pub fn run(file: &Path) -> Result<(), String> {
    let done = rendered(file).and_then(|stream| {
        let mut out = io::stdout().lock();
        out.write_all(stream.as_bytes()).and_then(|()| out.flush()).map_err(|error| format!("standard output: {error}"))
    });
    if let Err(words) = &done {
        // The operator may be gone, and with it the directory: helm passes the words on as well.
        let _ = leave_word(file, words);
    }
    done
}

fn rendered(file: &Path) -> Result<String, String> {
    let bytes = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let instructions: Instructions =
        serde_json::from_slice(&bytes).map_err(|error| format!("{}: {error}", file.display()))?;
    let mut stream = String::new();
    io::stdin().read_to_string(&mut stream).map_err(|error| format!("standard input: {error}"))?;
    let parent = file.parent().unwrap_or(Path::new("."));
    let run = |step: &Step, stream: &str| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        runtime.block_on(kustomize::run(&instructions.kustomize, parent, &step.kustomize, stream))
    };
    render(&stream, &instructions, run).map_err(|error| error.to_string())
}
