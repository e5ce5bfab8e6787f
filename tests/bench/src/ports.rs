//! Free loopback ports.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Mutex, PoisonError};

/// Below the range that the kernel gives to outgoing connections, so that a port stays free until its server binds it.
const RANGE: std::ops::Range<u16> = 15_000..32_000;

static TAKEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);

/// A loopback port that nobody listens on and that this process has not been given before.
///
/// # Panics
/// When none is found in a thousand tries.
pub fn free_port() -> u16 {
    bind().1
}

/// A listener on such a port, and the port. It is bound once and for all: a child that is forked
/// while a socket is open holds it until it runs its program, and meanwhile the port cannot be bound
/// a second time.
///
/// # Panics
/// When none is found in a thousand tries.
pub fn listen() -> (tokio::net::TcpListener, u16) {
    let (listener, port) = bind();
    listener.set_nonblocking(true).expect("make a socket non-blocking");
    let _context = crate::runtime::handle().enter();
    (tokio::net::TcpListener::from_std(listener).expect("register a socket"), port)
}

fn bind() -> (TcpListener, u16) {
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    let taken = taken.get_or_insert_default();
    for _ in 0..1000 {
        let port = random_port();
        if !taken.contains(&port)
            && let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        {
            taken.insert(port);
            return (listener, port);
        }
    }
    panic!("no free loopback port between {} and {}", RANGE.start, RANGE.end);
}

fn random_port() -> u16 {
    let width = u64::from(RANGE.end - RANGE.start);
    // A hasher's keys are random for each one.
    let offset = RandomState::new().hash_one(std::process::id()) % width;
    RANGE.start + u16::try_from(offset).expect("smaller than the range")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_given_once() {
        let ports: HashSet<u16> = (0..50).map(|_| free_port()).collect();
        assert_eq!(ports.len(), 50);
    }
}
