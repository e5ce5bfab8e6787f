//! The files that a program reads which checks a signature.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::super::super::download::TlsTexts;
use super::super::access::RegistryAccess;
use super::super::credentials::Login;
use super::super::handover;
use crate::process::Command;
use crate::proxy::Proxy;

/// Where the object's own authorities are.
const AUTHORITIES: &str = "authorities";

/// A directory, only for this user and this check, with the login, the authorities and what else is written.
pub struct Place {
    dir: TempDir,
}

impl Place {
    /// In an empty directory, for a registry of this name.
    pub fn make(dir: TempDir, access: &RegistryAccess, registry: &str) -> io::Result<Self> {
        let place = Self { dir };
        let login = handover::docker_config(&access.repository, registry, access.login.as_ref());
        place.write("config.json", login.as_bytes())?;
        fs::create_dir(place.path().join(AUTHORITIES))?;
        if let Some(authority) = access.certificates.as_ref().and_then(|data| TlsTexts::of(data).authority) {
            place.write(Path::new(AUTHORITIES).join("ca.crt"), authority)?;
        }
        Ok(place)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file at a path below the directory.
    pub fn write(&self, below: impl AsRef<Path>, bytes: &[u8]) -> io::Result<PathBuf> {
        let path = self.path().join(below);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(bytes).map(|()| path)
    }

    /// A call in the home of nobody: nothing that the operator's user has is read.
    pub fn command(&self, program: &Path, access: &RegistryAccess, plain_http: bool) -> Command {
        let inherited = std::env::var_os("SSL_CERT_DIR");
        let authorities = self.path().join(AUTHORITIES);
        let mut command = Command::new(program)
            .current_dir(self.path())
            .env("HOME", self.path())
            .env("DOCKER_CONFIG", self.path())
            .env("SSL_CERT_DIR", handover::authority_directories(&authorities, inherited.as_deref()));
        for (name, value) in handover::proxies(access.proxy.as_ref(), plain_http) {
            command = command.env(name, value.as_str());
        }
        let password = access.login.as_ref().map(|login| match login {
            Login::Password(_, secret) | Login::Identity(secret) | Login::Bearer(secret) => secret.as_str(),
        });
        let proxy = access.proxy.as_ref().and_then(Proxy::password);
        let secrets = password.into_iter().chain(proxy.as_ref().map(|password| password.as_str()));
        secrets.fold(command, Command::redact)
    }

    /// The text without the path of this directory, which is another one each time.
    pub fn hidden(&self, text: &str) -> String {
        text.replace(&*self.path().to_string_lossy(), "~")
    }
}
