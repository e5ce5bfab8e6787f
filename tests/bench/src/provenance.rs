//! Packages that helm has signed: a `.prov` file beside each.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::bench::Helm;
use crate::chart_server::ChartServer;
use crate::signing::PgpKey;
use crate::tools::run;

/// A package and its provenance file.
#[derive(Debug)]
pub struct SignedPackage {
    folder: TempDir,
    metadata: Value,
    name: String,
}

impl SignedPackage {
    /// `helm package --sign` of a chart's folder as this version.
    ///
    /// # Panics
    /// When helm fails.
    pub fn make(helm: Helm, chart: &Path, version: &str, key: &PgpKey) -> Self {
        let folder = tempfile::tempdir().expect("make a temporary folder");
        let text = std::fs::read_to_string(chart.join("Chart.yaml")).expect("a Chart.yaml");
        let mut metadata: Value = serde_saphyr::from_str(&text).expect("a Chart.yaml that parses");
        metadata["version"] = version.into();
        let name = format!("{}-{version}.tgz", metadata["name"].as_str().expect("a chart's name"));
        let made = Self { folder, metadata, name };
        let ring = made.write("secret.gpg", &key.secret_binary());
        let mut command = made.helm(helm);
        command.args(["package", "--sign", "--key", "Bench", "--version", version, "--destination", "."]);
        run(command.arg("--keyring").arg(&ring).arg(chart));
        std::fs::remove_file(ring).expect("remove a key");
        made
    }

    /// `helm verify`: the one that made it is not asked what it thinks of it.
    ///
    /// # Panics
    /// When helm does not find it good.
    pub fn verify(&self, helm: Helm, key: &PgpKey) -> String {
        let ring = self.write("public.gpg", &key.public_binary());
        run(self.helm(helm).arg("verify").arg(self.path()).arg("--keyring").arg(ring))
    }

    /// The package; its provenance file lies beside it.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join(&self.name)
    }

    /// The package.
    ///
    /// # Panics
    /// When it is gone.
    pub fn archive(&self) -> Vec<u8> {
        std::fs::read(self.path()).expect("read a package")
    }

    /// The name of its provenance file.
    pub fn provenance_name(&self) -> String {
        format!("{}.prov", self.name)
    }

    /// Its provenance file.
    ///
    /// # Panics
    /// When it is gone.
    pub fn provenance(&self) -> Vec<u8> {
        std::fs::read(self.folder.path().join(self.provenance_name())).expect("read a provenance file")
    }

    /// Adds the package to a repository, with its provenance file.
    pub fn publish(&self, server: &ChartServer) {
        server.replace(&self.provenance_name(), &self.provenance());
        self.publish_alone(server);
    }

    /// Adds the package to a repository.
    pub fn publish_alone(&self, server: &ChartServer) {
        server.publish_archive(self.metadata.clone(), &self.archive());
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, bytes).expect("write a file");
        path
    }

    /// A call that knows nothing of the machine's user.
    fn helm(&self, helm: Helm) -> Command {
        let mut command = Command::new(helm.path());
        let folder = self.folder.path();
        command.current_dir(folder).env("HOME", folder).env("HELM_CONFIG_HOME", folder);
        command
    }
}
