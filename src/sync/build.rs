//! Folders with a `kustomization.yaml` are built by the kustomize binary.

use super::manifest::Manifest;
use super::problem::{Place, Problem};
use super::scan::label;
use crate::process::Command;
use crate::yaml;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Builds one folder within `root`, named by its `kustomization.yaml`; `binary` is kustomize.
///
/// A build that fails hides what it would have made, so that the problem holds all pruning.
pub async fn build(
    binary: &Path,
    root: &Path,
    kustomization: &Path,
    timeout: Duration,
) -> Result<Vec<Manifest>, Box<Problem>> {
    let file = label(root, kustomization);
    let folder = kustomization.parent().unwrap_or(root);
    let failed = |reason: String| Box::new(Problem::unreadable(Place { file: Arc::clone(&file), line: None }, reason));
    let command = Command::new(binary).arg("build").arg(".").current_dir(folder).timeout(timeout);
    let output = Box::pin(command.run()).await.map_err(|error| failed(error.to_string()))?;
    if !output.success() {
        return Err(failed(format!("kustomize build failed: {}", reason(&output.stderr, root))));
    }
    let text = String::from_utf8(output.stdout).map_err(|_| failed("kustomize did not print UTF-8 text".to_owned()))?;
    let documents = yaml::documents(&text).into_iter();
    documents
        .map(|document| {
            let object = document.result.map_err(|error| failed(format!("in what kustomize built, {error}")))?;
            Ok(Manifest::built(Arc::clone(&file), object))
        })
        .collect()
}

/// The last line of what kustomize said, without the place of our store.
fn reason(stderr: &str, root: &Path) -> String {
    let last = stderr.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it gave no reason");
    let root = root.to_string_lossy();
    let text = last.trim().trim_start_matches("Error: ").replace(&format!("{root}/"), "");
    text.replace(root.as_ref(), ".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_names_paths_of_the_repository() {
        let stderr = "# Warning: 'commonLabels' is deprecated\nError: accumulating resources from 'x.yaml': \
                      open /data/a/production/x.yaml: no such file\n";
        assert_eq!(
            reason(stderr, Path::new("/data/a")),
            "accumulating resources from 'x.yaml': open production/x.yaml: no such file"
        );
        assert_eq!(reason("", Path::new("/data/a")), "it gave no reason");
    }
}
