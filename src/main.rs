//! The `fairlead` binary: arguments in, exit code out.

use std::process::ExitCode;

use clap::Parser as _;
use fairlead::args::{Cli, Command, ConnectThroughArgs, CrdArgs, GuardArgs, PostRenderArgs, RunArgs};
use fairlead::git::through;
use fairlead::{app, crds, postrender, process, telemetry};

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(args) => run(&args),
        Command::Crds(args) => run_crds(&args),
        Command::ChildGuard(args) => child_guard(&args),
        Command::PostRender(args) => post_render(&args),
        Command::ConnectThrough(args) => connect_through(&args),
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

fn run_crds(args: &CrdArgs) -> ExitCode {
    if args.apply {
        return apply_crds();
    }
    let done = match args {
        CrdArgs { write: Some(dir), .. } => crds::write(dir),
        CrdArgs { check: Some(dir), .. } => crds::check(dir),
        CrdArgs { write: None, check: None, .. } => {
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

fn connect_through(args: &ConnectThroughArgs) -> ExitCode {
    let way = through::Way::read(&std::env::var(through::VARIABLE).unwrap_or_default());
    match way.and_then(|way| through::run(&way, &args.host, args.port)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn apply_crds() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(crds::install::install()).map_err(|error| error.to_string()),
        Err(error) => Err(format!("cannot start: {error}")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("fairlead: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn child_guard(args: &GuardArgs) -> ExitCode {
    let error = process::exec_guarded(args.parent, &args.command[0], &args.command[1..]);
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
