//! Whatever an expression does, it ends within the processor's time that one may take: nothing else of its partition is
//! decided meanwhile.

#![expect(clippy::panic, reason = "it stands in a test")]

mod common;

use std::time::Duration;

use baton_core::{Evaluator, Json, Scope, workflow::Kind};
use common::{compiled, document, instance, task};
use rustix::time::{ClockId, clock_gettime};

/// 24 ms for the expression, some for the result, and this for a slow machine and a build without the optimiser.
const ENOUGH: Duration = Duration::from_millis(150);

/// What an expression gives on an input of so many records, or its error's words, and what it took of the thread's time.
fn timed(jq: &str, records: usize) -> (Result<Json, String>, Duration) {
    let quoted = jq.replace('\'', "''");
    let compiled =
        compiled(&document(&format!("- it:\n    set: {{ v: '${{ {quoted} }}' }}\n"), ""));
    let Kind::Set { value } = task(&compiled.workflow, "/do/0/it").kind else {
        panic!("not a set")
    };
    let instance = instance(&compiled.workflow, "{}", "{}");
    let records = (0..records).map(|n| format!("{{\"n\":{n},\"s\":\"x{n}\"}}"));
    let input = Json::from_text(format!("[{}]", records.collect::<Vec<_>>().join(",")));
    let scope = Scope {
        workflow: &compiled.workflow,
        instance: &instance,
        value: &input,
        input: Some(&input),
        output: None,
        task: None,
        variables: &[],
    };
    let turn = compiled.program.turn();
    let now = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).expect("it began at 0");
    let began = now();
    let given = turn.value(value, &scope);
    let took = now().saturating_sub(began);
    (given.map_err(|error| error.detail.unwrap_or_default().to_string()), took)
}

fn chain(part: &str, times: usize, end: &str) -> String {
    format!("{}{end}", part.repeat(times))
}

#[test]
fn no_expression_takes_longer_than_one_may() {
    let text = "(\"a\" * 500000) as $t | [range(1000) | $t ";
    let hostile = [
        // Much work between two payments.
        format!("[range(1000000000) | {}] | length", chain(".|", 60, ".")),
        format!("[range(1000000000) | null | .{}] | length", chain("a.", 100, "a")),
        format!("[{} empty]", chain("(.,.) | ", 60, "")),
        format!("({}) |= .", chain(".[],", 55, ".[]")),
        format!("({}) |= .", chain(".[].n,", 55, ".[].n")),
        "del(.[] | select(.n > 5)) | length".into(),
        // Steps.
        "[range(1000000000)] | length".into(),
        "try ([range(1000000000)]) catch 1".into(),
        "[range(2000) as $x | range(2000) as $y | $x * $y] | length".into(),
        "[range(1000000) | @base64] | length".into(),
        "[range(300000) | todate] | length".into(),
        "[range(100000) | try error(.) catch .] | length".into(),
        "walk(if type == \"number\" then . + 1 else . end) | length".into(),
        "[.[] | .s | gsub(\"[0-9]\"; \"#\")] | length".into(),
        "[.[] | \"\\(.n) and \\(.s)\"] | length".into(),
        "map(.n += 1) | length".into(),
        // Growth.
        chain("{a: ., b: .} | ", 50, "."),
        chain("[.,.] | ", 40, "length"),
        "[range(3000)] as $a | [range(3000) | []] | .[] += $a | length".into(),
        // Long texts.
        format!("{text} | explode] | length"),
        format!("{text} | split(\"a\")] | length"),
        format!("{text} | @uri] | length"),
        format!("{text} | [., \"b\"] | sort] | length"),
        "[range(200) | (\"a\" * 1000) | test(\"(a|b|ab)*c\")] | length".into(),
    ];
    for jq in &hostile {
        // The first time pays for fresh memory, too.
        let took = (0..2).map(|_| timed(jq, 30_000).1).min().unwrap();
        assert!(took <= ENOUGH, "{took:?}: {jq}");
    }
}

#[test]
fn what_processes_need_is_within_it() {
    for jq in [
        "map(.n) | add",
        "map(select(.n > 100)) | length",
        "[.[] | {number: .n, text: .s}] | length",
        "sort_by(-.n) | first",
        "group_by(.s) | length",
        "map(.n += 1) | length",
        "del(.[].s) | length",
        "[.[] | \"\\(.n): \\(.s)\"] | join(\", \") | length",
        "map(select(.s | test(\"^x1\"))) | length",
        "walk(if type == \"number\" then . + 1 else . end) | length",
    ] {
        let (given, took) = timed(jq, 400);
        assert!(given.is_ok(), "{given:?} after {took:?}: {jq}");
    }
}
