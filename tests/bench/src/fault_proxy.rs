//! A TCP proxy on loopback whose line can be cut, or hang.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::ports;

/// What the line does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// Everything passes.
    Works,
    /// Connections end, and new ones are closed at once.
    Cut,
    /// Connections stay, and nothing passes: what is sent is lost, and they end when the line works again.
    Hangs,
}

/// A running proxy; stops when dropped.
#[derive(Debug)]
pub struct FaultProxy {
    port: u16,
    line: watch::Sender<Line>,
    task: JoinHandle<()>,
}

impl FaultProxy {
    /// Passes everything on to an address (`127.0.0.1:6443`).
    ///
    /// # Panics
    /// When the address is none.
    pub fn to(address: &str) -> Self {
        let (listener, port) = ports::listen();
        let target: SocketAddr = address.parse().expect("an address");
        let line = watch::Sender::new(Line::Works);
        let task = crate::runtime::handle().spawn(serve(listener, target, line.subscribe()));
        Self { port, line, task }
    }

    /// `127.0.0.1:<port>`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// From now on, also for the connections that there are.
    pub fn behave(&self, line: Line) {
        self.line.send_replace(line);
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, target: SocketAddr, line: watch::Receiver<Line>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        connections.spawn(converse(client, target, line.clone()));
    }
}

async fn converse(client: TcpStream, target: SocketAddr, mut line: watch::Receiver<Line>) {
    let mut cut = line.clone();
    let talk = async {
        if !works(&mut line).await {
            return;
        }
        let Ok(server) = TcpStream::connect(target).await else { return };
        let ((client_reads, client_writes), (server_reads, server_writes)) = (client.into_split(), server.into_split());
        tokio::select! {
            () = pass(client_reads, server_writes, line.clone()) => {}
            () = pass(server_reads, client_writes, line.clone()) => {}
        }
    };
    tokio::select! {
        () = talk => {}
        _ = cut.wait_for(|line| *line == Line::Cut) => {}
    }
}

/// Passes bytes on until one side ends, or until the line has hung.
async fn pass(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, mut line: watch::Receiver<Line>) {
    let mut chunk = vec![0; 16 * 1024];
    loop {
        let Ok(read @ 1..) = from.read(&mut chunk).await else { return };
        // Nothing of a process that is gone by now may arrive later.
        let hung = *line.borrow() == Line::Hangs;
        if !works(&mut line).await || hung || to.write_all(&chunk[..read]).await.is_err() {
            return;
        }
    }
}

/// Waits while the line hangs; whether it works then.
async fn works(line: &mut watch::Receiver<Line>) -> bool {
    line.wait_for(|line| *line != Line::Hangs).await.is_ok_and(|line| *line == Line::Works)
}
