//! `schedule`: compiles to a workflow of its own, which runs the document's whenever its time or its event has come. So
//! a schedule has the engine's timers, log and recovery, and no machinery of its own.

use std::sync::Arc;

use baton_core::{
    Duration, Json, TaskId, Timestamp, Workflow,
    workflow::{
        Catch, Each, Expression, Filter, Hash, Kind, Listen, Name, Schedule, Task, Then, Until,
    },
};
use chrono::TimeZone as _;
use chrono_tz::Tz;
use croner::{Cron, parser::CronParser, parser::Seconds};
use sha2::{Digest, Sha256};

use crate::{
    builder::{Builder, Members},
    document::plain,
    duration, events, limits,
    program::{Code, Program},
    tree::{Node, Value},
};

/// The workflow behind a schedule.
#[derive(Debug)]
pub struct Trigger {
    pub workflow: Arc<Workflow>,
    pub program: Program,
}

/// When a schedule is due.
pub(crate) struct Times {
    kind: TimesKind,
    /// Times that were missed by no more than this are made up for.
    catch_up: Duration,
}

enum TimesKind {
    Every(Duration),
    Cron { cron: Box<Cron>, zone: Tz },
}

/// Of `document.metadata.schedule`, for what the language leaves open.
struct Settings {
    zone: Tz,
    catch_up: Duration,
    /// A time that comes while an instance runs waits for its end, and is then missed or made up for.
    skips: bool,
}

/// The root's `schedule`; complaints go to the builder, and nothing is given when there are some.
pub(crate) fn compile(
    builder: &mut Builder,
    node: &Node,
    metadata: Option<&Node>,
    name: Option<&Name>,
    source: &str,
) -> Option<Trigger> {
    let known = ["every", "cron", "after", "on", "read"];
    let own = builder.members(node, "`schedule`", &known, &[])?;
    let kinds = ["every", "cron", "after", "on"];
    let given: Vec<&str> = kinds.into_iter().filter(|kind| own.get(kind).is_some()).collect();
    let [kind] = given[..] else {
        let message = "exactly one of `every`, `cron`, `after` and `on` is wanted";
        builder.sink.error("invalid-value", node.place, message);
        return None;
    };
    if let Some(read) = own.get("read").filter(|_| kind != "on") {
        let message = format!("`read` goes with `on`, not with `{kind}`");
        builder.sink.error("invalid-value", read.place, message);
    }
    let settings = settings(builder, metadata)?;
    let mut draft = Draft { tasks: vec![plain(Arc::from("schedule"), "/schedule")] };
    let mut inner = Builder::new(std::mem::take(&mut builder.sink));
    let times = draft.fill(&mut inner, kind, &own, &settings, name);
    let Builder { sink, codes, matchers, .. } = inner;
    builder.sink = sink;
    let (times, name) = (times?, name?);
    let program = Program {
        codes,
        schemas: Vec::new(),
        matchers,
        times,
        definition: String::from("{}"),
        secrets: Vec::new(),
        key: None,
    };
    let mut hash = Sha256::new();
    hash.update("schedule\n");
    hash.update(source);
    // A name that no document can have: a dot is not allowed in them.
    let name = Name { name: format!("{}.schedule", name.name).into(), ..name.clone() };
    let workflow = Workflow { name, hash: Hash(hash.finalize().into()), tasks: draft.tasks };
    Some(Trigger { workflow: Arc::new(workflow), program })
}

fn settings(builder: &mut Builder, metadata: Option<&Node>) -> Option<Settings> {
    let mut settings = Settings { zone: Tz::UTC, catch_up: limits::CATCH_UP, skips: false };
    let Some(node) = metadata.and_then(|metadata| metadata.get("schedule")) else {
        return Some(settings);
    };
    let known = ["timeZone", "catchUp", "overlap"];
    let own = builder.members(node, "`schedule`", &known, &[])?;
    if let Some(node) = own.get("timeZone") {
        let text = builder.string(node, "`timeZone`")?;
        if let Ok(zone) = text.parse() {
            settings.zone = zone;
        } else {
            let message = format!("there is no time zone `{text}`");
            let hint = "a name of the IANA database, such as Europe/Berlin";
            builder.sink.error_hint("invalid-value", node.place, message, hint);
        }
    }
    if let Some(node) = own.get("catchUp") {
        settings.catch_up = duration_of(builder, node)?;
    }
    if let Some(node) = own.get("overlap") {
        match node.as_str() {
            Some("allow") => {}
            Some("skip") => settings.skips = true,
            _ => {
                let message = "`overlap` is allow or skip";
                builder.sink.error("invalid-value", node.place, message);
            }
        }
    }
    Some(settings)
}

fn duration_of(builder: &mut Builder, node: &Node) -> Option<Duration> {
    let found = match &node.value {
        Value::String(text) => duration::parse(text),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            duration::from_node(node)
        }
    };
    found
        .map_err(|error| builder.sink.error("invalid-duration", node.place, error.to_string()))
        .ok()
}

/// How often, or how soon again: what is shorter would do nothing else.
fn pause(builder: &mut Builder, node: &Node) -> Option<Duration> {
    let found = duration_of(builder, node)?;
    if found < limits::SCHEDULE_MIN {
        let message =
            format!("a schedule pauses at least {}", duration::write(limits::SCHEDULE_MIN));
        builder.sink.error("invalid-value", node.place, message);
        return None;
    }
    Some(found)
}

/// The tasks of the workflow behind a schedule.
struct Draft {
    tasks: Vec<Task>,
}

impl Draft {
    /// Gives the times that its ticks need.
    fn fill(
        &mut self,
        builder: &mut Builder,
        kind: &str,
        own: &Members<'_>,
        settings: &Settings,
        name: Option<&Name>,
    ) -> Option<Vec<Times>> {
        let node = own.get(kind)?;
        match kind {
            "every" => {
                let every = pause(builder, node)?;
                let times = Times { kind: TimesKind::Every(every), catch_up: settings.catch_up };
                self.by_the_clock(builder, settings, name);
                Some(vec![times])
            }
            "cron" => {
                let cron = cron(builder, node, settings.zone)?;
                let kind = TimesKind::Cron { cron: Box::new(cron), zone: settings.zone };
                self.by_the_clock(builder, settings, name);
                Some(vec![Times { kind, catch_up: settings.catch_up }])
            }
            "after" => {
                let after = pause(builder, node)?;
                self.one_after_another(builder, after, name);
                Some(Vec::new())
            }
            _ => {
                let read =
                    own.get("read").map_or(Some(baton_core::workflow::Read::Data), |node| {
                        events::read(builder, node)
                    })?;
                let (filters, until) = events::strategy(builder, node, true)?;
                if !matches!(until, Until::First | Until::All) {
                    let message = "`until` is not supported in a schedule";
                    builder.sink.error("unsupported", node.place, message);
                    return None;
                }
                self.by_events(builder, Listen { until, filters, read, each: None }, name);
                Some(Vec::new())
            }
        }
    }

    fn add(&mut self, name: &str, kind: Kind) -> TaskId {
        let id = TaskId(u32::try_from(self.tasks.len()).unwrap_or(u32::MAX));
        self.tasks.push(Task { kind, ..plain(Arc::from(name), &format!("/schedule/{name}")) });
        id
    }

    fn task(&mut self, id: TaskId) -> &mut Task {
        &mut self.tasks[id.0 as usize]
    }

    fn begin(&mut self, first: TaskId) {
        self.task(TaskId::ROOT).kind = Kind::Do { first: Some(first) };
    }

    /// `tick` hands its time on to itself, so that the next one counts from it and nothing drifts.
    fn by_the_clock(&mut self, builder: &mut Builder, settings: &Settings, name: Option<&Name>) {
        let tick = self.add("tick", Kind::Tick { schedule: Schedule(0) });
        let run = self.run(builder, settings.skips, "{}", name);
        self.task(tick).following = Some(run);
        self.task(run).then = Then::Task(tick);
        self.begin(tick);
    }

    fn one_after_another(&mut self, builder: &mut Builder, after: Duration, name: Option<&Name>) {
        let run = self.run(builder, true, "{}", name);
        let wait = self.add("wait", Kind::Wait { duration: builder.add(Code::Duration(after)) });
        self.task(run).following = Some(wait);
        self.task(wait).then = Then::Task(run);
        self.begin(run);
    }

    fn by_events(&mut self, builder: &mut Builder, listen: Listen, name: Option<&Name>) {
        if let Until::All = listen.until {
            let hear = self.add("listen", Kind::Listen(listen));
            let run = self.run(builder, false, ".", name);
            self.task(hear).following = Some(run);
            self.task(run).then = Then::Task(hear);
            return self.begin(hear);
        }
        // It never has enough, so that no event passes while another starts an instance.
        let never = builder.add(Code::Constant(Json::from_text("false")));
        let hear = self.add("listen", Kind::Do { first: None });
        let run = self.run(builder, false, "[.]", name);
        let each = Each {
            item: Arc::from("event"),
            at: Arc::from("index"),
            first: Some(run),
            output: None,
            export: None,
        };
        let listen = Listen { until: Until::Holds(never), each: Some(each), ..listen };
        self.task(hear).kind = Kind::Listen(listen);
        self.begin(hear);
    }

    /// Runs the document; whatever becomes of the instance, the schedule goes on with its input.
    fn run(
        &mut self,
        builder: &mut Builder,
        awaited: bool,
        input: &str,
        name: Option<&Name>,
    ) -> TaskId {
        let around = self.add("run", Kind::Do { first: None });
        let workflow = described(builder, input, name);
        let run = self.add("instance", Kind::Run { workflow, awaited });
        let catch = Catch {
            filter: Filter::default(),
            when: None,
            except_when: None,
            variable: Arc::from("error"),
            retry: None,
            first: None,
            then: None,
        };
        self.task(around).kind = Kind::Try { first: Some(run), catch };
        // An instance's output is its own affair.
        self.task(around).output = Some(builder.expression_text("$input"));
        around
    }
}

/// What `Kind::Run` asks for.
fn described(builder: &mut Builder, input: &str, name: Option<&Name>) -> Expression {
    let text = |text: &str| crate::json::string(text);
    let (namespace, name, version) =
        name.map_or(("", "", ""), |name| (&*name.namespace, &*name.name, &*name.version));
    builder.expression_text(&format!(
        "{{ namespace: {}, name: {}, version: {}, input: {input} }}",
        text(namespace),
        text(name),
        text(version)
    ))
}

fn cron(builder: &mut Builder, node: &Node, zone: Tz) -> Option<Cron> {
    let text = builder.string(node, "`cron`")?;
    if text.len() > limits::CRON_BYTES_MAX {
        let message = format!("a cron expression has at most {} bytes", limits::CRON_BYTES_MAX);
        builder.sink.error("too-large", node.place, message);
        return None;
    }
    let parser = CronParser::builder().seconds(Seconds::Optional).build();
    let found = match parser.parse(text) {
        Ok(found) => found,
        Err(error) => {
            let message = format!("not a cron expression: {error}");
            let hint =
                "minute, hour, day of the month, month, day of the week; seconds may go before";
            builder.sink.error_hint("invalid-cron", node.place, message, hint);
            return None;
        }
    };
    if next(&found, zone, Timestamp(0)).is_none() {
        let message = "this cron expression never comes true";
        builder.sink.error("invalid-cron", node.place, message);
        return None;
    }
    Some(found)
}

/// The first time after another.
fn next(cron: &Cron, zone: Tz, after: Timestamp) -> Option<Timestamp> {
    let after = zone.timestamp_millis_opt(after.0).single()?;
    let found = cron.find_next_occurrence(&after, false).ok()?;
    Some(Timestamp(found.timestamp_millis()))
}

impl Times {
    pub(crate) fn next(
        &self,
        before: Option<Timestamp>,
        started: Timestamp,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let from = before.unwrap_or(started);
        let oldest = Timestamp(now.0.saturating_sub_unsigned(self.catch_up.0));
        match &self.kind {
            TimesKind::Every(every) => {
                let first = from.plus(*every);
                let late = oldest.since(first).0.div_ceil(every.0.max(1));
                Some(first.plus(Duration(late.saturating_mul(every.0))))
            }
            TimesKind::Cron { cron, zone } => {
                let found = next(cron, *zone, from)?;
                if found >= oldest {
                    Some(found)
                } else {
                    next(cron, *zone, Timestamp(oldest.0 - 1))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every(ms: u64, catch_up_ms: u64) -> Times {
        Times { kind: TimesKind::Every(Duration(ms)), catch_up: Duration(catch_up_ms) }
    }

    fn at(times: &Times, before: Option<i64>, now: i64) -> i64 {
        times.next(before.map(Timestamp), Timestamp(1_000), Timestamp(now)).unwrap().0
    }

    #[test]
    fn an_interval_counts_from_the_time_before_and_does_not_drift() {
        let times = every(100, 0);
        assert_eq!(at(&times, None, 1_000), 1_100);
        assert_eq!(at(&times, Some(1_100), 1_104), 1_200);
        assert_eq!(at(&times, Some(1_100), 1_200), 1_200);
    }

    #[test]
    fn what_was_missed_is_made_up_for_within_the_bound_alone() {
        assert_eq!(at(&every(100, 0), Some(1_100), 1_555), 1_600);
        assert_eq!(at(&every(100, 100), Some(1_100), 1_555), 1_500);
        assert_eq!(at(&every(100, 10_000), Some(1_100), 1_555), 1_200);
        let minutely = cron_times("* * * * *", Tz::UTC, 90_000);
        assert_eq!(at(&minutely, Some(60_000), 600_500), 540_000);
    }

    fn cron_times(text: &str, zone: Tz, catch_up_ms: u64) -> Times {
        let cron = CronParser::builder().seconds(Seconds::Optional).build().parse(text).unwrap();
        Times {
            kind: TimesKind::Cron { cron: Box::new(cron), zone },
            catch_up: Duration(catch_up_ms),
        }
    }

    #[test]
    fn midnight_is_where_the_author_says() {
        // 2024-03-30T12:00:00Z, the day before the clocks of Berlin go forward.
        let noon = 1_711_800_000_000;
        let midnight = |zone, from: i64| {
            let found = cron_times("0 0 * * *", zone, 0)
                .next(Some(Timestamp(from)), Timestamp(0), Timestamp(from))
                .unwrap();
            (found.0 - noon) / 3_600_000
        };
        assert_eq!(midnight(Tz::UTC, noon), 12);
        assert_eq!(midnight(Tz::Europe__Berlin, noon), 11);
        assert_eq!(midnight(Tz::Europe__Berlin, noon + 11 * 3_600_000), 11 + 23);
    }
}
