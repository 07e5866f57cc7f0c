//! What Prometheus can ask.

use std::{fmt::Write, time::Duration};

use baton_core::{guard::Verdict, instance::Status, workflow::Function};
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{
        counter::Counter,
        family::Family,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

use crate::{lifecycle, partition::Handle};

pub struct Metrics {
    registry: Registry,
    pub started: Counter,
    ended: Family<StatusLabel, Counter>,
    step_seconds: Family<FunctionLabels, Histogram>,
    commit_seconds: Histogram,
    commit_bytes: Histogram,
    refused_results: Family<CodeLabel, Counter>,
    refused_requests: Family<CodeLabel, Counter>,
    judged: Judged,
    pub overstated_confidence: Counter,
    pub lifecycle: lifecycle::Counts,
}

/// Found beforehand, because each step counts.
struct Judged {
    allow: Counter,
    deny: Counter,
    deny_unless: Counter,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StatusLabel {
    status: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct VerdictLabel {
    verdict: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CodeLabel {
    code: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FunctionLabels {
    department: String,
    function: String,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("baton");
        let seconds = || Histogram::new(exponential_buckets(0.000_5, 2.0, 20));
        let started = Counter::default();
        registry.register("instances_started", "Instances started", started.clone());
        let ended = Family::default();
        registry.register("instances_ended", "Instances ended, by how", ended.clone());
        let step_seconds = Family::new_with_constructor(seconds as fn() -> Histogram);
        registry.register_with_unit(
            "step_duration",
            "From the log's having a step to its result's having been decided",
            Unit::Seconds,
            step_seconds.clone(),
        );
        let commit_seconds = seconds();
        registry.register_with_unit(
            "commit_duration",
            "How long the log took to answer",
            Unit::Seconds,
            commit_seconds.clone(),
        );
        let commit_bytes = Histogram::new(exponential_buckets(256.0, 2.0, 13));
        registry.register_with_unit(
            "commit_size",
            "Bytes of events in a commit",
            Unit::Bytes,
            commit_bytes.clone(),
        );
        let refused_results = Family::default();
        registry.register(
            "refused_results",
            "Results of workers that were refused",
            refused_results.clone(),
        );
        let refused_requests = Family::default();
        registry.register(
            "refused_requests",
            "Requests to the API that were refused",
            refused_requests.clone(),
        );
        let judged = Family::<VerdictLabel, Counter>::default();
        registry.register(
            "judged_steps",
            "Times that policies were asked about a step, by what they said",
            judged.clone(),
        );
        let counter = |verdict| judged.get_or_create_owned(&VerdictLabel { verdict });
        let judged = Judged {
            allow: counter("allow"),
            deny: counter("deny"),
            deny_unless: counter("deny-unless"),
        };
        let overstated_confidence = Counter::default();
        registry.register(
            "overstated_confidence",
            "Times that policies were asked about a step with more confidence than was agreed",
            overstated_confidence.clone(),
        );
        let lifecycle = lifecycle::Counts::default();
        registry.register(
            "lifecycle_events_published",
            "Lifecycle events that the broker has stored",
            lifecycle.published.clone(),
        );
        registry.register(
            "lifecycle_events_dropped",
            "Lifecycle events that the broker did not take in time",
            lifecycle.dropped.clone(),
        );
        Self {
            registry,
            started,
            ended,
            step_seconds,
            commit_seconds,
            commit_bytes,
            refused_results,
            refused_requests,
            judged,
            overstated_confidence,
            lifecycle,
        }
    }
}

impl Metrics {
    pub fn ended(&self, status: Status) {
        let status = match status {
            Status::Completed => "completed",
            Status::Faulted => "faulted",
            Status::Cancelled => "cancelled",
            Status::Running | Status::Waiting | Status::Suspended => return,
        };
        self.ended.get_or_create(&StatusLabel { status }).inc();
    }

    pub fn step_settled(&self, function: &Function, took: baton_core::Duration) {
        let labels = FunctionLabels {
            department: function.department.to_string(),
            function: function.name.to_string(),
        };
        self.step_seconds
            .get_or_create(&labels)
            .observe(Duration::from_millis(took.0).as_secs_f64());
    }

    pub fn committed(&self, took: Duration, bytes: usize) {
        self.commit_seconds.observe(took.as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "a commit has fewer than 2^52 bytes")]
        self.commit_bytes.observe(bytes as f64);
    }

    pub fn result_refused(&self, code: &'static str) {
        self.refused_results.get_or_create(&CodeLabel { code }).inc();
    }

    pub fn request_refused(&self, code: &'static str) {
        self.refused_requests.get_or_create(&CodeLabel { code }).inc();
    }

    pub fn judged(&self, verdict: &Verdict) {
        let counter = match verdict {
            Verdict::Allow => &self.judged.allow,
            Verdict::Deny => &self.judged.deny,
            Verdict::DenyUnless(_) => &self.judged.deny_unless,
        };
        counter.inc();
    }

    /// The text that Prometheus reads, with what the partitions say of themselves.
    pub fn text(
        &self,
        partitions: &[Handle],
        counts: &[(&'static str, u64)],
        now_ms: i64,
    ) -> String {
        let mut body = String::new();
        if text::encode_registry(&mut body, &self.registry).is_err() {
            return String::new();
        }
        let mut gauge = |name: &str, help: &str, rows: Vec<(String, f64)>| {
            let _ = writeln!(body, "# HELP baton_{name} {help}.\n# TYPE baton_{name} gauge");
            for (labels, value) in rows {
                let _ = writeln!(body, "baton_{name}{{{labels}}} {value}");
            }
        };
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let count = |value: u64| value as f64;
        let statuses =
            counts.iter().map(|(status, n)| (format!("status=\"{status}\""), count(*n))).collect();
        gauge("instances", "Instances by status, as the index has them", statuses);
        let (mut open, mut resident, mut leading, mut log) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (mut depth, mut age) = (Vec::new(), Vec::new());
        for (number, partition) in partitions.iter().enumerate() {
            let figures = partition.figures();
            let label = format!("partition=\"{number}\"");
            open.push((label.clone(), count(figures.open_instances)));
            resident.push((label.clone(), count(figures.resident_instances)));
            log.push((label.clone(), count(figures.log_position)));
            leading.push((
                label.clone(),
                if partition.state().name() == "leading" { 1.0 } else { 0.0 },
            ));
            for (function, (steps, oldest)) in figures.open_steps {
                let label = format!("{label},function=\"{function}\"");
                depth.push((label.clone(), count(steps)));
                age.push((label, count(u64::try_from(now_ms - oldest).unwrap_or(0)) / 1e3));
            }
        }
        gauge("open_instances", "Instances that have not ended", open);
        gauge("resident_instances", "Instances in memory", resident);
        gauge("partition_leading", "1 while this process leads the partition", leading);
        gauge("log_position", "Sequence of the last commit", log);
        gauge("open_steps", "Steps that wait for a result", depth);
        gauge("oldest_step_age_seconds", "Age of the oldest step that waits for a result", age);
        // OpenMetrics ends with this line; the gauges above came after the encoder wrote it.
        body = body.replace("# EOF\n", "");
        body.push_str("# EOF\n");
        body
    }
}
