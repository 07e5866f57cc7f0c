//! Runs a program: bounded in time and output, with nothing in its environment that was not given, and gone with all
//! that it started when it ends or is no longer wanted.

use std::{
    collections::BTreeMap, ffi::OsString, io, os::unix::process::ExitStatusExt, process::Stdio,
    time::Duration,
};

use baton_worker::{Failure, Outcome};
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStdin, Command},
    time::timeout,
};

use crate::{fault::Fault, limits::OUTPUT_GRACE};

/// Where programs are looked for, by us and by them.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(crate) struct Program {
    pub(crate) executable: OsString,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) environment: BTreeMap<String, OsString>,
    pub(crate) stdin: Vec<u8>,
    /// Its working directory, which is there for nothing else and goes with it.
    pub(crate) folder: TempDir,
    pub(crate) output_bytes_max: usize,
}

pub(crate) struct Ended {
    /// As a shell tells it: 128 and the signal's number when a signal ended it.
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A folder of its own for a program.
pub(crate) fn folder() -> Outcome<TempDir> {
    Ok(tempfile::Builder::new().prefix("baton-").tempdir()?)
}

impl Program {
    /// Dropping the future ends the program.
    pub(crate) async fn run(self) -> Outcome<Ended> {
        let (mut child, mut group) = self.start()?;
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let bound = self.output_bytes_max;
        let feeding = feed(stdin, &self.stdin);
        let mut reading = std::pin::pin!(async {
            futures::try_join!(read("output", stdout, bound), read("error output", stderr, bound))
        });
        let mut read_to_end = None;
        let ending = async {
            let status = child.wait().await;
            // Whatever it left running goes with it.
            group.kill();
            status
        };
        let mut ending = std::pin::pin!(async { futures::join!(ending, feeding).0 });
        let status = loop {
            tokio::select! {
                outputs = &mut reading, if read_to_end.is_none() => read_to_end = Some(outputs?),
                status = &mut ending => break status?,
            }
        };
        let (stdout, stderr) = match read_to_end {
            Some(outputs) => outputs,
            // Something that left the group may hold them open for ever.
            None => timeout(OUTPUT_GRACE, reading).await.map_err(|_| {
                Fault::ProgramFailed.because(
                    "the program ended, but left something behind that holds its output open",
                )
            })??,
        };
        let code = status.code().or_else(|| Some(128 + status.signal()?)).unwrap_or(-1);
        Ok(Ended { code, stdout, stderr })
    }

    fn start(&self) -> Outcome<(Child, Group)> {
        let child = Command::new(&self.executable)
            .args(&self.arguments)
            .env_clear()
            .env("PATH", PATH)
            .env("HOME", self.folder.path())
            .envs(&self.environment)
            .current_dir(self.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn();
        let child = child.map_err(|error| self.not_started(&error))?;
        let leader = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        Ok((child, Group(leader)))
    }

    fn not_started(&self, error: &io::Error) -> Failure {
        let program = self.executable.to_string_lossy();
        let missing =
            matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied);
        let fault = if missing { Fault::ProgramMissing } else { Fault::Busy };
        fault.because(format_args!("{program:?} cannot be run on this machine: {error}"))
    }
}

/// A program that does not want to know its input is none the worse for it.
async fn feed(stdin: Option<ChildStdin>, bytes: &[u8]) {
    let Some(mut stdin) = stdin else { return };
    if let Err(error) = stdin.write_all(bytes).await {
        tracing::debug!(%error, "a program did not read all of its input");
    }
}

async fn read(
    what: &str,
    output: Option<impl AsyncRead + Unpin>,
    bytes_max: usize,
) -> Outcome<String> {
    let Some(output) = output else { return Ok(String::new()) };
    let mut bytes = Vec::new();
    let bound = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    output.take(bound).read_to_end(&mut bytes).await?;
    if bytes.len() > bytes_max {
        return Err(Fault::ProgramOutput
            .because(format_args!("the program's {what} has more than {bytes_max} bytes")));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The program and all that it started, unless they left its group.
struct Group(Option<Pid>);

impl Group {
    fn kill(&mut self) {
        if let Some(leader) = self.0.take()
            && let Err(error) = kill_process_group(leader, Signal::KILL)
            && error != rustix::io::Errno::SRCH
        {
            tracing::warn!(%error, "a program's group could not be killed");
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The bound of a program that nobody awaits.
pub(crate) async fn run_unawaited(program: Program, most: Duration) {
    match timeout(most, program.run()).await {
        Ok(Ok(ended)) => {
            tracing::debug!(code = ended.code, "a program that nobody awaited has ended");
        }
        Ok(Err(failure)) => {
            tracing::warn!(code = failure.title, "a program that nobody awaited failed");
        }
        Err(_) => tracing::warn!("a program that nobody awaited took too long and was ended"),
    }
}
