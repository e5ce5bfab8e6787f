//! `git-upload-pack` (and `git-receive-pack`) behind an SSH server.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use russh::keys::{PrivateKey, PublicKey};
use russh::server::{
    self, Auth, ChannelOpenHandle, Config, Msg, PublicKeyOffer, Server as _, Session, VerifiedPublicKey,
};
use russh::{Channel, ChannelId};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::task::JoinHandle;

use crate::http_server::{Behaviour, Control};
use crate::ports;
use crate::tools::{git, run};

/// A kind of SSH key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// ECDSA on P-256.
    EcdsaP256,
    /// ECDSA on P-384, as `flux bootstrap` makes them.
    EcdsaP384,
    /// Ed25519.
    Ed25519,
    /// RSA of 3072 bits.
    Rsa,
}

/// An SSH key pair in OpenSSH's formats.
#[derive(Clone, Debug)]
pub struct SshKey {
    /// The private key: the text of an `identity` file.
    pub private: String,
    /// The public key: the line of an `identity.pub` file.
    pub public: String,
}

impl SshKey {
    /// Makes a fresh key without a passphrase, by `ssh-keygen` (which comes with `ssh`, which git needs anyway).
    ///
    /// # Panics
    /// When `ssh-keygen` is missing.
    pub fn generate(kind: KeyKind) -> Self {
        Self::make(kind, &["-N", ""])
    }

    /// As [`SshKey::generate`], the private key in the older PEM format.
    ///
    /// # Panics
    /// As [`SshKey::generate`].
    pub fn generate_pem(kind: KeyKind) -> Self {
        Self::make(kind, &["-m", "PEM", "-N", ""])
    }

    /// As [`SshKey::generate`], the private key encrypted with a passphrase.
    ///
    /// # Panics
    /// As [`SshKey::generate`].
    pub fn generate_encrypted(kind: KeyKind, passphrase: &str) -> Self {
        Self::make(kind, &["-N", passphrase])
    }

    fn make(kind: KeyKind, how: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("make a temporary folder");
        let file = folder.path().join("key");
        let (name, bits) = match kind {
            KeyKind::EcdsaP256 => ("ecdsa", "256"),
            KeyKind::EcdsaP384 => ("ecdsa", "384"),
            KeyKind::Ed25519 => ("ed25519", "256"),
            KeyKind::Rsa => ("rsa", "3072"),
        };
        let args = ["-q", "-t", name, "-b", bits, "-C", "bench", "-f"];
        run(std::process::Command::new("ssh-keygen").args(how).args(args).arg(&file));
        let read = |path: PathBuf| std::fs::read_to_string(path).expect("read a fresh key");
        Self { private: read(file.clone()), public: read(file.with_extension("pub")).trim().to_owned() }
    }
}

/// A running SSH server; stops to accept when dropped.
#[derive(Debug)]
pub struct SshServer {
    port: u16,
    host_key: SshKey,
    task: JoinHandle<()>,
}

impl SshServer {
    /// Serves the repositories below `root` to the holders of the given public keys.
    ///
    /// # Panics
    /// When a key is not one or the port cannot be bound.
    pub fn start(root: &Path, authorized: &[String], host_kind: KeyKind, control: Arc<Control>) -> Self {
        let host_key = SshKey::generate(host_kind);
        let parse = |line: &String| PublicKey::from_openssh(line).expect("an OpenSSH public key");
        let template = Template { root: root.to_owned(), authorized: authorized.iter().map(parse).collect(), control };
        let config = Arc::new(Config {
            keys: vec![PrivateKey::from_openssh(&host_key.private).expect("an OpenSSH private key")],
            auth_rejection_time: Duration::from_millis(1),
            ..Config::default()
        });
        let (listener, port) = ports::listen();
        let task = crate::runtime::handle().spawn(serve(listener, config, template));
        Self { port, host_key, task }
    }

    /// `ssh://git@127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("ssh://git@127.0.0.1:{}", self.port)
    }

    /// The line for a client's `known_hosts` file.
    pub fn known_hosts(&self) -> String {
        known_hosts(self.port, &self.host_key)
    }

    /// A line that names another key than the server's: a client must refuse the server.
    pub fn wrong_known_hosts(&self) -> String {
        known_hosts(self.port, &SshKey::generate(KeyKind::EcdsaP384))
    }
}

impl Drop for SshServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn known_hosts(port: u16, key: &SshKey) -> String {
    let bare: Vec<&str> = key.public.split(' ').take(2).collect();
    format!("[127.0.0.1]:{port} {}\n", bare.join(" "))
}

async fn serve(listener: TcpListener, config: Arc<Config>, mut template: Template) {
    if let Err(error) = template.run_on_socket(config, &listener).await {
        eprintln!("bench: an SSH server ended: {error}");
    }
}

struct Template {
    root: PathBuf,
    authorized: Arc<[PublicKey]>,
    control: Arc<Control>,
}

impl server::Server for Template {
    type Handler = Connection;

    fn new_client(&mut self, _: Option<std::net::SocketAddr>) -> Connection {
        Connection {
            root: self.root.clone(),
            authorized: Arc::clone(&self.authorized),
            control: Arc::clone(&self.control),
            channels: HashMap::new(),
            protocol: String::new(),
        }
    }
}

struct Connection {
    root: PathBuf,
    authorized: Arc<[PublicKey]>,
    control: Arc<Control>,
    channels: HashMap<ChannelId, Channel<Msg>>,
    protocol: String,
}

impl Connection {
    fn judge(&self, key: &PublicKey) -> Auth {
        let known = self.authorized.iter().any(|known| known.key_data() == key.key_data());
        if known { Auth::Accept } else { Auth::reject() }
    }

    /// `git-upload-pack '/path'` as a command on the repository below the root; nothing else is allowed.
    fn command(&self, line: &str) -> Option<Command> {
        let (program, path) = line.split_once(' ')?;
        let service = match program {
            "git-upload-pack" => "upload-pack",
            "git-receive-pack" => "receive-pack",
            _ => return None,
        };
        let path = path.trim_matches('\'').trim_start_matches('/');
        let inside = !path.split('/').any(|part| part == "..");
        inside.then(|| {
            let mut command = Command::new(git());
            command
                .arg(service)
                .arg(self.root.join(path))
                .env("GIT_PROTOCOL", &self.protocol)
                .env("GIT_CONFIG_NOSYSTEM", "1")
                .env("GIT_CONFIG_GLOBAL", "/dev/null")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .kill_on_drop(true);
            command
        })
    }
}

impl server::Handler for Connection {
    type Error = russh::Error;

    async fn auth_publickey_offered(&mut self, _user: &str, offer: PublicKeyOffer<'_>) -> Result<Auth, Self::Error> {
        Ok(self.judge(offer.public_key))
    }

    async fn auth_publickey(&mut self, _user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        Ok(self.judge(key.public_key))
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.channels.insert(channel.id(), channel);
        reply.accept().await;
        Ok(())
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        value: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        if name == "GIT_PROTOCOL" {
            value.clone_into(&mut self.protocol);
        }
        session.channel_success(channel)
    }

    async fn exec_request(&mut self, id: ChannelId, data: &[u8], session: &mut Session) -> Result<(), Self::Error> {
        let line = String::from_utf8_lossy(data).into_owned();
        let command = self.command(&line);
        self.control.note(line);
        match (self.control.behaviour(), command, self.channels.remove(&id)) {
            (Behaviour::Hang | Behaviour::Hold, _, channel) => {
                // Kept, so that the connection stays open without an answer.
                self.channels.extend(channel.map(|channel| (id, channel)));
                Ok(())
            }
            (Behaviour::Serve, Some(command), Some(channel)) => {
                tokio::spawn(converse(command, channel));
                session.channel_success(id)
            }
            _ => Err(russh::Error::Disconnect),
        }
    }
}

/// Connects the channel with the command until it ends, then tells its exit code.
async fn converse(mut command: Command, channel: Channel<Msg>) {
    let mut child = command.spawn().expect("start git");
    let (Some(mut input), Some(mut output), Some(mut errors)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return;
    };
    let (mut reading, writing) = channel.split();
    let feeding = tokio::spawn(async move {
        let _ = tokio::io::copy(&mut reading.make_reader(), &mut input).await;
    });
    let mut answer = writing.make_writer();
    let mut complaint = writing.make_writer_ext(Some(1));
    let _ = tokio::join!(tokio::io::copy(&mut output, &mut answer), tokio::io::copy(&mut errors, &mut complaint));
    let code = child.wait().await.ok().and_then(|status| status.code()).unwrap_or(1);
    feeding.abort();
    let _ = writing.exit_status(u32::try_from(code).unwrap_or(1)).await;
    let _ = writing.eof().await;
    let _ = writing.close().await;
}
