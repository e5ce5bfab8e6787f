//! Signatures of artifacts in registries, made by `cosign` without any service.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::registry::OciRegistry;
use crate::tools::{run, tool};

/// A key pair of cosign's.
#[derive(Debug)]
pub struct CosignKey {
    folder: TempDir,
}

impl CosignKey {
    /// Makes one.
    ///
    /// # Panics
    /// When cosign fails.
    pub fn generate() -> Self {
        let folder = tempfile::tempdir().expect("make a temporary folder");
        run(cosign(folder.path()).arg("generate-key-pair"));
        Self { folder }
    }

    /// The public key, PEM.
    ///
    /// # Panics
    /// When it is gone.
    pub fn public(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("cosign.pub")).expect("read a public key")
    }

    /// Signs the artifact with this digest, in a bundle beside it.
    ///
    /// # Panics
    /// When cosign fails.
    pub fn sign(&self, registry: &OciRegistry, repository: &str, digest: &str) {
        let mut sign = cosign(self.folder.path());
        sign.args(["sign", "--yes", "--tlog-upload=false", "--use-signing-config=false", "--key=cosign.key"]);
        run(sign.arg(format!("{}/{repository}@{digest}", registry.open_host())));
    }
}

/// A call that knows nothing of the machine's user.
fn cosign(folder: &Path) -> Command {
    let mut command = Command::new(tool("cosign"));
    command.current_dir(folder).env("HOME", folder).env("DOCKER_CONFIG", folder).env("COSIGN_PASSWORD", "");
    command
}
