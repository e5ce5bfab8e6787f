//! Git remotes over HTTP(S) and SSH.

use std::sync::Arc;

use crate::daemon::Scratch;
use crate::http_server::{Auth, Behaviour, Control, HttpServer, Tls};
use crate::pki::{Authority, Identity};

mod http;
mod repository;
mod ssh;

pub use repository::Repository;
pub use ssh::{KeyKind, SshKey};

/// How a git server is to be started.
#[derive(Debug, Default)]
pub struct GitServerBuilder {
    auth: Auth,
    tls: Tls,
    authorized: Vec<String>,
    host_key: Option<KeyKind>,
}

/// A git server on loopback with any number of repositories; HTTP always, SSH when asked for.
#[derive(Debug)]
pub struct GitServer {
    control: Arc<Control>,
    authority: Option<Authority>,
    http: HttpServer,
    ssh: Option<ssh::SshServer>,
    scratch: Scratch,
}

impl GitServerBuilder {
    /// Asks HTTP clients for a user name and a password.
    #[must_use]
    pub fn basic_auth(mut self, username: &str, password: &str) -> Self {
        self.auth = Auth::Basic { username: username.to_owned(), password: password.to_owned() };
        self
    }

    /// Asks HTTP clients for a bearer token.
    #[must_use]
    pub fn bearer(mut self, token: &str) -> Self {
        self.auth = Auth::Bearer { token: token.to_owned() };
        self
    }

    /// Serves HTTPS with a certificate that only [`GitServer::authority`] vouches for.
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tls = Tls::Server;
        self
    }

    /// As [`GitServerBuilder::tls`], to clients with a certificate of that authority only.
    #[must_use]
    pub fn client_certificates(mut self) -> Self {
        self.tls = Tls::Mutual;
        self
    }

    /// Serves SSH, to the holder of this key (and of those added before).
    #[must_use]
    pub fn ssh(mut self, key: &SshKey) -> Self {
        self.authorized.push(key.public.clone());
        self
    }

    /// The kind of the SSH server's own key; Ed25519 by default.
    #[must_use]
    pub fn host_key(mut self, kind: KeyKind) -> Self {
        self.host_key = Some(kind);
        self
    }

    /// Starts it.
    ///
    /// # Panics
    /// When a port cannot be bound.
    pub fn start(self) -> GitServer {
        let scratch = Scratch::new("git");
        let root = scratch.path().join("repositories");
        std::fs::create_dir_all(&root).expect("make a folder");
        let control = Arc::new(Control::default());
        let (http, authority) = HttpServer::start_as(http::router(&root), self.auth, self.tls, &control);
        let host_key = self.host_key.unwrap_or(KeyKind::Ed25519);
        let ssh = (!self.authorized.is_empty())
            .then(|| ssh::SshServer::start(&root, &self.authorized, host_key, Arc::clone(&control)));
        GitServer { control, authority, http, ssh, scratch }
    }
}

impl GitServer {
    /// Plain HTTP, open to all.
    ///
    /// # Panics
    /// When a port cannot be bound.
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// To ask for more than plain HTTP.
    pub fn builder() -> GitServerBuilder {
        GitServerBuilder::default()
    }

    /// Makes an empty repository.
    ///
    /// # Panics
    /// When there is one of this name.
    pub fn repository(&self, name: &str) -> Repository {
        Repository::create(self.scratch.path(), name)
    }

    /// A repository's HTTP(S) address.
    pub fn url(&self, repository: &Repository) -> String {
        format!("{}/{}.git", self.http.url(), repository.name())
    }

    /// The address below which all repositories are.
    pub fn base(&self) -> &str {
        self.http.url()
    }

    /// A repository's SSH address.
    ///
    /// # Panics
    /// When SSH was not asked for.
    pub fn ssh_url(&self, repository: &Repository) -> String {
        format!("{}/{}.git", self.ssh_server().url(), repository.name())
    }

    /// The line for a client's `known_hosts`.
    ///
    /// # Panics
    /// When SSH was not asked for.
    pub fn known_hosts(&self) -> String {
        self.ssh_server().known_hosts()
    }

    /// A `known_hosts` line with another key than the server's.
    ///
    /// # Panics
    /// When SSH was not asked for.
    pub fn wrong_known_hosts(&self) -> String {
        self.ssh_server().wrong_known_hosts()
    }

    /// The PEM certificate that vouches for the HTTPS server.
    ///
    /// # Panics
    /// When TLS was not asked for.
    pub fn authority(&self) -> String {
        self.authority.as_ref().expect("built with tls()").certificate()
    }

    /// A certificate and its key for a client of the HTTPS server.
    ///
    /// # Panics
    /// When TLS was not asked for.
    pub fn client_identity(&self) -> Identity {
        self.authority.as_ref().expect("built with tls()").client()
    }

    /// What HTTP clients must send from now on.
    pub fn ask_for(&self, auth: Auth) {
        self.control.ask_for(auth);
    }

    /// Sends HTTP clients to another server from now on.
    pub fn redirect_to(&self, other: &Self) {
        self.control.redirect("/", format!("{}/", other.http.url()));
    }

    /// Sends HTTP clients of a repository's old name to the new one from now on.
    pub fn redirect_from(&self, old_name: &str, repository: &Repository) {
        self.control.redirect(&format!("/{old_name}.git/"), format!("{}/", self.url(repository)));
    }

    /// Serves, refuses or hangs from now on.
    pub fn behave(&self, behaviour: Behaviour) {
        self.control.behave(behaviour);
    }

    /// How many requests came: HTTP requests and SSH commands. A poll by HTTP is two with protocol version 2.
    pub fn count(&self) -> u64 {
        self.control.count()
    }

    /// Whether any HTTP request came with an `Authorization` header.
    pub fn saw_credentials(&self) -> bool {
        self.control.saw_credentials()
    }

    /// All requests so far: `GET /path?query`, or the command of an SSH session.
    pub fn requests(&self) -> Vec<String> {
        self.control.requests()
    }

    fn ssh_server(&self) -> &ssh::SshServer {
        self.ssh.as_ref().expect("built with ssh()")
    }
}
