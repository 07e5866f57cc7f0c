//! Traces are a projection of the log: spans follow from events alone, so writing one twice writes the same.
//!
//! After a crash the spans of what is replayed are written again, byte for byte, and the collector has them once.
//! Off unless an endpoint is set, and never in the way: what a dead collector does not take is dropped.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use baton_core::{
    ActivationId, Attempt, Event, Instance, InstanceId, Timestamp,
    event::{Report, Started},
    workflow::{Function, Task},
};
use opentelemetry::{
    InstrumentationScope, KeyValue,
    trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState},
};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{SpanData, SpanExporter as _},
};
use opentelemetry_semantic_conventions::attribute as otel;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::{limits, telemetry};

/// A worker's service and its own name; `None` is this process.
type Service = Option<(Arc<str>, Arc<str>)>;

/// A span, and whose it is.
pub struct Span {
    service: Service,
    data: SpanData,
}

/// Where spans go. Cheap to clone.
#[derive(Clone)]
pub struct Traces {
    messages: mpsc::Sender<Message>,
    /// One permit for each span that may wait.
    room: Arc<Semaphore>,
}

enum Message {
    /// The permits come back when the spans have been tried.
    Spans(Vec<Span>, OwnedSemaphorePermit),
    /// Answered when all before it has been tried.
    Flush(oneshot::Sender<()>),
}

impl Traces {
    /// `None`: no endpoint is set.
    #[expect(
        clippy::disallowed_methods,
        reason = "the standard variables of OpenTelemetry have one reader, this one"
    )]
    pub fn from_env() -> Option<Self> {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        if set("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
            || set("OTEL_TRACES_EXPORTER").is_some_and(|value| value == "none")
        {
            return None;
        }
        let endpoint = set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
            .or_else(|| set("OTEL_EXPORTER_OTLP_ENDPOINT"))?;
        let service = set("OTEL_SERVICE_NAME").unwrap_or_else(|| "batond".into());
        if let Some(protocol) = set("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
            .or_else(|| set("OTEL_EXPORTER_OTLP_PROTOCOL"))
            .filter(|protocol| protocol != "grpc")
        {
            tracing::warn!(protocol, "Spans are sent in the protocol grpc, and in no other");
        }
        let (messages, receiver) = mpsc::channel(limits::SPAN_BATCHES_WAITING_MAX);
        let room = Arc::new(Semaphore::new(limits::SPANS_WAITING_MAX));
        let mut exporters = Exporters { endpoint, service, by_service: HashMap::new() };
        // An endpoint that is none is found out here, and said once.
        exporters.of(&None)?;
        tracing::info!(
            endpoint = exporters.endpoint,
            service = exporters.service,
            "Traces go to a collector"
        );
        tokio::spawn(export(exporters, receiver));
        Some(Self { messages, room })
    }

    /// Never waits; what does not fit is dropped.
    pub fn write(&self, spans: Vec<Span>) {
        let Ok(count) = u32::try_from(spans.len()) else { return };
        if count > 0
            && let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(count)
        {
            let _ = self.messages.try_send(Message::Spans(spans, room));
        }
    }

    /// Waits, a bounded time, until all before it has been tried.
    pub async fn flush(&self) {
        let (done, tried) = oneshot::channel();
        if self.messages.try_send(Message::Flush(done)).is_ok() {
            let _ = tokio::time::timeout(limits::SPAN_FLUSH, tried).await;
        }
    }
}

struct Exporters {
    endpoint: String,
    service: String,
    by_service: HashMap<Service, SpanExporter>,
}

impl Exporters {
    fn of(&mut self, service: &Service) -> Option<&SpanExporter> {
        if !self.by_service.contains_key(service) {
            if self.by_service.len() >= limits::SPAN_SERVICES_MAX {
                self.by_service.clear();
            }
            let built = SpanExporter::builder()
                .with_tonic()
                .with_endpoint(&self.endpoint)
                .with_timeout(limits::SPAN_FLUSH)
                .build();
            let mut exporter =
                built.map_err(|error| tracing::warn!(%error, "Spans cannot be exported")).ok()?;
            // Nothing here may differ from one life of this process to the next: the same span must look the same.
            let name = service.as_ref().map_or(self.service.as_str(), |(name, _)| name).to_owned();
            let mut resource =
                Resource::builder_empty().with_attribute(KeyValue::new(otel::SERVICE_NAME, name));
            if let Some((_, worker)) = service {
                resource = resource
                    .with_attribute(KeyValue::new(otel::SERVICE_INSTANCE_ID, worker.to_string()));
            }
            exporter.set_resource(&resource.build());
            self.by_service.insert(service.clone(), exporter);
        }
        self.by_service.get(service)
    }
}

async fn export(mut exporters: Exporters, mut messages: mpsc::Receiver<Message>) {
    let mut received = Vec::new();
    let mut failing = false;
    while messages.recv_many(&mut received, limits::SPAN_BATCHES_AT_ONCE).await > 0 {
        let mut by_service: HashMap<_, Vec<SpanData>> = HashMap::new();
        let (mut waiting, mut rooms) = (Vec::new(), Vec::new());
        for message in received.drain(..) {
            match message {
                Message::Spans(spans, room) => {
                    rooms.push(room);
                    for span in spans {
                        by_service.entry(span.service).or_default().push(span.data);
                    }
                }
                Message::Flush(done) => waiting.push(done),
            }
        }
        for (service, mut spans) in by_service {
            let Some(exporter) = exporters.of(&service) else { continue };
            while !spans.is_empty() {
                let rest = spans.split_off(spans.len().min(limits::SPANS_A_REQUEST));
                let sent = exporter.export(std::mem::replace(&mut spans, rest)).await;
                if let (Err(error), false) = (&sent, failing) {
                    tracing::warn!(%error, "The collector does not take spans; they are dropped until it does");
                } else if sent.is_ok() && failing {
                    tracing::info!("The collector takes spans again");
                }
                failing = sent.is_err();
            }
        }
        drop(rooms);
        for done in waiting {
            let _ = done.send(());
        }
        // Spans come in small pieces; a moment makes them larger ones.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The spans that an event completes, told from the instance as it was before the event.
pub fn spans<'a>(
    before: &Instance,
    task: impl Fn(ActivationId) -> Option<&'a Task>,
    event: &Event,
    at: Timestamp,
) -> Vec<Span> {
    let Some(outcome) = outcome(event) else { return Vec::new() };
    let (Some(step), Some(task)) = (before.open_step(outcome.step), task(outcome.step)) else {
        return Vec::new();
    };
    let Some(function) = task.kind.function() else { return Vec::new() };
    let settled = Settled { function, task: &task.name, scheduled_at: step.scheduled_at, at };
    attempt(before.id, &before.started.traceparent, &settled, event)
}

/// How an attempt ended.
struct Outcome<'a> {
    step: ActivationId,
    attempt: Attempt,
    /// `error.type`.
    error: Option<String>,
    report: Option<&'a Report>,
}

/// `None` when the event ends no attempt.
fn outcome(event: &Event) -> Option<Outcome<'_>> {
    if let Event::StepCompleted { activation, attempt, report, .. } = event {
        Some(Outcome { step: *activation, attempt: *attempt, error: None, report: Some(report) })
    } else if let Event::StepFailed { activation, attempt, error, report, .. } = event {
        let error = Some(error.kind.to_string());
        Some(Outcome { step: *activation, attempt: *attempt, error, report: Some(report) })
    } else if let Event::StepHalted { activation, attempt, .. } = event {
        let (step, attempt) = (*activation, *attempt);
        Some(Outcome { step, attempt, error: Some("halted".into()), report: None })
    } else if let Event::StepCancelled { activation, attempt } = event {
        Some(Outcome {
            step: *activation,
            attempt: *attempt,
            error: Some("cancelled".into()),
            report: None,
        })
    } else {
        None
    }
}

/// The root: the short span of the start.
pub fn start(id: InstanceId, started: &Started, at: Timestamp) -> Vec<Span> {
    if telemetry::is_unsampled(&started.traceparent) {
        return Vec::new();
    }
    let (parent, remote) = match telemetry::parse_traceparent(&started.traceparent) {
        Some((_, span, _)) => (SpanId::from_bytes(span), true),
        None => (SpanId::INVALID, false),
    };
    let method = "baton.v1.WorkflowService/Start";
    let name = &started.name;
    let attributes = vec![
        KeyValue::new(otel::RPC_SYSTEM_NAME, "grpc"),
        KeyValue::new(otel::RPC_METHOD, method),
        KeyValue::new(otel::RPC_RESPONSE_STATUS_CODE, "OK"),
        KeyValue::new(
            telemetry::WORKFLOW_NAME,
            format!("{}/{}:{}", name.namespace, name.name, name.version),
        ),
        KeyValue::new(telemetry::INSTANCE_ID, id.to_string()),
    ];
    let span = telemetry::span_id(id, "start", ActivationId::ROOT, Attempt::FIRST);
    let data = SpanData {
        parent_span_is_remote: remote,
        ..data(
            id,
            &started.traceparent,
            span,
            parent,
            SpanKind::Server,
            method.into(),
            (time(at), time(at) + MOMENT),
            attributes,
        )
    };
    vec![Span { service: None, data }]
}

/// What is known of an attempt when it has ended.
pub struct Settled<'a> {
    pub function: &'a Function,
    /// The task's name.
    pub task: &'a str,
    pub scheduled_at: Timestamp,
    pub at: Timestamp,
}

/// An attempt: its publication by the engine, and under it what the worker did. The worker's span is written here, from
/// what its result says, so that a worker that is killed right after its result loses none.
pub fn attempt(
    id: InstanceId,
    traceparent: &str,
    settled: &Settled<'_>,
    event: &Event,
) -> Vec<Span> {
    let Some(Outcome { step: activation, attempt: number, error, report }) = outcome(event) else {
        return Vec::new();
    };
    if telemetry::is_unsampled(traceparent) {
        return Vec::new();
    }
    let function = settled.function;
    let publish = telemetry::span_id(id, "publish", activation, number);
    let root = telemetry::span_id(id, "start", ActivationId::ROOT, Attempt::FIRST);
    let attributes = |operation: &'static str, kind: &'static str| {
        let mut attributes = vec![
            KeyValue::new(otel::MESSAGING_SYSTEM, "nats"),
            KeyValue::new(otel::MESSAGING_OPERATION_NAME, operation),
            KeyValue::new(otel::MESSAGING_OPERATION_TYPE, kind),
            KeyValue::new(
                otel::MESSAGING_DESTINATION_TEMPLATE,
                format!(
                    "baton.work.{}.{}.{{instance}}.{{step}}.{{attempt}}",
                    function.department, function.name
                ),
            ),
            KeyValue::new(
                otel::MESSAGING_MESSAGE_ID,
                format!("{id}/{}/{}", activation.0, number.0),
            ),
            KeyValue::new(telemetry::INSTANCE_ID, id.to_string()),
            KeyValue::new(telemetry::STEP_NAME, settled.task.to_owned()),
            KeyValue::new(telemetry::STEP_ATTEMPT, i64::from(number.0)),
        ];
        if let Some(error) = &error {
            attributes.push(KeyValue::new(otel::ERROR_TYPE, error.clone()));
        }
        attributes
    };
    let status = if error.is_some() { Status::error("") } else { Status::Unset };
    let name = format!("publish {function}");
    // Longer than its parent, so that nobody takes its lying outside of that for a clock that is off.
    let times = (time(settled.scheduled_at), time(settled.at) + 2 * MOMENT);
    let mut published = data(
        id,
        traceparent,
        publish,
        SpanId::from_bytes(root),
        SpanKind::Producer,
        name,
        times,
        attributes("publish", "send"),
    );
    published.status = status.clone();
    let mut spans = vec![Span { service: None, data: published }];
    if let Some(report) = report.filter(|report| !report.service.is_empty()) {
        let mut attributes = attributes("process", "process");
        let queue = crate::broker::queue_consumer(&function.department, &function.name);
        attributes.push(KeyValue::new(otel::MESSAGING_CONSUMER_GROUP_NAME, queue));
        let mut processed = data(
            id,
            traceparent,
            telemetry::process_span_id(publish),
            SpanId::from_bytes(publish),
            SpanKind::Consumer,
            format!("process {function}"),
            worked(report, settled),
            attributes,
        );
        processed.parent_span_is_remote = true;
        processed.status = status;
        spans.push(Span {
            service: Some((Arc::clone(&report.service), Arc::clone(&report.worker))),
            data: processed,
        });
    }
    spans
}

/// When the worker says that it worked, moved to where it can have been: its clock may be off, but it began after the
/// command had gone out, and had done it before the result was taken.
fn worked(report: &Report, settled: &Settled<'_>) -> (SystemTime, SystemTime) {
    let (earliest, latest) = (settled.scheduled_at.0, settled.at.0.max(settled.scheduled_at.0));
    let took_ms = (report.finished.0.saturating_sub(report.started.0)).clamp(0, latest - earliest);
    let start_ms = report.started.0.clamp(earliest, latest - took_ms);
    (time(Timestamp(start_ms)), time(Timestamp(start_ms + took_ms)) + MOMENT)
}

#[expect(clippy::too_many_arguments, reason = "a span has that many parts")]
fn data(
    id: InstanceId,
    traceparent: &str,
    span: [u8; 8],
    parent: SpanId,
    kind: SpanKind,
    name: String,
    (start, end): (SystemTime, SystemTime),
    attributes: Vec<KeyValue>,
) -> SpanData {
    let (trace, flags) = telemetry::parse_traceparent(traceparent)
        .map_or((id.0, 1), |(trace, _, flags)| (trace, flags));
    SpanData {
        span_context: SpanContext::new(
            TraceId::from_bytes(trace),
            SpanId::from_bytes(span),
            TraceFlags::new(flags),
            false,
            TraceState::default(),
        ),
        parent_span_id: parent,
        parent_span_is_remote: false,
        span_kind: kind,
        name: name.into(),
        start_time: start,
        end_time: end,
        attributes,
        dropped_attributes_count: 0,
        events: opentelemetry_sdk::trace::SpanEvents::default(),
        links: opentelemetry_sdk::trace::SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: InstrumentationScope::builder("baton")
            .with_version(env!("CARGO_PKG_VERSION"))
            .build(),
    }
}

/// The log knows milliseconds, so that much may lie between a beginning and an end that it calls the same. A span without
/// a duration would be marked by Jaeger as wrong, and then no longer look the same when it comes again.
const MOMENT: Duration = Duration::from_micros(1);

fn time(at: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(at.0).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_lies_within_its_handoff_whatever_the_workers_clock_says() {
        let function = Function { department: "finance".into(), name: "pay".into() };
        let (scheduled_at, at) = (Timestamp(1_000), Timestamp(1_100));
        let settled = Settled { function: &function, task: "pay", scheduled_at, at };
        let cases = [
            // As it was; before it; after it; longer than it; backwards; not known.
            ((1_010, 1_030), (1_010, 1_030)),
            ((10, 30), (1_000, 1_020)),
            ((1_090, 1_110), (1_080, 1_100)),
            ((0, 5_000), (1_000, 1_100)),
            ((1_050, 1_040), (1_050, 1_050)),
            ((0, 0), (1_000, 1_000)),
        ];
        for ((started, finished), (from, to)) in cases {
            let (started, finished) = (Timestamp(started), Timestamp(finished));
            let report =
                Report { worker: "w".into(), service: "s".into(), started, finished, cost: 0 };
            let wanted = (time(Timestamp(from)), time(Timestamp(to)) + MOMENT);
            assert_eq!(worked(&report, &settled), wanted, "{report:?}");
        }
    }
}
