//! The programs that the operator runs.

use std::path::Path;
use std::time::Duration;

use super::Obstacle;
use crate::args::{Config, ControllerGroup};
use crate::helm::client::{Helm, own_kubeconfig};
use crate::process::Command;

/// How long a program may take to tell its version.
const PATIENCE: Duration = Duration::from_secs(20);

/// The major versions that are known to work.
const GIT: u64 = 2;
const KUSTOMIZE: u64 = 5;

/// What is wrong with the programs that the chosen controllers need.
pub async fn look(config: &Config) -> Vec<Obstacle> {
    let needs = |group| config.controllers.contains(&group);
    let mut found = Vec::new();
    if needs(ControllerGroup::Helm)
        && let Err(error) = Helm::new(&config.helm, &config.data_dir, own_kubeconfig(), 1).await
    {
        found.push(Obstacle { part: "--helm", why: format!("{}: {error}", config.helm.display()) });
    }
    if needs(ControllerGroup::Source)
        && let Err(why) = check(&config.git, "--version", GIT).await
    {
        found.push(Obstacle { part: "--git", why });
    }
    if needs(ControllerGroup::Kustomize)
        && let Err(why) = check(&config.kustomize, "version", KUSTOMIZE).await
    {
        found.push(Obstacle { part: "--kustomize", why });
    }
    found
}

async fn check(program: &Path, argument: &str, wanted: u64) -> Result<(), String> {
    let output = Box::pin(Command::new(program).arg(argument).timeout(PATIENCE).output_limit(64 * 1024).run()).await;
    let output = output.map_err(|error| error.to_string())?;
    let printed = String::from_utf8_lossy(&output.stdout);
    judge(&printed, wanted).map_err(|why| format!("{}: {why}", program.display()))
}

/// Whether what a program printed of its version will do.
fn judge(printed: &str, wanted: u64) -> Result<(), String> {
    let shown = || crate::redact::bounded(printed.trim(), 80).into_owned();
    match major(printed) {
        None => Err(format!("it printed {:?}, which is no version; name the right program with this flag", shown())),
        Some(major) if major == wanted => Ok(()),
        Some(_) => Err(format!("it is {}; a version {wanted}.x is needed", shown())),
    }
}

/// The major version in `git version 2.39.5`, `v5.8.1` and the like.
fn major(printed: &str) -> Option<u64> {
    let mut words = printed.split(|character: char| character.is_whitespace() || "/:".contains(character));
    let version = words.find_map(|word| {
        let number = word.strip_prefix('v').unwrap_or(word);
        number.starts_with(|first: char| first.is_ascii_digit()).then_some(number)
    })?;
    version.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_the_programs_print_them() {
        for (printed, found) in [
            ("git version 2.39.5\n", Some(2)),
            ("git version 2.50.1 (Apple Git-155)", Some(2)),
            ("v5.8.1\n", Some(5)),
            ("{Version:kustomize/v3.8.7 GitCommit:ad092cc7a91c}", Some(3)),
            ("hello", None),
            ("", None),
        ] {
            assert_eq!(major(printed), found, "{printed}");
        }
        assert_eq!(judge("v5.8.1", 5), Ok(()));
        assert!(judge("v4.5.7", 5).unwrap_err().contains("it is v4.5.7; a version 5.x is needed"));
        assert!(judge("hello", 5).unwrap_err().contains("no version"));
    }
}
