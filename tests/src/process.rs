//! A child process that cannot outlive the program that started it.

use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::wait::eventually;

/// How to start it, kept so that it can be started again.
#[derive(Clone, Debug)]
pub struct Recipe {
    pub name: String,
    pub program: PathBuf,
    pub arguments: Vec<String>,
    pub environment: Vec<(String, String)>,
    /// Takes what it prints; later runs are appended.
    pub log: PathBuf,
}

/// A process that runs, ran, or will run again.
#[derive(Debug)]
pub struct Process {
    pub recipe: Recipe,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    guard: Child,
}

impl Process {
    /// # Errors
    /// When the program cannot be started.
    pub fn start(recipe: Recipe) -> Result<Self> {
        let mut process = Self { recipe, running: None };
        process.run()?;
        Ok(process)
    }

    /// Starts it again; nothing when it runs.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn run(&mut self) -> Result<()> {
        if self.is_running() {
            return Ok(());
        }
        self.kill()?;
        let recipe = &self.recipe;
        let log = OpenOptions::new().create(true).append(true).open(&recipe.log);
        let log = log.with_context(|| format!("the log of {}", recipe.name))?;
        let child = Command::new(&recipe.program)
            .args(&recipe.arguments)
            .envs(recipe.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C on the terminal is for the program that started it, which then stops it in good order.
            .process_group(0)
            .spawn()
            .with_context(|| {
                format!("cannot start {} ({})", recipe.name, recipe.program.display())
            })?;
        let guard = guard(&child)?;
        self.running = Some(Running { child, guard });
        Ok(())
    }

    pub fn id(&self) -> Option<u32> {
        self.running.as_ref().map(|running| running.child.id())
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.exit(), Ok(None)) && self.running.is_some()
    }

    /// How it ended; none while it runs, or when it was not started.
    ///
    /// # Errors
    /// When the system cannot say.
    pub fn exit(&mut self) -> Result<Option<ExitStatus>> {
        match &mut self.running {
            Some(running) => Ok(running.child.try_wait()?),
            None => Ok(None),
        }
    }

    /// SIGKILL: no chance to clean up. Nothing when it does not run.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut running) = self.running.take() {
            running.child.kill().with_context(|| format!("cannot kill {}", self.recipe.name))?;
            running.child.wait()?;
            running.guard.kill()?;
            running.guard.wait()?;
        }
        Ok(())
    }

    /// SIGTERM, and the wait until it has ended by itself.
    ///
    /// # Errors
    /// When it has not ended after `patience`; then it is killed.
    pub async fn terminate(&mut self, patience: Duration) -> Result<Option<ExitStatus>> {
        if self.running.is_none() {
            return Ok(None);
        }
        if self.is_running() {
            self.signal(Signal::TERM)?;
        }
        let what = format!("{} ends after SIGTERM", self.recipe.name);
        let ended = eventually(patience, &what, async || self.exit()).await;
        self.kill()?;
        ended.map(Some)
    }

    /// SIGSTOP: it stands still, its connections stay open.
    ///
    /// # Errors
    /// When it does not run.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT: it goes on after [`Process::freeze`].
    ///
    /// # Errors
    /// When it does not run.
    pub fn thaw(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// The last lines of its log.
    pub fn tail(&self, lines: usize) -> String {
        tail(&self.recipe.log, lines)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let Some(running) = &self.running else { bail!("{} does not run", self.recipe.name) };
        kill_process(Pid::from_child(&running.child), signal)?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // There is nobody left to tell.
        let _ = self.kill();
    }
}

/// Kills the child when we are gone, however we went: its standard input closes with our end of the pipe.
fn guard(child: &Child) -> Result<Child> {
    Command::new("/bin/sh")
        .args([
            "-c",
            "trap '' INT TERM HUP; read -r _; kill -KILL \"$1\"",
            "guard",
            &child.id().to_string(),
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .context("cannot start a guard")
}

/// The last lines of a file, read from its last 64 KiB.
fn tail(path: &Path, lines: usize) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(64 * 1024)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match read() {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            let all = text.lines().collect::<Vec<_>>();
            all[all.len().saturating_sub(lines)..].join("\n")
        }
        Err(error) => format!("(no log: {error})"),
    }
}
