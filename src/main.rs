//! The `fairlead` binary: arguments in, exit code out.

use std::process::ExitCode;

use clap::Parser as _;
use fairlead::args::{Cli, Command, CrdArgs, GuardArgs, PostRenderArgs, RunArgs};
use fairlead::{app, crds, postrender, process, telemetry};

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(args) => run(&args),
        Command::Crds(args) => print_crds(&args),
        Command::ChildGuard(args) => child_guard(&args),
        Command::PostRender(args) => post_render(&args),
    }
}

fn run(args: &RunArgs) -> ExitCode {
    let config = match args.config() {
        Ok(config) => config,
        Err(error) => return usage_error(&error),
    };
    if let Err(error) = telemetry::start(args.log_format, &args.log_level) {
        return usage_error(&error);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let ended = match runtime {
        Ok(runtime) => {
            let ended = runtime.block_on(app::run(config)).map_err(|error| error.to_string());
            // Nothing that hangs may hold the process up, least of all one that lost its lease.
            runtime.shutdown_background();
            ended
        }
        Err(error) => Err(format!("cannot start threads: {error}")),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            tracing::error!("{reason}");
            ExitCode::FAILURE
        }
    }
}

fn print_crds(args: &CrdArgs) -> ExitCode {
    let done = match args {
        CrdArgs { write: Some(dir), .. } => crds::write(dir),
        CrdArgs { check: Some(dir), .. } => crds::check(dir),
        CrdArgs { write: None, check: None } => {
            print!("{}", crds::yaml());
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fairlead: {error}");
            ExitCode::FAILURE
        }
    }
}

fn child_guard(args: &GuardArgs) -> ExitCode {
    let error = process::exec_guarded(&args.command[0], &args.command[1..]);
    eprintln!("fairlead: cannot run {}: {error}", args.command[0].display());
    ExitCode::from(127)
}

fn post_render(args: &PostRenderArgs) -> ExitCode {
    match postrender::command::run(&args.instructions) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fairlead: {error}");
            ExitCode::FAILURE
        }
    }
}

/// 2 is what the argument parser itself ends with.
fn usage_error(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("fairlead: {error}");
    ExitCode::from(2)
}
