//! `baton dev`: a NATS server and an engine on this machine, for as long as the command runs.

mod child;
mod leftovers;
pub(crate) mod nats;

use std::{
    fs::{self, File, TryLockError},
    io,
    net::{TcpListener, ToSocketAddrs},
    path::{Path, PathBuf},
    time::Duration,
};

use baton_proto::v1::StatusRequest;
use serde_json::json;
use tokio::{
    process::Command,
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, sleep, timeout},
};
use tonic::Request;

use self::child::Child;
use crate::{
    args::DevArguments,
    client::{Caller, Client},
    error::{self, Outcome},
    output::{Output, Tone},
    progress,
};

/// A log of many instances takes a while to replay.
const READY_TIMEOUT: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(20);
const NATS_PORT: u16 = 4222;
const WARNING: &str = " DEVELOPMENT MODE: NO ACCESS CONTROL. Not for anything that counts. ";

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{} cannot be used: {source}", path.display())]
    Directory { path: PathBuf, source: io::Error },
    #[error("another `baton dev` runs in {}; stop it first, or give this one --dir", path.display())]
    Locked { path: PathBuf },
    #[error(
        "{address} is taken; is another engine running? --listen, --http and --nats-port choose other places"
    )]
    Taken { address: String },
    #[error(transparent)]
    Nats(#[from] nats::Error),
    #[error("no `batond` beside `baton` or on PATH; `cargo build` makes both")]
    NoEngine,
    #[error("{name} cannot be started: {source}")]
    Start { name: &'static str, source: io::Error },
    #[error("{name} ended by itself ({status}); the end of {}:\n{tail}", log.display())]
    Ended { name: &'static str, status: String, log: PathBuf, tail: String },
    #[error("the engine was not ready after {} s: {because}", READY_TIMEOUT.as_secs())]
    NotReady { because: String },
    #[error("signals cannot be received: {0}")]
    Signals(io::Error),
}

impl Error {
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Directory { .. } => "bad-directory",
            Self::Locked { .. } => "already-running",
            Self::Taken { .. } => "address-taken",
            Self::Nats(_) => "no-nats-server",
            Self::NoEngine => "no-engine",
            Self::Start { .. } => "not-started",
            Self::Ended { .. } => "ended",
            Self::NotReady { .. } => "not-ready",
            Self::Signals(_) => "no-signals",
        }
    }
}

/// Until a signal says stop, or one of the two ends by itself; the other is then stopped, too.
pub(crate) async fn dev(
    arguments: &DevArguments,
    output: &Output,
) -> Result<Outcome, error::Error> {
    let mut stop = Stop::new()?;
    let home = Home::open(&arguments.dir)?;
    leftovers::stop(&home.dir).await;
    let nats_server =
        nats::find(arguments.nats_server.as_deref().map(Path::new)).await.map_err(Error::from)?;
    for address in [&arguments.listen, &arguments.http] {
        expect_free(address)?;
    }
    let nats_port = choose_nats_port(arguments.nats_port)?;

    let mut children = Vec::new();
    let result =
        run(arguments, &home, &nats_server, nats_port, &mut children, &mut stop, output).await;
    // The engine first: it says farewell to a broker that is still there.
    while let Some(child) = children.pop() {
        child.stop().await;
    }
    leftovers::forget(&home.dir);
    result
}

/// The folder that everything is in, locked for as long as this value lives.
struct Home {
    dir: PathBuf,
    _lock: File,
}

impl Home {
    fn open(dir: &Path) -> Result<Self, Error> {
        let unusable = |source| Error::Directory { path: dir.to_owned(), source };
        fs::create_dir_all(dir).map_err(unusable)?;
        let dir = dir.canonicalize().map_err(unusable)?;
        let lock = File::options().create(true).truncate(false).write(true).open(dir.join("lock"));
        let lock = lock.map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { dir, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(Error::Locked { path: dir }),
            Err(TryLockError::Error(source)) => Err(unusable(source)),
        }
    }
}

/// The wish of the person, or of who started us, to end.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Stop {
    fn new() -> Result<Self, Error> {
        let listen = |kind| signal(kind).map_err(Error::Signals);
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    async fn asked(&mut self) {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

async fn run(
    arguments: &DevArguments,
    home: &Home,
    nats_server: &Path,
    nats_port: u16,
    children: &mut Vec<Child>,
    stop: &mut Stop,
    output: &Output,
) -> Result<Outcome, error::Error> {
    let spinner = progress::spinner("starting nats-server");
    let began = Instant::now();
    children.push(Child::start(
        "nats-server",
        nats_command(nats_server, nats_port, &home.dir),
        &home.dir,
    )?);
    leftovers::remember(&home.dir, children);
    tokio::select! {
        biased;
        () = stop.asked() => return Ok(Outcome::Well),
        error = child::first_end(children) => return Err(error.into()),
        answers = timeout(READY_TIMEOUT, nats::answers(nats_port)) => {
            answers.map_err(|_| Error::NotReady { because: "nats-server does not answer".into() })?;
        }
    }
    spinner.set_message("starting batond");
    children.push(start_engine(arguments, nats_port, &home.dir)?);
    leftovers::remember(&home.dir, children);
    let client = Client::new(&arguments.listen, Caller::default())?;
    tokio::select! {
        biased;
        () = stop.asked() => return Ok(Outcome::Well),
        error = child::first_end(children) => return Err(error.into()),
        ready = engine_ready(&client) => ready?,
    }
    spinner.finish_and_clear();
    announce(arguments, nats_port, home, began.elapsed(), output)?;
    tokio::select! {
        biased;
        () = stop.asked() => {}
        error = child::first_end(children) => return Err(error.into()),
    }
    if !output.is_json() {
        output.line("stopping")?;
    }
    Ok(Outcome::Well)
}

fn nats_command(nats_server: &Path, port: u16, dir: &Path) -> Command {
    let mut command = Command::new(nats_server);
    command.args([
        "--addr",
        "127.0.0.1",
        "--port",
        &port.to_string(),
        "--name",
        "baton-dev",
        "--jetstream",
    ]);
    command.arg("--store_dir").arg(dir.join("nats"));
    command
}

/// The engine beside this program, which is of the same build, before one on PATH.
fn start_engine(arguments: &DevArguments, nats_port: u16, dir: &Path) -> Result<Child, Error> {
    let beside = beside_this_program("batond");
    let mut command = Command::new(beside.as_deref().unwrap_or(Path::new("batond")));
    command.arg("--dev").arg("--data").arg(dir.join("cache"));
    command.args(["--listen", &arguments.listen, "--http", &arguments.http]);
    command.args(["--nats", &format!("nats://127.0.0.1:{nats_port}")]);
    if let Some(partitions) = arguments.partitions {
        command.args(["--partitions", &partitions.to_string()]);
    }
    match Child::start("batond", command, dir) {
        Err(Error::Start { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Err(Error::NoEngine)
        }
        started => started,
    }
}

fn beside_this_program(name: &str) -> Option<PathBuf> {
    let beside = std::env::current_exe().ok()?.with_file_name(name);
    beside.is_file().then_some(beside)
}

async fn engine_ready(client: &Client) -> Result<(), Error> {
    let deadline = Instant::now() + READY_TIMEOUT;
    loop {
        let because = match client.engine().status(Request::new(StatusRequest {})).await {
            Ok(response) => {
                let status = response.into_inner();
                if status.ready {
                    return Ok(());
                }
                status.not_ready_because
            }
            Err(status) => client.error(&status).to_string(),
        };
        if Instant::now() > deadline {
            return Err(Error::NotReady { because });
        }
        sleep(POLL).await;
    }
}

fn announce(
    arguments: &DevArguments,
    nats_port: u16,
    home: &Home,
    took: Duration,
    output: &Output,
) -> Result<(), error::Error> {
    let nats = format!("nats://127.0.0.1:{nats_port}");
    if output.is_json() {
        output.line(
            &json!({
                "ready": true, "mode": "development", "url": format!("http://{}", arguments.listen),
                "http": format!("http://{}", arguments.http), "nats": nats, "dir": home.dir,
                "took_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            })
            .to_string(),
        )?;
        return Ok(());
    }
    let warn = |text: &str| output.paint.apply(Tone::Warn, text);
    let elsewhere = if arguments.listen == "127.0.0.1:7420" {
        String::new()
    } else {
        format!("\n  export BATON_URL=http://{}", arguments.listen)
    };
    let edge = "─".repeat(WARNING.chars().count());
    output.line(&warn(&format!("┌{edge}┐\n│{WARNING}│\n└{edge}┘")))?;
    output.line(&format!(
        "ready in {:.1} s\n  gRPC  {}\n  HTTP  http://{}  (health, /metrics)\n  NATS  {nats}  (for workers)\n  files {}\n",
        took.as_secs_f64(),
        arguments.listen,
        arguments.http,
        home.dir.display()
    ))?;
    output.line(&format!(
        "next, in another terminal:{elsewhere}\n  baton doctor\n  baton deploy FILE\n  \
         baton start NAMESPACE/NAME --input '{{}}' --wait\n  baton list\n\nCtrl-C stops everything; what was done is kept."
    ))?;
    Ok(())
}

fn expect_free(address: &str) -> Result<(), Error> {
    let taken = || Error::Taken { address: address.to_owned() };
    let mut places = address.to_socket_addrs().map_err(|_| taken())?;
    places.next().and_then(|place| TcpListener::bind(place).ok()).map(drop).ok_or_else(taken)
}

fn choose_nats_port(wanted: Option<u16>) -> Result<u16, Error> {
    let is_free = |port: u16| {
        TcpListener::bind(("127.0.0.1", port)).and_then(|listener| listener.local_addr())
    };
    let taken = |_| Error::Taken { address: format!("127.0.0.1:{}", wanted.unwrap_or(0)) };
    match wanted {
        Some(port) => Ok(is_free(port).map_err(taken)?.port()),
        None => Ok(is_free(NATS_PORT).or_else(|_| is_free(0)).map_err(taken)?.port()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_for_one_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let first = Home::open(dir.path()).unwrap();
        assert!(matches!(Home::open(dir.path()), Err(Error::Locked { .. })));
        drop(first);
        assert!(Home::open(dir.path()).is_ok());
    }

    #[test]
    fn a_taken_port_is_noticed_and_avoided_where_it_was_not_asked_for() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        assert!(matches!(expect_free(&address.to_string()), Err(Error::Taken { .. })));
        assert!(choose_nats_port(Some(address.port())).is_err());
        assert!(choose_nats_port(None).is_ok());
    }
}
