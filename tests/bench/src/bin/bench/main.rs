//! `make bench`: speed and size, as ratios against a bare loop of helm commands in the same run.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use fairlead_testbench::{Helm, Operator, TestBench};

mod history;
mod latency;
mod polling;
mod report;
mod throughput;
mod webhook;

use report::Report;

const USAGE: &str =
    "[--fairlead PATH] [--helm 3|4] [--releases N] [--commits N] [--only latency|webhook|throughput|polling|history]";

struct Options {
    fairlead: PathBuf,
    helm: Helm,
    releases: usize,
    commits: usize,
    only: Option<String>,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options =
            Self { fairlead: "target/release/fairlead".into(), helm: Helm::V4, releases: 100, commits: 10, only: None };
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} wants a value"));
            let number = |text: String| text.parse().map_err(|error| format!("{text}: {error}"));
            match arg.as_str() {
                "--fairlead" => options.fairlead = value()?.into(),
                "--helm" => options.helm = if value()? == "3" { Helm::V3 } else { Helm::V4 },
                "--releases" => options.releases = number(value()?)?,
                "--only" => options.only = Some(value()?),
                "--commits" => options.commits = number(value()?)?,
                other => return Err(format!("unknown argument {other}: bench {USAGE}")),
            }
        }
        Ok(options)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let measured = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => measure(&options).await,
        Err(error) => Err(error),
    };
    match measured {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("bench: over budget");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all is within budget.
async fn measure(options: &Options) -> Result<bool, String> {
    let mut report = Report::default();
    let wanted = |part: &str| options.only.as_deref().is_none_or(|only| only == part);
    if wanted("latency") {
        latencies(options, &mut report).await?;
    }
    if wanted("webhook") {
        webhooks(options, &mut report).await?;
    }
    if wanted("throughput") {
        throughput(options, &mut report).await?;
    }
    if wanted("polling") {
        polling::measure(&options.fairlead, &mut report).await?;
    }
    if wanted("history") {
        history::measure(&options.fairlead, &mut report).await?;
    }
    Ok(report.print())
}

/// How soon helm starts, and what the operator weighs with three releases.
async fn latencies(options: &Options, report: &mut Report) -> Result<(), String> {
    eprintln!("bench: three releases, {} commits, {} changed specs", options.commits, options.commits);
    let bench = TestBench::start().await;
    bench.install_crds().await;
    let watch = latency::HelmWatch::new(&bench, options.helm);
    let operator = Operator::builder(&options.fairlead, &bench).helm_binary(watch.program()).start().await;
    let scene = latency::Scene::set(&bench, 3, "1s").await?;
    let pushes = latency::pushes(&scene, &watch, options.commits).await?;
    let changes = latency::changed_specs(&scene, &watch, options.commits).await?;
    report.limit("push (interval 1s) → helm started, median", &millis(median(&pushes)), median(&pushes) < ms(2500));
    report.limit("push (interval 1s) → helm started, worst", &millis(max(&pushes)), true);
    report.limit("changed spec → helm started, median", &millis(median(&changes)), median(&changes) < ms(150));
    report.limit("changed spec → helm started, worst", &millis(max(&changes)), true);
    latency::rest().await;
    let resident = operator.rss();
    let text = format!("{:.1} MiB", report::mebibytes(resident));
    report.limit("resident at rest, 3 releases", &text, resident < 25 << 20);
    Ok(())
}

/// How soon helm starts after a webhook, among many releases.
async fn webhooks(options: &Options, report: &mut Report) -> Result<(), String> {
    eprintln!("bench: {} releases, {} pushes that a webhook tells of", options.releases, options.commits);
    let bench = TestBench::start().await;
    bench.install_crds().await;
    let watch = latency::HelmWatch::new(&bench, options.helm);
    let hook = webhook::Hook::new();
    let operator = Operator::builder(&options.fairlead, &bench).helm_binary(watch.program()).args(hook.flags());
    let _operator = operator.start().await;
    let scene = latency::Scene::set(&bench, options.releases, "1h").await?;
    let samples = webhook::pushes(&bench, &scene, &watch, &hook, options.commits).await?;
    let figure = format!("signed webhook → helm started, {} releases, median", options.releases);
    report.limit(&figure, &millis(median(&samples)), median(&samples) < ms(300));
    report.limit("signed webhook → helm started, worst", &millis(max(&samples)), true);
    Ok(())
}

/// Many releases at once, against helm in a loop.
async fn throughput(options: &Options, report: &mut Report) -> Result<(), String> {
    let bench = TestBench::start().await;
    bench.install_crds().await;
    let scene = throughput::Scene::set(&bench, options.helm, options.releases).await;
    eprintln!("bench: {} installs and upgrades, by helm itself 4 at a time, and by fairlead", options.releases);
    let operator = Operator::builder(&options.fairlead, &bench).helm(options.helm).start().await;
    // Half of the loop before and half of it after, so that a machine that slows down or speeds up favours nobody.
    let (before, after) = (0..options.releases / 2, options.releases / 2..options.releases);
    let mut bare_installs = scene.bare(before.clone(), "install", &[]).await?;
    let installs = scene.apply(3000, 1).await?;
    bare_installs += scene.bare(after.clone(), "install", &[]).await?;
    let upgrade = ["--set", "port=8080"];
    let mut bare_upgrades = scene.bare(before, "upgrade", &upgrade).await?;
    let upgrades = scene.apply(8080, 2).await?;
    bare_upgrades += scene.bare(after, "upgrade", &upgrade).await?;
    report.ratio(&format!("{} installs, all Ready", options.releases), installs, bare_installs, 1.3);
    report.ratio(&format!("{} upgrades, all Ready", options.releases), upgrades, bare_upgrades, 1.3);
    latency::rest().await;
    let text = format!("{:.1} MiB", report::mebibytes(operator.rss()));
    report.limit(&format!("resident at rest, {} releases", options.releases), &text, true);
    Ok(())
}

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn millis(duration: Duration) -> String {
    format!("{} ms", duration.as_millis())
}

fn median(samples: &[Duration]) -> Duration {
    let mut sorted = samples.to_vec();
    sorted.sort();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

fn max(samples: &[Duration]) -> Duration {
    samples.iter().max().copied().unwrap_or_default()
}
