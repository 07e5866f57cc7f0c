//! A worker inside the test's own process, whose handlers the test can watch and hold.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use baton_worker::{Context, Failure, Options, Worker};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::wait::eventually;

/// The department that it works for.
pub const DEPARTMENT: &str = "lab";

/// One passage through a handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub function: String,
    pub instance: String,
    pub step: u32,
    pub attempt: u32,
    /// What `name` says in the arguments; empty when it says nothing.
    pub name: String,
}

/// Serves the department `lab`:
///
/// | function | does |
/// |---|---|
/// | `echo` | answers its arguments |
/// | `add` | answers `{n: n + 1}` |
/// | `flaky` | fails, and may be tried again, up to attempt `failures` |
/// | `fail` | fails for good with `type`, `status` and `title` |
/// | `hold` | waits until [`Lab::release`] names its `name`, or until it is no longer wanted |
/// | `large` | answers `{text}` of so many `bytes` |
#[derive(Debug)]
pub struct Lab {
    calls: Arc<Mutex<Vec<Call>>>,
    released: watch::Sender<BTreeSet<String>>,
    stop: CancellationToken,
    task: JoinHandle<Result<(), baton_worker::Error>>,
}

impl Lab {
    /// # Errors
    /// When the worker's settings cannot be read.
    pub fn open(nats_url: &str, name: &str) -> Result<Self> {
        let mut options = Options::from_env().context("the worker's settings")?;
        nats_url.clone_into(&mut options.nats_url);
        options.name = Some(name.to_owned());
        options.grace = Duration::from_secs(5);
        let calls = Arc::new(Mutex::new(Vec::new()));
        let (released, gates) = watch::channel(BTreeSet::new());
        let worker = functions(Worker::new(DEPARTMENT).with_options(options), &calls, gates);
        let stop = CancellationToken::new();
        let task = tokio::spawn(worker.run_until(stop.clone().cancelled_owned()));
        Ok(Self { calls, released, stop, task })
    }

    /// Every passage through a handler so far, in the order in which they began.
    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until so many handlers have begun with this name.
    ///
    /// # Errors
    /// When they do not in time.
    pub async fn begun(&self, name: &str, count: usize, deadline: Duration) -> Result<()> {
        let what = format!("{count} handlers begin with {name}");
        let reached = || self.calls().iter().filter(|call| call.name == name).count() >= count;
        eventually(deadline, &what, async || Ok(reached().then_some(()))).await
    }

    /// Lets handlers of this name go on, those that come later too.
    pub fn release(&self, name: &str) {
        self.released.send_modify(|names| {
            names.insert(name.to_owned());
        });
    }

    /// Finishes what is in hand and stops.
    ///
    /// # Errors
    /// When the worker ended for another reason.
    pub async fn close(self) -> Result<()> {
        self.stop.cancel();
        self.task.await.context("the worker's task")?.context("the worker")
    }
}

fn functions(
    worker: Worker,
    calls: &Arc<Mutex<Vec<Call>>>,
    gates: watch::Receiver<BTreeSet<String>>,
) -> Worker {
    let seen = |function: &'static str| {
        let calls = Arc::clone(calls);
        move |context: &Context, arguments: &Value| {
            let call = Call {
                function: function.to_owned(),
                instance: context.instance().to_string(),
                step: context.step(),
                attempt: context.attempt(),
                name: text(arguments, "name"),
            };
            calls.lock().unwrap_or_else(PoisonError::into_inner).push(call);
        }
    };
    let (echo, add, flaky) = (seen("echo"), seen("add"), seen("flaky"));
    let (fail, hold, large) = (seen("fail"), seen("hold"), seen("large"));
    worker
        .function("echo", move |context: Context, arguments: Value| {
            echo(&context, &arguments);
            async move { Ok(arguments) }
        })
        .function("add", move |context: Context, arguments: Value| {
            add(&context, &arguments);
            async move { Ok(json!({ "n": arguments["n"].as_i64().unwrap_or(0) + 1 })) }
        })
        .function("flaky", move |context: Context, arguments: Value| {
            flaky(&context, &arguments);
            let failures = arguments["failures"].as_u64().unwrap_or(0);
            async move {
                if u64::from(context.attempt()) <= failures {
                    return Err(Failure::retryable("not-yet"));
                }
                Ok(json!({ "attempt": context.attempt() }))
            }
        })
        .function("fail", move |context: Context, arguments: Value| {
            fail(&context, &arguments);
            let status = arguments["status"].as_u64().and_then(|status| u32::try_from(status).ok());
            let failure = Failure::terminal(text(&arguments, "title"))
                .with_type(text(&arguments, "type"))
                .with_status(status.unwrap_or(500));
            async move { Err::<Value, _>(failure) }
        })
        .function("hold", move |context: Context, arguments: Value| {
            hold(&context, &arguments);
            let (name, mut gates) = (text(&arguments, "name"), gates.clone());
            async move {
                tokio::select! {
                    () = context.cancelled() => return Err(Failure::terminal("cancelled")),
                    // The test is over when nobody can release it any more.
                    _ = gates.wait_for(|names| names.contains(&name)) => {}
                }
                Ok(arguments)
            }
        })
        .function("large", move |context: Context, arguments: Value| {
            large(&context, &arguments);
            let bytes = arguments["bytes"].as_u64().and_then(|bytes| usize::try_from(bytes).ok());
            async move { Ok(json!({ "text": "x".repeat(bytes.unwrap_or(0)) })) }
        })
}

fn text(arguments: &Value, key: &str) -> String {
    arguments[key].as_str().unwrap_or_default().to_owned()
}
