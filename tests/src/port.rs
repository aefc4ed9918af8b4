//! TCP ports that nobody else takes while a server is down.
//!
//! A port is held by a locked file, in a range that systems do not hand out to outgoing connections, so that a server
//! finds its port free again after a restart, whatever other tests and processes run beside it.

use anyhow::{Context, Result, bail};
use std::fs::{self, File, TryLockError};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

/// Below 32768, where the ephemeral ports of Linux begin (49152 elsewhere).
const RANGE: std::ops::Range<u16> = 20_000..30_000;

/// A port that is ours until this is dropped.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    _lock: File,
}

impl Port {
    /// Reserves a port that is free on all addresses of this machine.
    pub(crate) fn reserve() -> Result<Self> {
        let user = rustix::process::geteuid().as_raw();
        let dir = std::env::temp_dir().join(format!("wal-replica-ports-{user}"));
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        // Processes start looking at different places only to spend fewer attempts.
        let offset = (std::process::id() * 64 % u32::from(RANGE.end - RANGE.start)) as u16;
        for number in (RANGE.start + offset..RANGE.end).chain(RANGE.start..RANGE.start + offset) {
            let lock = File::create(dir.join(number.to_string()))?;
            match lock.try_lock() {
                Ok(()) if is_free(number) => return Ok(Self { number, _lock: lock }),
                Ok(()) | Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error).context("cannot lock a port's file"),
            }
        }
        bail!("no free TCP port from {} to {}", RANGE.start, RANGE.end)
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }
}

/// No listener on either loopback address. (A machine without IPv6 has nobody there.)
fn is_free(port: u16) -> bool {
    let v4 = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let v6 = TcpListener::bind(SocketAddr::from((Ipv6Addr::LOCALHOST, port)));
    let in_use = |error: std::io::Error| error.kind() == std::io::ErrorKind::AddrInUse;
    v4.is_ok() && !v6.is_err_and(in_use)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_given_twice() {
        let (a, b) = (Port::reserve().unwrap(), Port::reserve().unwrap());
        assert_ne!(a.number(), b.number());
    }
}
