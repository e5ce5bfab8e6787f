//! `make demo`: the story of a commit, told on a real control plane.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use fairlead_testbench::{GitServer, Helm, Operator, TestBench};

mod manifests;
mod screen;
mod story;

use screen::Screen;
use story::Story;

/// How long the operator gets to end by itself.
const GRACE: Duration = Duration::from_secs(10);

struct Options {
    fairlead: PathBuf,
    helm: Helm,
    keep: bool,
}

impl Options {
    fn parse(args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self { fairlead: "target/release/fairlead".into(), helm: Helm::V4, keep: false };
        let mut args = args;
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--fairlead" => options.fairlead = args.next().ok_or("--fairlead wants a path")?.into(),
                "--helm" => options.helm = if args.next().as_deref() == Some("3") { Helm::V3 } else { Helm::V4 },
                "--keep" => options.keep = true,
                other => return Err(format!("unknown argument {other}: demo [--fairlead PATH] [--helm 3|4] [--keep]")),
            }
        }
        Ok(options)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let screen = Screen::new();
    let told = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => tell(&screen, &options).await,
        Err(error) => Err(error),
    };
    match told {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            screen.fail(&error);
            ExitCode::FAILURE
        }
    }
}

async fn tell(screen: &Screen, options: &Options) -> Result<(), String> {
    let start = Instant::now();
    screen.title("Fairlead: a commit becomes a healthy Helm release");
    screen.chapter("A cluster, a releases repository, a charts repository");
    let bench = TestBench::start().await;
    bench.install_crds().await;
    screen.done("control plane with one simulated node, on loopback", start.elapsed());
    let git = GitServer::start();
    let story = Story::begin(screen, &bench, &git).await;
    let mut operator = Operator::builder(&options.fairlead, &bench).helm(options.helm).start().await;
    screen.fact("fairlead", &format!("runs, {:.1} MiB resident", mebibytes(operator.rss())));

    if let Err(error) = story.tell().await {
        return Err(format!("{error}\n\nthe end of the operator's log:\n{}", last_lines(&operator.log(), 25)));
    }
    screen.summary(&story.times());
    screen.fact("fairlead", &format!("{:.1} MiB resident at the end", mebibytes(operator.rss())));
    if options.keep {
        keep(screen, &bench, &story).await;
    }
    operator.terminate(GRACE);
    drop(operator);
    drop(bench);
    screen.fact("all is ended", &format!("after {:.0} s", start.elapsed().as_secs_f64()));
    Ok(())
}

async fn keep(screen: &Screen, bench: &TestBench, story: &Story<'_>) {
    screen.chapter("Yours to try, until Ctrl-C");
    screen.command(&format!("export KUBECONFIG={}", bench.kubeconfig().display()));
    screen.command("kubectl get hr,gitrepository,kustomization -A");
    screen.command(&format!("git clone {} && cd releases  # change production/ui.yaml, commit, push", story.url()));
    // Before this, Ctrl-C simply kills the demo, and with it all that it has started.
    let _ = tokio::signal::ctrl_c().await;
}

#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
