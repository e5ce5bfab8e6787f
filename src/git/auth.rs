//! Credentials of a remote: read from a Secret, handed to git through private files and its
//! environment, never through arguments.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::ByteString;
use percent_encoding::percent_decode_str;
use sha2::{Digest as _, Sha256};
use url::Url;
use zeroize::Zeroizing;

use super::remote::{Remote, Transport};
use super::{argv, through};

/// Why a Secret gives no usable credentials.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// A key that the transport needs is missing.
    #[error("invalid '{transport}' auth option: '{key}' is required")]
    Missing {
        /// `ssh` or `https`.
        transport: &'static str,
        /// The key of the Secret.
        key: &'static str,
    },
    /// A value is not text.
    #[error("the value of '{0}' is not UTF-8 text")]
    NotText(&'static str),
    /// A password without a user name.
    #[error("invalid 'https' auth option: 'password' requires 'username' to be set")]
    NoUsername,
    /// Only one half of a client certificate.
    #[error("'tls.crt' and 'tls.key' must be given together")]
    HalfCertificate,
    /// A key that a passphrase opens, and no passphrase.
    #[error("SSH identity key is encrypted but no 'password' field was provided in the secret")]
    Encrypted,
}

/// Text that is wiped from memory after use.
pub(super) type Secret = Zeroizing<String>;

#[derive(Clone, Default)]
enum Login {
    #[default]
    None,
    Basic {
        username: Secret,
        password: Secret,
    },
    Bearer(Secret),
    Ssh {
        identity: Secret,
        known_hosts: Secret,
        passphrase: Secret,
    },
}

/// What a remote is talked to with. `Debug` tells the kind only.
#[derive(Clone, Default)]
pub struct Credential {
    login: Login,
    /// Stands for the login where that is a token which changes by the hour.
    issuer: Option<[u8; 32]>,
    tls: Tls,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.login {
            Login::None => "Credential(none)",
            Login::Basic { .. } => "Credential(basic)",
            Login::Bearer(_) => "Credential(bearer)",
            Login::Ssh { .. } => "Credential(ssh)",
        })
    }
}

/// The data of a Secret, by key; empty values count as unset.
pub(super) struct Data<'d>(pub(super) &'d BTreeMap<String, ByteString>);

/// Whom to trust beside the system's authorities, and how to prove who one is.
#[derive(Clone, Default)]
pub(super) struct Tls {
    pub(super) authority: Option<Secret>,
    pub(super) certificate: Option<(Secret, Secret)>,
}

impl Data<'_> {
    pub(super) fn get(&self, key: &'static str) -> Result<Option<Secret>, AuthError> {
        let Some(ByteString(bytes)) = self.0.get(key).filter(|value| !value.0.is_empty()) else { return Ok(None) };
        let text = std::str::from_utf8(bytes).map_err(|_| AuthError::NotText(key))?;
        Ok(Some(Zeroizing::new(text.to_owned())))
    }

    fn need(&self, transport: &'static str, key: &'static str) -> Result<Secret, AuthError> {
        self.get(key)?.ok_or(AuthError::Missing { transport, key })
    }

    pub(super) fn tls(&self) -> Result<Tls, AuthError> {
        let either = |name, older| Ok::<_, AuthError>(self.get(name)?.or(self.get(older)?));
        let authority = either("ca.crt", "caFile")?;
        let certificate = match (either("tls.crt", "certFile")?, either("tls.key", "keyFile")?) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err(AuthError::HalfCertificate),
        };
        Ok(Tls { authority, certificate })
    }
}

impl Credential {
    /// User name and password.
    pub fn basic(username: &str, password: &str) -> Self {
        let (username, password) = (Zeroizing::new(username.to_owned()), Zeroizing::new(password.to_owned()));
        Self { login: Login::Basic { username, password }, ..Self::default() }
    }

    /// What there is without a Secret: nothing, which no SSH server lets in.
    pub fn none(transport: Transport) -> Result<Self, AuthError> {
        match transport {
            Transport::Http => Ok(Self::default()),
            Transport::Ssh => Err(AuthError::Missing { transport: "ssh", key: "identity" }),
        }
    }

    /// Reads a Secret as Flux does: `identity`, `known_hosts` and `password` for SSH;
    /// `bearerToken`, or `username` and `password`, with `ca.crt` (`caFile`), `tls.crt` (`certFile`)
    /// and `tls.key` (`keyFile`) for HTTPS, where the URL has the half of the login that the Secret lacks.
    pub fn from_secret(
        (url, transport): (&Url, Transport),
        data: &BTreeMap<String, ByteString>,
    ) -> Result<Self, AuthError> {
        let data = Data(data);
        if transport == Transport::Ssh {
            let identity = data.need("ssh", "identity")?;
            let known_hosts = data.need("ssh", "known_hosts")?;
            let passphrase = data.get("password")?.unwrap_or_default();
            if passphrase.is_empty() && is_encrypted(&identity) {
                return Err(AuthError::Encrypted);
            }
            return Ok(Self { login: Login::Ssh { identity, known_hosts, passphrase }, ..Self::default() });
        }
        let tls = data.tls()?;
        let (of_url, password_of_url) = login_of(url);
        let username = data.get("username")?.or(of_url);
        let login = match (data.get("bearerToken")?, username, data.get("password")?.or(password_of_url)) {
            (Some(token), _, _) => Login::Bearer(token),
            (None, Some(username), password) => Login::Basic { username, password: password.unwrap_or_default() },
            (None, None, Some(_)) => return Err(AuthError::NoUsername),
            (None, None, None) => Login::None,
        };
        Ok(Self { login, issuer: None, tls })
    }

    /// Certificates.
    pub(super) fn tls(&self) -> &Tls {
        &self.tls
    }

    /// What an HTTP request logs in with.
    pub(super) fn authorization(&self) -> Option<Secret> {
        match &self.login {
            Login::None | Login::Ssh { .. } => None,
            Login::Basic { username, password } => {
                let pair = Zeroizing::new(format!("{}:{}", username.as_str(), password.as_str()));
                Some(Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes()))))
            }
            Login::Bearer(token) => Some(Zeroizing::new(format!("Bearer {}", token.as_str()))),
        }
    }

    /// Uses a token of this issuer in place of a login; the token may change, the issuer says that
    /// it gives the same.
    #[must_use]
    pub fn with_token(self, issuer: [u8; 32], username: &str, token: &str) -> Self {
        Self { login: Self::basic(username, token).login, issuer: Some(issuer), ..self }
    }

    /// Whether there is an SSH key.
    pub(super) fn has_key(&self) -> bool {
        matches!(self.login, Login::Ssh { .. })
    }

    /// What may be used with a host that these credentials are not for: no login at all.
    pub(super) fn for_strangers(&self) -> Self {
        let tls = Tls { authority: self.tls.authority.clone(), certificate: None };
        Self { tls, ..Self::default() }
    }

    /// Uses the login of a URL where the Secret named none.
    pub(super) fn or_of(&mut self, url: &Url) {
        if let (Login::None, (Some(username), password)) = (&self.login, login_of(url)) {
            self.login = Login::Basic { username, password: password.unwrap_or_default() };
        }
    }

    /// Feeds what it stands for to a digest, so that other credentials give another one.
    pub(super) fn feed(&self, hasher: &mut Sha256) {
        if let Some(issuer) = &self.issuer {
            hasher.update(issuer);
            Self { login: Login::None, issuer: None, ..self.clone() }.feed_login(hasher);
        } else {
            self.feed_login(hasher);
        }
    }

    /// Feeds all of it to a digest, the token of the hour included.
    pub(super) fn feed_login(&self, hasher: &mut Sha256) {
        let optional = |value: Option<&Secret>| value.map_or_else(Secret::default, Clone::clone);
        let (certificate, key) = self.tls.certificate.as_ref().map_or((None, None), |(c, k)| (Some(c), Some(k)));
        let rest = [optional(self.tls.authority.as_ref()), optional(certificate), optional(key)];
        let login: [&str; 4] = match &self.login {
            Login::None => ["none", "", "", ""],
            Login::Basic { username, password } => ["basic", username, password, ""],
            Login::Bearer(token) => ["bearer", token, "", ""],
            Login::Ssh { identity, known_hosts, passphrase } => ["ssh", identity, known_hosts, passphrase],
        };
        for part in login.into_iter().chain(rest.iter().map(|part| part.as_str())) {
            hasher.update(part.len().to_le_bytes());
            hasher.update(part);
        }
    }
}

/// The user name and the password that a URL holds.
fn login_of(url: &Url) -> (Option<Secret>, Option<Secret>) {
    let part = |text: &str| {
        let decoded = percent_decode_str(text).decode_utf8_lossy().into_owned();
        Some(Zeroizing::new(decoded)).filter(|text| !text.is_empty())
    };
    (part(url.username()), url.password().and_then(part))
}

/// Credentials made ready for git calls: environment, private files (gone when dropped) and
/// what must not show in their output.
pub struct Session {
    environment: Vec<(String, Secret)>,
    secrets: Vec<Secret>,
    _files: tempfile::TempDir,
}

impl Session {
    /// Prepares a remote's credentials; files are made below `dir`, readable for this user only.
    pub fn prepare(remote: &Remote, dir: &Path) -> io::Result<Self> {
        let files = tempfile::Builder::new().prefix("auth-").tempdir_in(dir)?;
        let home = files.path().join("home");
        std::fs::DirBuilder::new().mode(0o700).create(&home)?;
        let mut settings: Vec<(String, Secret)> = argv::SETTINGS
            .iter()
            .map(|(key, value)| ((*key).to_owned(), Zeroizing::new((*value).to_owned())))
            .collect();
        let mut plain: Vec<(String, Secret)> = Vec::new();
        let mut secrets = Vec::new();
        let credential = remote.credential();
        if let Some(authorization) = credential.authorization() {
            let header = Zeroizing::new(format!("Authorization: {}", authorization.as_str()));
            settings.push((format!("http.{}.extraHeader", remote.origin()), header));
            // Git would send the header to wherever it is redirected to.
            settings.push(("http.followRedirects".to_owned(), Zeroizing::new("false".to_owned())));
            let encoded = authorization.split_once(' ').map_or("", |(_, encoded)| encoded);
            secrets.push(Zeroizing::new(encoded.to_owned()));
        }
        match &credential.login {
            Login::None | Login::Bearer(_) => {}
            Login::Basic { password, .. } => secrets.push(password.clone()),
            Login::Ssh { identity, known_hosts, passphrase } => {
                let proxy = remote.proxy().map(crate::proxy::Proxy::url);
                plain = ssh_environment(files.path(), identity, known_hosts, passphrase, proxy)?;
                secrets.extend([identity.clone(), passphrase.clone()]);
            }
        }
        settings.extend(tls_settings(&credential.tls, &remote.origin(), files.path())?);
        if let Some(proxy) = remote.proxy() {
            let address = proxy.url();
            secrets.extend(proxy.password());
            secrets.push(address.clone());
            settings.push(("http.proxy".to_owned(), address.clone()));
            // The object's own proxy goes before whatever the operator's environment says.
            plain.extend(["NO_PROXY", "no_proxy"].map(|name| (name.to_owned(), Secret::default())));
        }
        if let Some((_, key)) = &credential.tls.certificate {
            secrets.push(key.clone());
        }
        let settings = settings.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let mut environment: Vec<(String, Secret)> =
            argv::ENVIRONMENT.iter().map(|(k, v)| ((*k).to_owned(), Zeroizing::new((*v).to_owned()))).collect();
        environment.extend(argv::config_environment(settings).into_iter().map(|(k, v)| (k, Zeroizing::new(v))));
        // Logins that lie in the operator's own home are nobody's: git would send those of a .netrc.
        environment.push(("HOME".to_owned(), Zeroizing::new(home.to_string_lossy().into_owned())));
        environment.extend(plain);
        Ok(Self { environment, secrets, _files: files })
    }

    /// Variables that a git call needs.
    pub fn environment(&self) -> impl Iterator<Item = (&str, &str)> {
        self.environment.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// What must be blanked out of the call's output.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        self.secrets.iter().map(|secret| secret.as_str())
    }
}

/// Whether only a passphrase opens the key, in any of the formats that `ssh` reads.
fn is_encrypted(identity: &str) -> bool {
    let header = |line: &str| line.starts_with("Proc-Type:") || line.starts_with("-----BEGIN ");
    identity.lines().filter(|line| header(line)).any(|line| line.contains("ENCRYPTED"))
        || ssh_key::PrivateKey::from_openssh(identity.trim()).is_ok_and(|key| key.is_encrypted())
}

fn tls_settings(tls: &Tls, origin: &str, dir: &Path) -> io::Result<Vec<(String, Secret)>> {
    let mut settings = Vec::new();
    let mut push = |key: &str, file: &Path| {
        settings.push((key.to_owned(), Zeroizing::new(file.to_string_lossy().into_owned())));
    };
    if let Some(authority) = &tls.authority {
        let bundle = with_system_authorities(authority);
        push("http.sslCAInfo", &private_file(dir, "ca.crt", &bundle, 0o600)?);
    }
    if let Some((certificate, key)) = &tls.certificate {
        push(&format!("http.{origin}.sslCert"), &private_file(dir, "tls.crt", certificate, 0o600)?);
        push(&format!("http.{origin}.sslKey"), &private_file(dir, "tls.key", key, 0o600)?);
    }
    Ok(settings)
}

/// A Secret's authority is trusted in addition to the system's, as Flux does it.
fn with_system_authorities(authority: &str) -> String {
    let configured = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let usual = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];
    let system = configured
        .into_iter()
        .chain(usual.map(PathBuf::from))
        .find_map(|path| std::fs::read_to_string(path).ok())
        .unwrap_or_default();
    format!("{}\n{system}", authority.trim_end())
}

fn ssh_environment(
    dir: &Path,
    identity: &str,
    known_hosts: &str,
    passphrase: &str,
    proxy: Option<Secret>,
) -> io::Result<Vec<(String, Secret)>> {
    // OpenSSH refuses a key without a final newline, and Secrets made by hand often lack it.
    let identity = Zeroizing::new(format!("{}\n", identity.trim_end()));
    let key = private_file(dir, "identity", &identity, 0o600)?;
    let hosts = private_file(dir, "known_hosts", &format!("{}\n", known_hosts.trim_end()), 0o600)?;
    let mut environment = Vec::new();
    if !passphrase.is_empty() {
        let answer = private_file(dir, "passphrase", &format!("{passphrase}\n"), 0o600)?;
        let script = format!("#!/bin/sh\nexec cat {}\n", quoted(&answer));
        let script = private_file(dir, "askpass", &script, 0o700)?;
        environment.push(("SSH_ASKPASS".to_owned(), Zeroizing::new(script.to_string_lossy().into_owned())));
        environment.push(("SSH_ASKPASS_REQUIRE".to_owned(), Zeroizing::new("force".to_owned())));
    }
    let mut command = ssh_command(&key, &hosts, passphrase.is_empty());
    if let Some(proxy) = proxy {
        let through = format!("{} {} %h %p", quoted(&std::env::current_exe()?), through::SUBCOMMAND);
        command.push_str(" -o ProxyCommand=");
        command.push_str(&quoted(Path::new(&through)));
        environment.push((through::VARIABLE.to_owned(), proxy));
    }
    environment.push(("GIT_SSH_COMMAND".to_owned(), Zeroizing::new(command)));
    environment.push(("GIT_SSH_VARIANT".to_owned(), Zeroizing::new("ssh".to_owned())));
    Ok(environment)
}

/// Only this key, only these hosts, no prompt, no configuration of the user's.
fn ssh_command(key: &Path, hosts: &Path, batch: bool) -> String {
    let mut command = format!(
        "ssh -F none -i {} -o UserKnownHostsFile={} -o GlobalKnownHostsFile=/dev/null -o IdentitiesOnly=yes \
         -o IdentityAgent=none -o StrictHostKeyChecking=yes -o PasswordAuthentication=no \
         -o KbdInteractiveAuthentication=no -o UpdateHostKeys=no -o ConnectTimeout=30",
        quoted(key),
        quoted(hosts)
    );
    // Batch mode would also keep the passphrase from being asked for.
    if batch {
        command.push_str(" -o BatchMode=yes");
    }
    command
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', r"'\''"))
}

fn private_file(dir: &Path, name: &str, text: &str, mode: u32) -> io::Result<PathBuf> {
    let path = dir.join(name);
    let mut file = std::fs::File::options().write(true).create_new(true).mode(mode).open(&path)?;
    file.write_all(text.as_bytes())?;
    Ok(path)
}

#[cfg(test)]
mod tests;
