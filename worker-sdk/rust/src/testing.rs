//! Runs a handler without a server.
//!
//! ```
//! # use baton_worker::{Context, Worker, testing};
//! # async fn run() {
//! let worker = Worker::new("finance").function("double", |_: Context, n: u64| async move { Ok(n * 2) });
//! assert_eq!(testing::call(&worker, "double", 21).await, Ok(42.into()));
//! # }
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(run());
//! ```

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use baton_proto::v1;
use serde::Serialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{Context, Failure, Outcome, Worker, context::Reports, limits::OUTPUT_BYTES_MAX};

/// Calls a function as a first attempt, exactly as the worker would: input and output pass through JSON, a panic and an
/// output that is too large become failures.
///
/// # Errors
///
/// What the handler failed with.
pub async fn call(worker: &Worker, function: &str, input: impl Serialize) -> Outcome<Value> {
    Call::new(function).run(worker, input).await.outcome
}

/// A call with a context of the test's choice.
#[derive(Clone, Debug)]
pub struct Call {
    /// Without the department.
    pub function: String,
    pub instance: Uuid,
    pub step: u32,
    /// 1 for the first.
    pub attempt: u32,
    pub task: String,
    pub workflow: String,
    /// Unix milliseconds; 0: no deadline.
    pub deadline_ms: i64,
    pub traceparent: Option<String>,
    /// Placeholders in the input, and the names of the secrets that they stand for; the worker has the values.
    pub secrets: BTreeMap<String, String>,
    /// Cancel it, and the handler's context is cancelled.
    pub cancellation: CancellationToken,
}

/// What came of a call.
#[derive(Clone, Debug)]
pub struct Report {
    pub outcome: Outcome<Value>,
    /// Fraction and message of each report of progress.
    pub progress: Vec<(f64, String)>,
}

impl Call {
    pub fn new(function: impl Into<String>) -> Self {
        Self {
            function: function.into(),
            instance: Uuid::nil(),
            step: 1,
            attempt: 1,
            task: "task".into(),
            workflow: "test/workflow:1.0.0".into(),
            deadline_ms: 0,
            traceparent: None,
            secrets: BTreeMap::new(),
            cancellation: CancellationToken::new(),
        }
    }

    /// Runs the handler to its end. A function that the worker does not offer is a terminal failure.
    pub async fn run(self, worker: &Worker, input: impl Serialize) -> Report {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let outcome = self.outcome(worker, input, kept.clone()).await;
        let progress = std::mem::take(&mut *kept.lock().unwrap_or_else(PoisonError::into_inner));
        Report { outcome, progress }
    }

    async fn outcome(
        self,
        worker: &Worker,
        input: impl Serialize,
        kept: Arc<Mutex<Vec<(f64, String)>>>,
    ) -> Outcome<Value> {
        let Some(function) = worker.find(&self.function) else {
            return Err(Failure::terminal(format_args!(
                "the worker offers no function {:?}",
                self.function
            )));
        };
        let input = serde_json::to_vec(&input).map_err(|error| {
            Failure::terminal("the input cannot be written as JSON").with_detail(error)
        })?;
        let command = v1::StepCommand {
            instance: self.instance.as_bytes().to_vec(),
            step: self.step,
            attempt: self.attempt,
            function: format!("{}.{}", worker.department(), self.function),
            deadline_ms: self.deadline_ms,
            idempotency_key: format!("{}/{}", self.instance, self.step),
            task: self.task,
            workflow: self.workflow,
            ask_first: false,
            secrets: self.secrets,
            ..Default::default()
        };
        let context = Context::new(
            command,
            self.instance,
            self.traceparent,
            self.cancellation,
            Reports::Kept(kept),
        );
        let output = function.call(&worker.secrets(), context, input, OUTPUT_BYTES_MAX).await?;
        serde_json::from_slice(&output).map_err(Failure::from)
    }
}
