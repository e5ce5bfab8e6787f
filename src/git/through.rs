//! A connection through the SOCKS5 proxy of a `GitRepository`, for `ssh`, which knows no proxies: git's ssh
//! runs `fairlead connect-through HOST PORT` as its `ProxyCommand`, which reads the proxy and the login
//! to it from the environment.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd as _;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio::net::TcpStream;
use tokio_socks::tcp::Socks5Stream;
use url::Url;

/// The hidden subcommand.
pub const SUBCOMMAND: &str = "connect-through";
/// The variable with the proxy's URL, the login to it included.
pub const VARIABLE: &str = "FAIRLEAD_CONNECT_THROUGH";

/// How long the proxy may take to open the way.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why there is no connection. No text holds a login.
#[derive(Debug, thiserror::Error)]
pub enum ThroughError {
    /// The variable is missing or is no URL of a proxy.
    #[error("{VARIABLE} names no proxy")]
    NoProxy,
    /// The proxy cannot be reached, or refuses.
    #[error("the proxy does not let through to {target}: {why}")]
    Refused {
        /// Host and port.
        target: String,
        /// The proxy's answer.
        why: tokio_socks::Error,
    },
    /// It takes too long.
    #[error("the proxy does not answer within {PATIENCE:?}")]
    TimedOut,
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
}

/// A proxy and the login to it.
pub struct Way {
    address: Url,
    username: String,
    password: String,
}

impl Way {
    /// Reads a proxy's URL.
    pub fn read(url: &str) -> Result<Self, ThroughError> {
        let address = Url::parse(url).map_err(|_| ThroughError::NoProxy)?;
        let decoded =
            |text| percent_decode_str(text).decode_utf8().map(String::from).map_err(|_| ThroughError::NoProxy);
        let (username, password) = (decoded(address.username())?, decoded(address.password().unwrap_or_default())?);
        Ok(Self { address, username, password })
    }
}

/// Connects standard input and output with a host, until either side ends it.
pub fn run(way: &Way, host: &str, port: u16) -> Result<(), ThroughError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let opened = runtime.block_on(async { tokio::time::timeout(PATIENCE, open(way, host, port)).await });
    let mut from = opened.map_err(|_| ThroughError::TimedOut)??.into_std()?;
    from.set_nonblocking(false)?;
    let mut to = from.try_clone()?;
    std::thread::spawn(move || {
        // Whoever has gone takes no more; the other side notices.
        let _ = pass_on(&mut io::stdin().lock(), &mut to).and_then(|()| to.shutdown(Shutdown::Write));
    });
    // Past the line buffer of standard output, which would hold back the end of what is no text.
    let mut out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    pass_on(&mut from, &mut out)?;
    Ok(())
}

/// Byte for byte and at once: `io::copy` hands pipes to the kernel, which waits for more before it sends.
fn pass_on(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = [0; 16 << 10];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            length => to.write_all(&buffer[..length])?,
        }
    }
}

/// The proxy looks the name up: it may know hosts that we do not.
async fn open(way: &Way, host: &str, port: u16) -> Result<TcpStream, ThroughError> {
    let proxy = (way.address.host_str().unwrap_or_default(), way.address.port().unwrap_or(1080));
    let opened = if way.username.is_empty() {
        Socks5Stream::connect(proxy, (host, port)).await
    } else {
        Socks5Stream::connect_with_password(proxy, (host, port), &way.username, &way.password).await
    };
    let refused = |why: tokio_socks::Error| ThroughError::Refused { target: format!("{host}:{port}"), why };
    opened.map(Socks5Stream::into_inner).map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_taken_out_of_the_url() {
        let way = Way::read("socks5://me:p%40ss%2Fword@proxy:1080").unwrap();
        assert_eq!((way.username.as_str(), way.password.as_str()), ("me", "p@ss/word"));
        let way = Way::read("http://proxy").unwrap();
        assert!(way.username.is_empty() && way.password.is_empty());
        assert!(Way::read("proxy").is_err());
    }
}
