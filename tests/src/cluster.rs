//! A broker, an engine and workers in one temporary folder.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::api::Api;
use crate::batond::{Batond, Engine};
use crate::nats::Nats;
use crate::worker::WorkerProcess;

/// How many lines of each log are shown when something failed.
const TAIL: usize = 40;

/// How a cluster is to be.
#[derive(Clone, Debug)]
pub struct Setup {
    pub partitions: u32,
    /// The broker writes to the disk before it acknowledges.
    pub sync_always: bool,
    /// The engine believes whoever calls.
    pub dev: bool,
    /// More arguments for `batond`.
    pub arguments: Vec<String>,
    /// For `batond`; a worker is given its own.
    pub environment: Vec<(String, String)>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            partitions: 2,
            sync_always: false,
            dev: true,
            arguments: Vec::new(),
            environment: Vec::new(),
        }
    }
}

/// Everything that runs. The fields are dropped in this order: the broker goes last, the folder after it.
#[derive(Debug)]
pub struct Cluster {
    pub workers: Vec<WorkerProcess>,
    pub batond: Batond,
    pub nats: Nats,
    setup: Setup,
    stopped: bool,
    folder: TempDir,
}

impl Cluster {
    /// Starts a broker and an engine, and waits until both are ready.
    ///
    /// # Errors
    /// When one does not come up.
    pub async fn start(setup: Setup) -> Result<Self> {
        let folder =
            tempfile::Builder::new().prefix("baton-").tempdir().context("a temporary folder")?;
        let nats = Nats::start(folder.path(), setup.sync_always).await?;
        let batond = Batond::start(folder.path(), &nats.url(), &engine(&setup, "batond-1")).await?;
        Ok(Self { workers: Vec::new(), batond, nats, setup, stopped: false, folder })
    }

    /// Its folder; more files may be put there.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A client of the engine. It stays good over the engine's restarts.
    ///
    /// # Errors
    /// When the engine's address is no address.
    pub fn api(&self) -> Result<Api> {
        Api::new(&self.batond.url())
    }

    /// Adds a worker and answers its place in `workers`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn worker(
        &mut self,
        binary: &str,
        name: &str,
        environment: &[(&str, &str)],
    ) -> Result<usize> {
        let worker =
            WorkerProcess::start(self.folder.path(), &self.nats.url(), binary, name, environment)?;
        self.workers.push(worker);
        Ok(self.workers.len() - 1)
    }

    /// Starts another engine on the same partitions, without waiting for anything.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn second_batond(&self, name: &str) -> Result<Batond> {
        Batond::launch(self.folder.path(), &self.nats.url(), &engine(&self.setup, name))
    }

    /// Ends everything in good order: workers finish what they hold, then the engine, then the broker.
    ///
    /// # Errors
    /// When one of them does not end by itself.
    pub async fn stop(mut self) -> Result<()> {
        for worker in &mut self.workers {
            worker.terminate().await?;
        }
        self.batond.terminate().await?;
        self.nats.kill()?;
        self.stopped = true;
        Ok(())
    }

    /// Ends everything at once, and says nothing: for the one who gives up on purpose.
    pub fn abandon(mut self) {
        self.stopped = true;
    }

    /// The end of every log.
    pub fn logs(&self) -> String {
        let workers = self.workers.iter().map(|worker| &worker.process);
        let all = [&self.nats.process, &self.batond.process].into_iter().chain(workers);
        let mut text = String::new();
        for process in all {
            let _ = writeln!(text, "--- {}\n{}", process.recipe.name, process.tail(TAIL));
        }
        text
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !self.stopped {
            // Standard error being gone is no reason to fail.
            let _ = write!(
                std::io::stderr().lock(),
                "\nThe cluster did not end in good order. {}",
                self.logs()
            );
        }
    }
}

fn engine(setup: &Setup, name: &str) -> Engine {
    Engine {
        name: name.to_owned(),
        partitions: setup.partitions,
        dev: setup.dev,
        arguments: setup.arguments.clone(),
        environment: setup.environment.clone(),
    }
}
