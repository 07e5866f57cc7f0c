//! What a `schedule` compiles to, and what is found wrong with it.

#![expect(clippy::unwrap_used, reason = "these stand in tests")]

mod common;

use baton_core::{Evaluator, Timestamp, workflow::Schedule};
use baton_dsl::lint;
use common::{compiled, lines};

fn document(schedule: &str, metadata: &str) -> String {
    format!(
        "document: {{ dsl: 1.0.3, namespace: n, name: a, version: 1.0.0, metadata: {{ {metadata} }} }}\nschedule: {schedule}\ndo: [ {{ b: {{ set: {{ c: 1 }} }} }} ]\n"
    )
}

/// Exactly this finding, at this column of the second line.
#[track_caller]
fn finds(schedule: &str, code: &str, column: u32) {
    let findings = lint(&document(schedule, ""));
    let found: Vec<_> =
        findings.iter().map(|finding| (finding.code, finding.line, finding.column)).collect();
    assert_eq!(found, [(code, 2, column)], "{}", lines(&findings));
}

/// The times that follow, in seconds.
fn times(schedule: &str, metadata: &str, started_s: i64, count: usize) -> Vec<i64> {
    let trigger = compiled(&document(schedule, metadata)).trigger.unwrap();
    let started = Timestamp(started_s * 1_000);
    let mut before = None;
    let next = || {
        let now = before.unwrap_or(started);
        before = trigger.program.turn().tick(Schedule(0), before, started, now).unwrap();
        Some(before?.0 / 1_000 - started_s)
    };
    std::iter::repeat_with(next).map_while(|at| at).take(count).collect()
}

#[test]
fn a_schedule_is_a_workflow_of_its_own_with_a_hash_of_its_own() {
    let one = compiled(&document("{ every: PT10S }", ""));
    let trigger = one.trigger.unwrap();
    assert_eq!(
        (&*trigger.workflow.name.name, &*trigger.workflow.name.version),
        ("a.schedule", "1.0.0")
    );
    assert_ne!(trigger.workflow.hash, one.workflow.hash);
    let other = compiled(&document("{ every: PT11S }", "")).trigger.unwrap();
    assert_ne!(trigger.workflow.hash, other.workflow.hash);
    let none = "document: { dsl: 1.0.3, namespace: n, name: a, version: 1.0.0 }\ndo: []\n";
    assert!(compiled(none).trigger.is_none());
}

#[test]
fn times_are_those_that_the_author_says() {
    assert_eq!(times("{ every: PT10S }", "", 5, 3), [10, 20, 30]);
    assert_eq!(times("{ every: { minutes: 1 } }", "", 5, 2), [60, 120]);
    assert_eq!(times("{ cron: '*/15 * * * *' }", "", 0, 3), [900, 1_800, 2_700]);
    assert_eq!(times("{ cron: '*/20 * * * * *' }", "", 0, 3), [20, 40, 60]);
    let berlin = "schedule: { timeZone: Europe/Berlin }";
    // At midnight in Berlin it is 23:00 in UTC, in winter.
    assert_eq!(times("{ cron: '0 0 * * *' }", berlin, 0, 2), [23 * 3_600, 47 * 3_600]);
}

#[test]
fn mistakes_are_found_where_they_stand() {
    finds("{}", "invalid-value", 11);
    finds("{ every: PT1M, cron: '* * * * *' }", "invalid-value", 11);
    finds("{ every: PT0.5S }", "invalid-value", 20);
    finds("{ after: PT0S }", "invalid-value", 20);
    finds("{ every: often }", "invalid-duration", 20);
    finds("{ every: PT1M, read: data }", "invalid-value", 32);
    finds("{ cron: '61 * * * *' }", "invalid-cron", 19);
    finds("{ cron: '0 0 30 2 *' }", "invalid-cron", 19);
    finds(&format!("{{ cron: '{}' }}", "1,".repeat(200)), "too-large", 19);
    finds("{ on: { any: [], until: '${ true }' } }", "unsupported", 17);
    finds("{ on: {} }", "invalid-value", 17);
    finds("{ every: PT1M, daily: true }", "unknown-key", 26);
}

#[test]
fn settings_are_checked() {
    let code = |metadata: &str| lint(&document("{ every: PT1M }", metadata))[0].code;
    assert_eq!(code("schedule: { timeZone: Mars/Base }"), "invalid-value");
    assert_eq!(code("schedule: { overlap: sometimes }"), "invalid-value");
    assert_eq!(code("schedule: { catchUp: soon }"), "invalid-duration");
    assert_eq!(code("schedule: { zone: UTC }"), "unknown-key");
    assert!(
        lint(&document(
            "{ every: PT1M }",
            "schedule: { timeZone: Asia/Tokyo, overlap: skip, catchUp: P1D }"
        ))
        .is_empty()
    );
}
