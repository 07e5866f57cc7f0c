//! A real nats-server on a free port, in a folder of its own.

use std::{net::TcpListener, path::PathBuf, process::Stdio, time::Duration};

use async_nats::{Client, jetstream};
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// Longer than anything here takes; a wait that reaches it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Broker {
    folder: TempDir,
    port: u16,
    server: Child,
}

impl Broker {
    pub(crate) async fn start() -> Self {
        Self::start_with("").await
    }

    /// With this configuration. The tests themselves are its user `engine`.
    pub(crate) async fn start_with(configuration: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("nats.conf"), configuration).unwrap();
        let server = spawn(&folder, port);
        let broker = Self { folder, port, server };
        broker.ready().await;
        broker
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// SIGKILL, and then a new server on the same port and folder: what was in memory is gone.
    pub(crate) async fn kill_and_restart(&mut self) {
        self.server.kill().await.unwrap();
        self.server = spawn(&self.folder, self.port);
        self.ready().await;
    }

    pub(crate) async fn connect(&self) -> Client {
        let options = async_nats::ConnectOptions::new()
            .user_and_password("engine".into(), "engine".into())
            .retry_on_initial_connect()
            .max_reconnects(None)
            .reconnect_delay_callback(|_| Duration::from_millis(20));
        options.connect(self.url()).await.unwrap()
    }

    async fn ready(&self) {
        let jetstream = jetstream::new(self.connect().await);
        until("JetStream is ready", || async { jetstream.query_account().await.is_ok() }).await;
    }
}

fn spawn(folder: &TempDir, port: u16) -> Child {
    let binary = std::env::var_os("BATON_NATS_SERVER")
        .map_or_else(|| PathBuf::from("nats-server"), PathBuf::from);
    Command::new(&binary)
        .args(["-a", "127.0.0.1", "-p", &port.to_string(), "-js", "-sd"])
        .arg(folder.path())
        .arg("-c")
        .arg(folder.path().join("nats.conf"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| {
            panic!("these tests need a nats-server: put it on PATH or name it in BATON_NATS_SERVER ({}: {error})", binary.display())
        })
}

/// Looks again and again until it holds.
pub(crate) async fn until<F: Future<Output = bool>>(claim: &str, holds: impl Fn() -> F) {
    let mut look = tokio::time::interval(Duration::from_millis(10));
    let wait = async {
        while !holds().await {
            look.tick().await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "waited in vain: {claim}");
}
