//! kwok's configuration.

use std::path::Path;

use serde_json::json;

/// What `kubectl logs` shows for every container.
pub const CONTAINER_LOG: &str = "\
2026-01-02T03:04:05.000000000Z stdout F starting
2026-01-02T03:04:05.100000000Z stdout F reading configuration
2026-01-02T03:04:05.200000000Z stderr F fatal: cannot reach the database at db:5432
";

/// What `kubectl logs --previous` shows for every container.
pub const PREVIOUS_CONTAINER_LOG: &str = "\
2026-01-02T03:04:01.000000000Z stdout F starting
2026-01-02T03:04:01.200000000Z stderr F fatal: cannot reach the database at db:5432
";

/// The stages, and the logs of all containers.
pub fn render(folder: &Path) -> String {
    let logs = json!({
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "ClusterLogs",
        "metadata": {"name": "logs"},
        "spec": {"logs": [{
            "logsFile": folder.join("container.log"),
            "previousLogsFile": folder.join("container-previous.log"),
        }]},
    });
    format!("{}---\n{logs}\n", include_str!("../../fixtures/stages.yaml"))
}
