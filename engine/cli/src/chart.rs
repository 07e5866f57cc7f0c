//! Draws a timeline in the terminal.

use crate::{
    output::{Paint, Tone, fit},
    timeline::{Row, SegmentKind, State, Timeline},
    times,
};

const NAME_COLUMNS_MAX: usize = 36;
const FUNCTION_COLUMNS_MAX: usize = 32;
const BAR_COLUMNS_MIN: usize = 12;
const BAR_COLUMNS_MAX: usize = 120;
/// `tries`, `waited` and `worked`, with the spaces before them.
const FIGURE_COLUMNS: usize = 7 + 9 + 9;
/// Narrower than this, the functions' names make room for the bars.
const WIDTH_WITH_FUNCTIONS: usize = 96;

/// What one column of a bar shows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    Nothing,
    /// A task that took no time to speak of.
    Moment,
    Segment(SegmentKind),
    Failure,
}

/// One line for each task, then one for each error.
pub(crate) fn draw(timeline: &Timeline, width: usize, paint: Paint) -> Vec<String> {
    let longest = |columns: fn(&Row) -> usize| timeline.rows.iter().map(columns).max().unwrap_or(0);
    let name =
        longest(|row| title(row).chars().count()).clamp(4, NAME_COLUMNS_MAX.min(width / 3).max(4));
    let function = if width < WIDTH_WITH_FUNCTIONS {
        0
    } else {
        longest(|row| row.function.chars().count()).min(FUNCTION_COLUMNS_MAX)
    };
    let taken = 2 + name + 2 + FIGURE_COLUMNS + if function > 0 { function + 2 } else { 0 };
    let bar = width.saturating_sub(taken).clamp(BAR_COLUMNS_MIN, BAR_COLUMNS_MAX);

    let mut lines = vec![paint.apply(Tone::Dim, &header(timeline, name, bar))];
    for row in &timeline.rows {
        lines.push(line(timeline, row, name, bar, function, paint));
    }
    lines.push(legend(timeline, paint));
    for row in &timeline.rows {
        if let Some(error) = &row.error {
            let tone = if row.state == State::Faulted { Tone::Bad } else { Tone::Warn };
            lines.push(paint.apply(tone, &format!("✗ {}: {error}", row.name)));
        }
    }
    lines
}

fn header(timeline: &Timeline, name: usize, bar: usize) -> String {
    let end = times::span(timeline.end_ms - timeline.start_ms);
    let axis = format!("0{end:>width$}", width = bar.saturating_sub(1));
    format!("  {:<name$}  {axis}  tries   waited   worked", "task")
}

fn line(
    timeline: &Timeline,
    row: &Row,
    name: usize,
    bar: usize,
    function: usize,
    paint: Paint,
) -> String {
    let (sign, tone) = match row.state {
        State::Open => ("▸", Tone::Busy),
        State::Completed => ("✓", Tone::Good),
        State::Faulted => ("✗", Tone::Bad),
        State::Cancelled => ("⊘", Tone::Warn),
        State::Skipped => ("·", Tone::Dim),
    };
    let title = format!("{:<name$}", fit(&title(row), name));
    let title =
        paint.apply(if row.state == State::Skipped { Tone::Dim } else { Tone::Plain }, &title);
    let bar = bars(&marks(timeline, row, bar), paint);
    let tries = if row.attempts > 0 { row.attempts.to_string() } else { String::new() };
    let waited = figure(row.spent(SegmentKind::Waiting) + row.spent(SegmentKind::Timer), row);
    let worked =
        if row.attempts > 0 { figure(row.spent(SegmentKind::Working), row) } else { String::new() };
    let mut line =
        format!("{} {title}  {bar}  {tries:>5}  {waited:>7}  {worked:>7}", paint.apply(tone, sign));
    if function > 0 {
        line.push_str("  ");
        line.push_str(&paint.apply(Tone::Dim, &fit(&row.function, function)));
    }
    line.trim_end().to_owned()
}

/// Indented by depth, and how often it was passed when that was more than once.
fn title(row: &Row) -> String {
    let times = if row.passages > 1 { format!(" ×{}", row.passages) } else { String::new() };
    format!("{}{}{times}", "  ".repeat(row.depth), row.name)
}

/// Nothing for a task that neither waits nor works.
fn figure(ms: i64, row: &Row) -> String {
    if ms == 0 && row.attempts == 0 { String::new() } else { times::span(ms) }
}

fn marks(timeline: &Timeline, row: &Row, columns: usize) -> Vec<Mark> {
    let mut marks = vec![Mark::Nothing; columns];
    let mut segments = row.segments.clone();
    segments.sort_by_key(|segment| segment.kind);
    for segment in segments {
        let from = column(timeline, segment.from_ms, columns);
        // A segment ends before the column of its last moment, unless it has no other.
        let to = column(timeline, segment.to_ms.saturating_sub(1), columns).max(from);
        let is_moment = segment.kind == SegmentKind::Open && segment.from_ms == segment.to_ms;
        let mark = if is_moment { Mark::Moment } else { Mark::Segment(segment.kind) };
        for place in &mut marks[from..=to] {
            if !is_moment || *place == Mark::Nothing {
                *place = mark;
            }
        }
    }
    for failure in &row.failures {
        marks[column(timeline, failure.saturating_sub(1), columns)] = Mark::Failure;
    }
    marks
}

fn column(timeline: &Timeline, at_ms: i64, columns: usize) -> usize {
    let whole = i128::from((timeline.end_ms - timeline.start_ms).max(1));
    let part = i128::from((at_ms - timeline.start_ms).max(0));
    let last = columns.saturating_sub(1);
    usize::try_from(part * columns as i128 / whole).unwrap_or(last).min(last)
}

/// One escape for each run of equal marks, so that a line stays short.
fn bars(marks: &[Mark], paint: Paint) -> String {
    marks
        .chunk_by(PartialEq::eq)
        .map(|run| {
            let (glyph, tone) = look(run[0]);
            paint.apply(tone, &glyph.to_string().repeat(run.len()))
        })
        .collect()
}

fn look(mark: Mark) -> (char, Tone) {
    match mark {
        Mark::Nothing => (' ', Tone::Plain),
        Mark::Moment => ('│', Tone::Dim),
        Mark::Failure => ('✗', Tone::Bad),
        Mark::Segment(SegmentKind::Open) => ('─', Tone::Dim),
        Mark::Segment(SegmentKind::Timer) => ('┄', Tone::Warn),
        Mark::Segment(SegmentKind::Waiting) => ('░', Tone::Warn),
        Mark::Segment(SegmentKind::Working) => ('█', Tone::Good),
    }
}

/// Only what is to be seen above.
fn legend(timeline: &Timeline, paint: Paint) -> String {
    let seen = |kind| {
        timeline.rows.iter().any(|row| row.segments.iter().any(|segment| segment.kind == kind))
    };
    let mut parts = Vec::new();
    let kinds = [
        (SegmentKind::Working, "working"),
        (SegmentKind::Waiting, "queued"),
        (SegmentKind::Timer, "timer"),
    ];
    for (kind, words) in kinds {
        if seen(kind) {
            let (glyph, tone) = look(Mark::Segment(kind));
            parts.push(format!("{} {words}", paint.apply(tone, &glyph.to_string())));
        }
    }
    if timeline.rows.iter().any(|row| !row.failures.is_empty()) {
        parts.push(format!("{} failed", paint.apply(Tone::Bad, "✗")));
    }
    format!("  {}", parts.join("   ")).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use baton_proto::v1::{
        Error, Event, HistoryEvent, InstanceCompleted, InstanceStarted, StepCompleted, StepFailed,
        StepReport, StepScheduled, TaskCompleted, TaskEntered, TaskSkipped, TimerFired,
        TimerStarted, event::Kind,
    };
    use prost_types::Timestamp;

    use super::*;

    const PLAIN: Paint = Paint { color: false };

    /// An event of a task at so many milliseconds.
    fn at(ms: i64, task: &str, kind: Kind) -> HistoryEvent {
        let nanos = i32::try_from(ms % 1_000 * 1_000_000).unwrap();
        HistoryEvent {
            at: Some(Timestamp { seconds: ms / 1_000, nanos }),
            task: task.into(),
            pointer: format!("/do/{task}"),
            function: if task == "charge" { "finance.charge".into() } else { String::new() },
            event: Some(Event { kind: Some(kind) }),
            ..HistoryEvent::default()
        }
    }

    fn entered(activation: u32, parent: u32) -> Kind {
        Kind::TaskEntered(TaskEntered {
            activation,
            parent,
            task: activation,
            ..TaskEntered::default()
        })
    }

    fn completed(activation: u32) -> Kind {
        Kind::TaskCompleted(TaskCompleted { activation, ..TaskCompleted::default() })
    }

    fn scheduled(activation: u32, attempt: u32) -> Kind {
        Kind::StepScheduled(StepScheduled { activation, attempt, ..StepScheduled::default() })
    }

    fn report(started_ms: i64, finished_ms: i64) -> StepReport {
        StepReport { started_ms, finished_ms, ..StepReport::default() }
    }

    /// A charge that fails once, then a pause, and a mail that is left out.
    fn story() -> Vec<HistoryEvent> {
        let error = Error {
            r#type: "e/timeout".into(),
            status: 504,
            detail: Some("bank".into()),
            ..Error::default()
        };
        vec![
            at(0, "", Kind::InstanceStarted(InstanceStarted::default())),
            at(0, "", entered(0, 0)),
            at(0, "prepare", entered(1, 0)),
            at(0, "prepare", completed(1)),
            at(0, "payment", entered(2, 0)),
            at(0, "charge", entered(3, 2)),
            at(0, "charge", scheduled(3, 1)),
            at(
                400,
                "charge",
                Kind::StepFailed(StepFailed {
                    activation: 3,
                    attempt: 1,
                    error: Some(error),
                    retry_at_ms: 600,
                    report: Some(report(200, 400)),
                }),
            ),
            at(600, "charge", scheduled(3, 2)),
            at(
                1_200,
                "charge",
                Kind::StepCompleted(StepCompleted {
                    activation: 3,
                    attempt: 2,
                    output: None,
                    report: Some(report(700, 1_200)),
                }),
            ),
            at(1_200, "charge", completed(3)),
            at(1_200, "payment", completed(2)),
            at(1_200, "pause", entered(4, 0)),
            at(
                1_200,
                "pause",
                Kind::TimerStarted(TimerStarted { activation: 4, fire_at_ms: 2_000 }),
            ),
            at(2_000, "pause", Kind::TimerFired(TimerFired { activation: 4, output: None })),
            at(2_000, "pause", completed(4)),
            at(2_000, "mail", Kind::TaskSkipped(TaskSkipped { parent: 0, task: 5, next: None })),
            at(2_000, "", Kind::InstanceCompleted(InstanceCompleted::default())),
        ]
    }

    #[test]
    fn tasks_are_bars_against_time() {
        let drawn = draw(&Timeline::new(&story(), 9_999), 80, PLAIN);
        let expected = [
            "  task      0                                      2.0s  tries   waited   worked",
            "✓ prepare   │",
            "✓ payment   ──────────────────────────",
            "✓   charge  ░░░░████✗┄┄┄░░░███████████                       2    500ms    700ms",
            "✓ pause                              ┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄           800ms",
            "· mail",
            "  █ working   ░ queued   ┄ timer   ✗ failed",
            "✗ charge: timeout 504: bank",
        ];
        assert_eq!(drawn, expected, "\n{}", drawn.join("\n"));
    }

    #[test]
    fn a_wide_terminal_has_longer_bars_and_names_the_functions() {
        let drawn = draw(&Timeline::new(&story(), 9_999), 120, PLAIN);
        assert!(drawn[3].ends_with("2    500ms    700ms  finance.charge"), "{}", drawn[3]);
        assert!(drawn.iter().all(|line| line.chars().count() <= 120), "\n{}", drawn.join("\n"));
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_unless_that_is_tiny() {
        for width in [60, 80, 95, 96, 132, 300] {
            let drawn = draw(&Timeline::new(&story(), 9_999), width, PLAIN);
            assert!(
                drawn.iter().all(|line| line.chars().count() <= width),
                "{width}\n{}",
                drawn.join("\n")
            );
        }
    }

    #[test]
    fn an_open_instance_is_drawn_up_to_now() {
        let so_far: Vec<_> = story().into_iter().take(9).collect();
        let drawn = draw(&Timeline::new(&so_far, 1_000), 80, PLAIN);
        let expected = [
            "  task      0                                      1.0s  tries   waited   worked",
            "✓ prepare   │",
            "▸ payment   ───────────────────────────────────────────",
            "▸   charge  ░░░░░░░░█████████✗┄┄┄┄┄┄┄░░░░░░░░░░░░░░░░░░      2    800ms    200ms",
        ];
        assert_eq!(drawn[..4], expected, "\n{}", drawn.join("\n"));
    }

    #[test]
    fn passages_of_a_loop_share_a_line() {
        let mut history = vec![at(1_000, "", entered(0, 0)), at(1_000, "each", entered(1, 0))];
        for (activation, ms) in [(2, 1_000), (3, 1_500)] {
            history.push(at(ms, "pay", entered(activation, 1)));
            history.push(at(ms, "pay", scheduled(activation, 1)));
            history.push(at(ms + 100, "pay", {
                Kind::StepCompleted(StepCompleted {
                    activation,
                    attempt: 1,
                    output: None,
                    report: Some(report(ms, ms + 100)),
                })
            }));
            history.push(at(ms + 100, "pay", completed(activation)));
        }
        let drawn = draw(&Timeline::new(&history, 2_000), 80, PLAIN);
        assert_eq!(
            drawn[2],
            "✓   pay ×2  █████                █████                       2      0ms    200ms",
            "\n{}",
            drawn.join("\n")
        );
    }

    #[test]
    fn branches_are_not_mixed_up() {
        let history = [
            at(0, "both", entered(1, 0)),
            at(0, "left", entered(2, 1)),
            at(0, "right", entered(3, 1)),
            at(0, "left/a", entered(4, 2)),
            at(0, "right/b", entered(5, 3)),
            at(5, "left/c", entered(6, 2)),
        ];
        let timeline = Timeline::new(&history, 10);
        let names: Vec<_> =
            timeline.rows.iter().map(|row| (row.depth, row.name.as_str())).collect();
        assert_eq!(
            names,
            [(0, "both"), (1, "left"), (2, "left/a"), (2, "left/c"), (1, "right"), (2, "right/b")]
        );
    }

    #[test]
    fn a_workers_clock_that_is_wrong_does_not_leave_the_attempt() {
        let history = [
            at(1_000, "charge", entered(1, 0)),
            at(1_000, "charge", scheduled(1, 1)),
            at(2_000, "charge", {
                Kind::StepCompleted(StepCompleted {
                    activation: 1,
                    attempt: 1,
                    output: None,
                    report: Some(report(500_000, 600_000)),
                })
            }),
        ];
        let timeline = Timeline::new(&history, 2_000);
        assert_eq!(timeline.rows[0].spent(SegmentKind::Working), 0);
        assert_eq!(timeline.rows[0].spent(SegmentKind::Waiting), 1_000);
    }

    #[test]
    fn an_empty_history_is_an_empty_chart() {
        assert_eq!(draw(&Timeline::new(&[], 5), 80, PLAIN).len(), 2);
    }
}
