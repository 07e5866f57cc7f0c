//! Loopback ports that stay ours over restarts.

use std::fs::{File, OpenOptions};
use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail};

/// Below the range from which the system takes ports for outgoing connections (32,768 on Linux): a port of that range
/// could be gone when a killed server comes back to it.
const FIRST: u32 = 11_000;
const COUNT: u32 = 20_000;

/// A port, held against other tests by a lock that ends with this value or the process.
#[derive(Debug)]
pub struct Port {
    pub number: u16,
    _lock: File,
}

impl Port {
    /// A port on which nobody listens and that no other harness has taken.
    ///
    /// # Errors
    /// When all are taken.
    pub fn free() -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // Locks of another user's could not be opened.
        let user = rustix::process::getuid().as_raw();
        let folder = std::env::temp_dir().join(format!("baton-ports-{user}"));
        std::fs::create_dir_all(&folder).context("a folder for locks on ports")?;
        // Each process begins somewhere else, so that they seldom meet.
        let start = std::process::id().wrapping_mul(7_919);
        for _ in 0..COUNT {
            let offset = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
            let number = u16::try_from(FIRST + offset).context("ports are below 65,536")?;
            let lock = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(folder.join(number.to_string()))
                .context("the lock of a port")?;
            if lock.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", number)).is_ok() {
                return Ok(Self { number, _lock: lock });
            }
        }
        bail!("no free port from {FIRST} on")
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.number)
    }
}
