//! A `batond` of our own.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::http;
use crate::ports::Port;
use crate::process::{Process, Recipe};
use crate::settings;
use crate::wait::{DEADLINE, eventually};

/// How long it may take to end after SIGTERM.
const PATIENCE: Duration = Duration::from_secs(20);

/// One engine process.
#[derive(Debug)]
pub struct Batond {
    pub process: Process,
    listen: Port,
    http: Port,
    data: PathBuf,
}

/// What differs between engines.
#[derive(Clone, Debug)]
pub struct Engine {
    pub name: String,
    pub partitions: u32,
    /// It believes whoever calls.
    pub dev: bool,
    /// More arguments for the command line.
    pub arguments: Vec<String>,
    pub environment: Vec<(String, String)>,
}

impl Batond {
    /// Starts it, without waiting until it is ready: a second engine on the same partitions never is.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn launch(folder: &Path, nats_url: &str, engine: &Engine) -> Result<Self> {
        let (listen, http) = (Port::free()?, Port::free()?);
        let data = folder.join(format!("{}-data", engine.name));
        let mut arguments =
            ["--listen", &listen.address(), "--http", &http.address(), "--nats", nats_url]
                .map(ToOwned::to_owned)
                .to_vec();
        arguments.extend(engine.dev.then(|| "--dev".to_owned()));
        let data_text = data.display().to_string();
        let partitions = engine.partitions.to_string();
        let more = ["--data", &data_text, "--partitions", &partitions, "--name", &engine.name];
        arguments.extend(more.map(ToOwned::to_owned));
        arguments.extend(engine.arguments.iter().cloned());
        let recipe = Recipe {
            name: format!("batond {}", engine.name),
            program: settings::binary("batond")?,
            arguments,
            environment: engine.environment.clone(),
            log: folder.join(format!("{}.log", engine.name)),
        };
        Ok(Self { process: Process::start(recipe)?, listen, http, data })
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// When it does not come up; the end of its log is in the message.
    pub async fn start(folder: &Path, nats_url: &str, engine: &Engine) -> Result<Self> {
        let mut batond = Self::launch(folder, nats_url, engine)?;
        batond.ready().await?;
        Ok(batond)
    }

    /// Where its API is: `http://…`, as `BATON_URL` wants it.
    pub fn url(&self) -> String {
        format!("http://{}", self.listen.address())
    }

    /// Its folder for what can be rebuilt.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// SIGKILL.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// SIGTERM; answers when it has ended in good order.
    ///
    /// # Errors
    /// When it did not end in time.
    pub async fn terminate(&mut self) -> Result<Option<ExitStatus>> {
        self.process.terminate(PATIENCE).await
    }

    /// Starts it again on the same ports and folder, and waits until it is ready.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn restart(&mut self) -> Result<()> {
        self.process.run()?;
        self.ready().await
    }

    /// Waits until `/readyz` says yes.
    ///
    /// # Errors
    /// When it ended, or was not ready in time.
    pub async fn ready(&mut self) -> Result<()> {
        let address = self.http.address();
        let answer = eventually(DEADLINE, "batond is ready", async || {
            if let Some(status) = self.process.exit()? {
                return Ok(Some(Some(status)));
            }
            let (status, body) = http::get(&address, "/readyz").await?;
            if status != 200 {
                bail!("not ready: {}", body.trim());
            }
            Ok(Some(None))
        });
        match answer.await {
            Ok(None) => Ok(()),
            Ok(Some(status)) => bail!("batond ended ({status}):\n{}", self.process.tail(20)),
            Err(error) => Err(error.context(self.process.tail(20))),
        }
    }

    /// Status and body of one of its pages: `/healthz`, `/readyz`, `/metrics`.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn page(&self, path: &str) -> Result<(u16, String)> {
        http::get(&self.http.address(), path).await
    }

    /// The sum of a metric over all its labels; 0 when there is none of that name.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn metric(&self, name: &str) -> Result<f64> {
        let (_, body) = self.page("/metrics").await?;
        let mut sum = 0.0;
        for line in body.lines() {
            let Some(rest) = line.strip_prefix(name) else { continue };
            if rest.starts_with(['{', ' ']) {
                let value = rest.rsplit(' ').next().context("a metric has a value")?;
                sum += value.parse::<f64>().with_context(|| format!("the value of {line}"))?;
            }
        }
        Ok(sum)
    }
}
