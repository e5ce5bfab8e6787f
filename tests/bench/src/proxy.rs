//! An HTTP proxy on loopback that can ask for credentials, and counts.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fast_socks5::server::{Socks5ServerProtocol, run_tcp_proxy};
use fast_socks5::util::target_addr::TargetAddr;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::ports;

/// How long a SOCKS5 proxy tries to connect.
const CONNECTING: Duration = Duration::from_secs(5);

/// A running proxy: `CONNECT` tunnels, and plain requests with an absolute URL; stops when dropped.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    targets: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Serves whoever asks, or those who know the user name and the password.
    ///
    /// # Panics
    /// When the port cannot be bound.
    pub fn start(login: Option<(&str, &str)>) -> Self {
        let (listener, port) = ports::listen();
        let wanted = login.map(|(name, password)| format!("Basic {}", STANDARD.encode(format!("{name}:{password}"))));
        let targets = Arc::new(Mutex::new(Vec::new()));
        let task = crate::runtime::handle().spawn(serve(listener, wanted, Arc::clone(&targets)));
        Self { port, targets, task }
    }

    /// As [`Proxy::start`], speaking SOCKS5 and asking for the user name and password. It knows hosts that nobody else
    /// does: any name below `.invalid` is loopback.
    ///
    /// # Panics
    /// When the port cannot be bound.
    pub fn start_socks(username: &str, password: &str) -> Self {
        let (listener, port) = ports::listen();
        let login = (username.to_owned(), password.to_owned());
        let targets = Arc::new(Mutex::new(Vec::new()));
        let task = crate::runtime::handle().spawn(serve_socks(listener, login, Arc::clone(&targets)));
        Self { port, targets, task }
    }

    /// `127.0.0.1:<port>`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `http://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The request line, or with SOCKS5 the target, of every connection that was let through.
    pub fn targets(&self) -> Vec<String> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, wanted: Option<String>, targets: Arc<Mutex<Vec<String>>>) {
    while let Ok((client, _)) = listener.accept().await {
        let (wanted, targets) = (wanted.clone(), Arc::clone(&targets));
        tokio::spawn(async move {
            // A client that breaks off has no other way to say so.
            let _ = converse(client, wanted.as_deref(), &targets).await;
        });
    }
}

async fn serve_socks(listener: TcpListener, login: (String, String), targets: Arc<Mutex<Vec<String>>>) {
    while let Ok((client, _)) = listener.accept().await {
        let (login, targets) = (login.clone(), Arc::clone(&targets));
        tokio::spawn(async move {
            let fits = |username, password| login == (username, password);
            let (protocol, _) = Socks5ServerProtocol::accept_password_auth(client, fits).await?;
            let (protocol, _, target) = protocol.read_command().await?;
            targets.lock().unwrap_or_else(PoisonError::into_inner).push(target.to_string());
            run_tcp_proxy(protocol, &known(target), CONNECTING, true).await
        });
    }
}

/// Names that only this proxy knows: those below `.invalid` lead to loopback.
fn known(target: TargetAddr) -> TargetAddr {
    match target {
        TargetAddr::Domain(name, port) if name.ends_with(".invalid") => TargetAddr::Ip(([127, 0, 0, 1], port).into()),
        other => other,
    }
}

async fn converse(client: TcpStream, wanted: Option<&str>, targets: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut client = BufReader::new(client);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if client.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        if line.trim().is_empty() {
            break;
        }
        head.push(line.trim().to_owned());
    }
    let login = head.iter().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("proxy-authorization").then(|| value.to_owned())
    });
    if wanted.is_some() && login.as_deref() != wanted {
        let answer = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"bench\"\r\n\
                      Content-Length: 0\r\nConnection: close\r\n\r\n";
        return client.write_all(answer.as_bytes()).await;
    }
    let target = head.first().cloned().unwrap_or_default();
    targets.lock().unwrap_or_else(PoisonError::into_inner).push(target.clone());
    let mut parts = target.split(' ');
    let (method, url) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if method == "CONNECT" {
        let mut server = TcpStream::connect(url).await?;
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
        copy_bidirectional(&mut client, &mut server).await?;
        return Ok(());
    }
    let host = url.split("://").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
    let mut server = TcpStream::connect(host).await?;
    // One request a connection: the next one may be for another server.
    head.retain(|line| {
        let name = line.to_ascii_lowercase();
        !name.starts_with("proxy-") && !name.starts_with("connection:")
    });
    head.push("Connection: close".to_owned());
    server.write_all(format!("{}\r\n\r\n", head.join("\r\n")).as_bytes()).await?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}
