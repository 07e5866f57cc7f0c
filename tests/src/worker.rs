//! A worker process of our own.

use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::Result;

use crate::process::{Process, Recipe};
use crate::settings;

/// How long it may take to finish what is in its hands.
const PATIENCE: Duration = Duration::from_secs(30);

/// One worker, whatever it does.
#[derive(Debug)]
pub struct WorkerProcess {
    pub process: Process,
}

impl WorkerProcess {
    /// Starts one of our own programs as a worker of the given name.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(
        folder: &Path,
        nats_url: &str,
        binary: &str,
        name: &str,
        environment: &[(&str, &str)],
    ) -> Result<Self> {
        let given = [("BATON_NATS_URL", nats_url), ("BATON_WORKER_NAME", name)];
        let all = given
            .iter()
            .chain(environment)
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let recipe = Recipe {
            name: format!("worker {name}"),
            program: settings::binary(binary)?,
            arguments: Vec::new(),
            environment: all.collect(),
            log: folder.join(format!("{name}.log")),
        };
        Ok(Self { process: Process::start(recipe)? })
    }

    /// SIGKILL.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// SIGTERM; answers when it has finished what it had in hand.
    ///
    /// # Errors
    /// When it did not end in time.
    pub async fn terminate(&mut self) -> Result<Option<ExitStatus>> {
        self.process.terminate(PATIENCE).await
    }

    /// Starts it again under the same name.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn restart(&mut self) -> Result<()> {
        self.process.run()
    }
}
