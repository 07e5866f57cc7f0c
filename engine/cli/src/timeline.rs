//! What the tasks of an instance did when, taken from its history.

use std::collections::BTreeMap;

use baton_proto::v1::{HistoryEvent, StepReport, event::Kind};
use serde_json::{Value, json};

use crate::{events, shape, times};

/// The tasks of an instance against time, in the order of the document's tree.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
    pub(crate) rows: Vec<Row>,
}

/// One task, with all its passages.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) pointer: String,
    pub(crate) function: String,
    pub(crate) depth: usize,
    pub(crate) state: State,
    /// How often it was entered: more than once in a loop or a retry.
    pub(crate) passages: u32,
    /// Of all passages together.
    pub(crate) attempts: u32,
    pub(crate) segments: Vec<Segment>,
    /// When something went wrong, Unix milliseconds.
    pub(crate) failures: Vec<i64>,
    /// What went wrong last.
    pub(crate) error: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Open,
    Completed,
    Faulted,
    Cancelled,
    Skipped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) from_ms: i64,
    pub(crate) to_ms: i64,
    pub(crate) kind: SegmentKind,
}

/// From the least to the most worth seeing, where two share a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SegmentKind {
    /// The task is open: its children do something, or the engine does.
    Open,
    /// Time must pass: a timer, or the pause before another attempt.
    Timer,
    /// The step waits for a worker, or its result for the engine.
    Waiting,
    /// A worker has it.
    Working,
}

impl Timeline {
    /// `now_ms` is where bars end that are still open.
    pub(crate) fn new(history: &[HistoryEvent], now_ms: i64) -> Self {
        let mut reading = Reading {
            start_ms: history.first().map_or(now_ms, events::at_ms),
            ..Reading::default()
        };
        for event in history {
            reading.take(event);
        }
        reading.finish(now_ms)
    }

    pub(crate) fn shape(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            let from = row.segments.iter().map(|segment| segment.from_ms).min();
            let to = row.segments.iter().map(|segment| segment.to_ms).max();
            json!({
                "task": row.name,
                "pointer": row.pointer,
                "function": shape::non_empty(&row.function),
                "depth": row.depth,
                "state": row.state.word(),
                "passages": row.passages,
                "attempts": row.attempts,
                "started_at": from.and_then(times::rfc3339),
                "ended_at": to.filter(|_| row.state != State::Open).and_then(times::rfc3339),
                "waiting_ms": row.spent(SegmentKind::Waiting) + row.spent(SegmentKind::Timer),
                "working_ms": row.spent(SegmentKind::Working),
                "failures": row.failures.len(),
                "error": row.error,
            })
        });
        Value::Array(rows.collect())
    }
}

impl Row {
    /// Milliseconds in segments of this kind.
    pub(crate) fn spent(&self, kind: SegmentKind) -> i64 {
        self.segments
            .iter()
            .filter(|segment| segment.kind == kind)
            .map(|segment| segment.to_ms - segment.from_ms)
            .sum()
    }
}

impl State {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Completed => "completed",
            Self::Faulted => "faulted",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
        }
    }
}

#[derive(Default)]
struct Reading {
    start_ms: i64,
    /// Of the event before: an instance's own times never run backwards.
    last_ms: i64,
    ended: bool,
    nodes: Vec<Node>,
    by_pointer: BTreeMap<String, usize>,
    activations: BTreeMap<u32, Activation>,
}

struct Node {
    row: Row,
    parent: Option<usize>,
}

/// One passage through a task.
struct Activation {
    /// None for the document as a whole, which has no row.
    node: Option<usize>,
    entered_ms: i64,
    /// Since when a step is out.
    scheduled_ms: Option<i64>,
    /// Since when only time can move it, and until when it should take.
    timer: Option<(i64, i64)>,
    open: bool,
}

impl Reading {
    fn take(&mut self, event: &HistoryEvent) {
        let at = events::at_ms(event);
        self.last_ms = at;
        let Some(kind) = events::event_kind(event) else { return };
        match kind {
            Kind::TaskEntered(e) => {
                let parent = self.activations.get(&e.parent).and_then(|activation| activation.node);
                // Task 0 is the document's own list, which is the axis itself.
                let node = (e.task != 0).then(|| self.node(event, parent));
                if let Some(node) = node {
                    let row = &mut self.nodes[node].row;
                    row.passages += 1;
                    row.state = State::Open;
                }
                let activation = Activation {
                    node,
                    entered_ms: at,
                    scheduled_ms: None,
                    timer: None,
                    open: true,
                };
                self.activations.insert(e.activation, activation);
            }
            Kind::TaskSkipped(e) => {
                let parent = self.activations.get(&e.parent).and_then(|activation| activation.node);
                self.node(event, parent);
            }
            Kind::TaskCompleted(e) => self.close(e.activation, at, State::Completed),
            Kind::TaskFaulted(e) => {
                self.fail(e.activation, at, e.error.as_ref());
                self.close(e.activation, at, State::Faulted);
            }
            Kind::MapItemFaulted(e) => {
                self.fail(e.activation, at, e.error.as_ref());
                self.close(e.activation, at, State::Faulted);
            }
            Kind::StepScheduled(e) => {
                self.stop_timer(e.activation, at);
                if let Some((activation, row)) = self.active(e.activation) {
                    activation.scheduled_ms = Some(at);
                    row.attempts += 1;
                    row.function.clone_from(&event.function);
                }
            }
            Kind::StepCompleted(e) => self.settle(e.activation, at, e.report.as_ref()),
            Kind::StepFailed(e) => {
                self.settle(e.activation, at, e.report.as_ref());
                self.fail(e.activation, at, e.error.as_ref());
                if e.retry_at_ms > 0 {
                    self.start_timer(e.activation, at, e.retry_at_ms);
                }
            }
            Kind::StepCancelled(e) => self.settle(e.activation, at, None),
            Kind::StepHalted(e) => self.settle(e.activation, at, None),
            Kind::TimerStarted(e) => self.start_timer(e.activation, at, e.fire_at_ms),
            Kind::TimerFired(e) => self.stop_timer(e.activation, at),
            Kind::RetryScheduled(e) => {
                self.fail(e.activation, at, e.error.as_ref());
                self.start_timer(e.activation, at, e.fire_at_ms);
            }
            Kind::ErrorCaught(e) => {
                self.stop_timer(e.activation, at);
                self.fail(e.activation, at, e.error.as_ref());
            }
            Kind::InstanceCompleted(_) => self.end(at, State::Completed),
            Kind::InstanceFaulted(_) => self.end(at, State::Faulted),
            Kind::InstanceCancelled(_) => self.end(at, State::Cancelled),
            Kind::InstanceRerun(_) => self.ended = false,
            Kind::CompensationStarted(_) => self.leave(at, State::Cancelled),
            // Listening and running others is waiting, and the row of the task is open meanwhile.
            Kind::InstanceStarted(_)
            | Kind::StepJudged(_)
            | Kind::StepRemedied(_)
            | Kind::ApprovalAsked(_)
            | Kind::ApprovalClaimed(_)
            | Kind::ApprovalAnswered(_)
            | Kind::ApprovalOverdue(_)
            | Kind::ApprovalsVoided(_)
            | Kind::ResultFenced(_)
            | Kind::KeyClaimed(_)
            | Kind::KeyAttached(_)
            | Kind::KeyResolved(_)
            | Kind::EventEmitted(_)
            | Kind::EventPublished(_)
            | Kind::ListenStarted(_)
            | Kind::EventTaken(_)
            | Kind::ListenIterated(_)
            | Kind::ListenIterationEnded(_)
            | Kind::ChildStarted(_)
            | Kind::ChildEnded(_)
            | Kind::ChildCancelled(_)
            | Kind::CompensationKept(_)
            | Kind::CompensationFailed(_)
            | Kind::LoopStarted(_)
            | Kind::LoopIterated(_)
            | Kind::ForkStarted(_)
            | Kind::MapStarted(_)
            | Kind::InstanceSuspended(_)
            | Kind::InstanceResumed(_) => {}
        }
    }

    fn finish(mut self, now_ms: i64) -> Timeline {
        let end_ms = if self.ended { self.last_ms } else { now_ms.max(self.last_ms) };
        let open: Vec<u32> =
            self.activations.iter().filter(|(_, a)| a.open).map(|(number, _)| *number).collect();
        for number in open {
            self.close(number, end_ms, State::Open);
        }
        let mut rows = Vec::with_capacity(self.nodes.len());
        self.walk(None, 0, &mut rows);
        Timeline { start_ms: self.start_ms, end_ms, rows }
    }

    /// Children follow their parent, in the order in which they were first reached: branches that ran at the same
    /// time do not get mixed up.
    fn walk(&self, parent: Option<usize>, depth: usize, rows: &mut Vec<Row>) {
        for (place, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.parent == parent)
        {
            rows.push(Row { depth, ..node.row.clone() });
            self.walk(Some(place), depth + 1, rows);
        }
    }

    fn node(&mut self, event: &HistoryEvent, parent: Option<usize>) -> usize {
        if let Some(place) = self.by_pointer.get(&event.pointer) {
            return *place;
        }
        let row = Row {
            name: if event.task.is_empty() { event.pointer.clone() } else { event.task.clone() },
            pointer: event.pointer.clone(),
            function: event.function.clone(),
            depth: 0,
            state: State::Skipped,
            passages: 0,
            attempts: 0,
            segments: Vec::new(),
            failures: Vec::new(),
            error: None,
        };
        self.nodes.push(Node { row, parent });
        self.by_pointer.insert(event.pointer.clone(), self.nodes.len() - 1);
        self.nodes.len() - 1
    }

    fn active(&mut self, number: u32) -> Option<(&mut Activation, &mut Row)> {
        let activation = self.activations.get_mut(&number)?;
        let row = &mut self.nodes.get_mut(activation.node?)?.row;
        Some((activation, row))
    }

    /// An attempt has come to its end: what of its time a worker had, and what was waiting.
    fn settle(&mut self, number: u32, at: i64, report: Option<&StepReport>) {
        let Some((activation, row)) = self.active(number) else { return };
        let Some(scheduled) = activation.scheduled_ms.take() else { return };
        let reported = report.filter(|report| report.started_ms > 0);
        // The worker's clock is its own: what it says is held between what the engine knows.
        let started = reported.map_or(at, |report| report.started_ms.clamp(scheduled, at));
        let finished = reported.map_or(at, |report| report.finished_ms.clamp(started, at));
        row.push(scheduled, started, SegmentKind::Waiting);
        row.push(started, finished, SegmentKind::Working);
        row.push(finished, at, SegmentKind::Waiting);
    }

    fn fail(&mut self, number: u32, at: i64, error: Option<&baton_proto::v1::Error>) {
        if let Some((_, row)) = self.active(number) {
            row.failures.push(at);
            row.error = error.map(shape::problem_text);
        }
    }

    fn start_timer(&mut self, number: u32, at: i64, until: i64) {
        if let Some((activation, _)) = self.active(number) {
            activation.timer = Some((at, until));
        }
    }

    fn stop_timer(&mut self, number: u32, at: i64) {
        if let Some((activation, row)) = self.active(number)
            && let Some((from, _)) = activation.timer.take()
        {
            row.push(from, at, SegmentKind::Timer);
        }
    }

    fn close(&mut self, number: u32, at: i64, state: State) {
        // A task that caught an error waits for nothing any more, whatever its timer said.
        if let Some((activation, row)) = self.active(number)
            && let Some((from, until)) = activation.timer.take()
        {
            row.push(from, until.clamp(from, at.max(from)), SegmentKind::Timer);
        }
        self.settle(number, at, None);
        let Some((activation, row)) = self.active(number) else { return };
        activation.open = false;
        row.push(activation.entered_ms, at, SegmentKind::Open);
        row.state = state;
    }

    fn end(&mut self, at: i64, state: State) {
        self.ended = true;
        // What is still open now was left because the whole ended; only a fault makes its tasks faulted by itself.
        let left = if state == State::Completed { State::Completed } else { State::Cancelled };
        self.leave(at, left);
    }

    /// Closes all that is open.
    fn leave(&mut self, at: i64, state: State) {
        let open: Vec<u32> =
            self.activations.iter().filter(|(_, a)| a.open).map(|(number, _)| *number).collect();
        for number in open {
            self.close(number, at, state);
        }
    }
}

impl Row {
    /// Segments of a task that took no measurable time are kept where they are the only ones.
    fn push(&mut self, from_ms: i64, to_ms: i64, kind: SegmentKind) {
        if to_ms > from_ms || kind == SegmentKind::Open {
            self.segments.push(Segment { from_ms, to_ms, kind });
        }
    }
}
