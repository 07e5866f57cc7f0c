//! A process that this one started, and ends.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{process::Command, time::timeout};

use super::Error;

const STOP_TIMEOUT: Duration = Duration::from_secs(10);
const TAIL_LINES: usize = 15;
const TAIL_BYTES: u64 = 16 * 1024;

pub(super) struct Child {
    name: &'static str,
    process: tokio::process::Child,
    log: PathBuf,
}

impl Child {
    /// What it says goes to `DIR/NAME.log`, from the beginning.
    pub(super) fn start(
        name: &'static str,
        mut command: Command,
        dir: &Path,
    ) -> Result<Self, Error> {
        let failed = |source| Error::Start { name, source };
        let log = dir.join(format!("{name}.log"));
        let file = File::create(&log).map_err(failed)?;
        let process = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().map_err(failed)?)
            .stderr(file)
            // A group of its own: Ctrl-C is for us alone, and we stop our children in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        Ok(Self { name, process, log })
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.process.id()
    }

    /// Waits for it to end by itself.
    async fn end(&mut self) -> Error {
        let status = match self.process.wait().await {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        Error::Ended { name: self.name, status, log: self.log.clone(), tail: tail(&self.log) }
    }

    /// Asks it to end, and ends it when it does not.
    pub(super) async fn stop(mut self) {
        let pid = self.process.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // A failure means that it has gone already.
            let _ = kill_process(pid, Signal::TERM);
        }
        if timeout(STOP_TIMEOUT, self.process.wait()).await.is_err() {
            let _ = self.process.kill().await;
        }
    }
}

/// The first of them to end by itself.
pub(super) async fn first_end(children: &mut [Child]) -> Error {
    match children {
        [] => std::future::pending().await,
        [one] => one.end().await,
        [one, others @ ..] => {
            tokio::select! {
                biased;
                error = one.end() => error,
                error = Box::pin(first_end(others)) => error,
            }
        }
    }
}

fn tail(log: &Path) -> String {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(log)?;
        let start = fs::metadata(log)?.len().saturating_sub(TAIL_BYTES);
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let text = read().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..]
        .iter()
        .map(|line| format!("  {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn a_child_that_ends_by_itself_leaves_its_last_words() {
        let dir = tempfile::tempdir().unwrap();
        let child =
            Child::start("teller", shell("echo first; echo 'cannot bind' >&2; exit 3"), dir.path())
                .unwrap();
        let error = first_end(&mut [child]).await;
        let Error::Ended { name, tail, status, .. } = error else { panic!("{error}") };
        assert_eq!((name, tail.as_str()), ("teller", "  first\n  cannot bind"));
        assert!(status.contains('3'), "{status}");
    }

    #[tokio::test]
    async fn a_child_is_asked_to_end_before_it_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let script = "trap 'echo farewell; exit 0' TERM; echo here; while :; do sleep 0.01; done";
        let child = Child::start("polite", shell(script), dir.path()).unwrap();
        let log = dir.path().join("polite.log");
        while !fs::read_to_string(&log).unwrap().contains("here") {
            tokio::task::yield_now().await;
        }
        child.stop().await;
        assert_eq!(tail(&log), "  here\n  farewell");
    }
}
