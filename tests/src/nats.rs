//! A nats-server of our own.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::ports::Port;
use crate::process::{Process, Recipe};
use crate::settings;
use crate::wait::{DEADLINE, eventually};

/// One server with `JetStream`, storing into a folder that outlives its kills.
#[derive(Debug)]
pub struct Nats {
    pub process: Process,
    port: Port,
}

impl Nats {
    /// Starts it and waits until `JetStream` answers. `sync_always`: every write reaches the disk before it is acknowledged.
    ///
    /// # Errors
    /// When it does not come up; the end of its log is in the message.
    pub async fn start(folder: &Path, sync_always: bool) -> Result<Self> {
        let port = Port::free()?;
        let store = folder.join("nats");
        std::fs::create_dir_all(&store).context("a folder for the broker")?;
        let config = folder.join("nats.conf");
        let mut text =
            format!("server_name: baton-test\nlisten: {:?}\njetstream {{\n", port.address());
        writeln!(text, "  store_dir: {:?}", store.display().to_string())?;
        if sync_always {
            writeln!(text, "  sync_interval: always")?;
        }
        writeln!(text, "  max_memory_store: 4GB\n  max_file_store: 64GB\n}}")?;
        std::fs::write(&config, text).context("the broker's settings")?;
        let recipe = Recipe {
            name: "nats-server".to_owned(),
            program: settings::nats_server()?,
            arguments: vec!["--config".to_owned(), config.display().to_string()],
            environment: Vec::new(),
            log: folder.join("nats-server.log"),
        };
        let mut nats = Self { process: Process::start(recipe)?, port };
        nats.answers().await?;
        Ok(nats)
    }

    pub fn url(&self) -> String {
        format!("nats://{}", self.port.address())
    }

    /// SIGKILL; what it had in memory is gone.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Starts it again on the same port and folder, and waits until it answers.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn restart(&mut self) -> Result<()> {
        self.process.run()?;
        self.answers().await
    }

    /// A connection of one's own, to look at what is in the broker.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn connect(&self) -> Result<async_nats::Client> {
        async_nats::connect(self.url()).await.context("cannot connect to the broker")
    }

    async fn answers(&mut self) -> Result<()> {
        let ready = eventually(DEADLINE, "nats-server answers", async || {
            if let Some(status) = self.process.exit()? {
                return Ok(Some(Some(status)));
            }
            let client = self.connect().await?;
            client.request("$JS.API.INFO", "".into()).await.context("JetStream does not answer")?;
            Ok(Some(None))
        });
        match ready.await {
            Ok(None) => Ok(()),
            Ok(Some(status)) => bail!("nats-server ended ({status}):\n{}", self.process.tail(20)),
            Err(error) => Err(error.context(self.process.tail(20))),
        }
    }
}
