//! No text, however broken, makes the compiler or the evaluator panic.

mod common;

use std::time::{Duration, Instant};

use baton_dsl::{check_json, compile, lint};
use common::document;
use proptest::prelude::*;

const SEED: &str = "
- a: { call: erp.post, with: { id: '${ .id + 1 }', list: [1, 2.5, ~] }, then: l }
- t:
    try:
    - p: { set: { x: '${ [.lines[] | select(.n > 1)] | map(.n) | add }' }, timeout: { after: PT1S } }
    catch: { errors: { with: { status: 500 } }, as: e, when: $e.status > 1, retry: { delay: PT1S, backoff: { linear: {} } }, do: [] }
- l:
    for: { each: x, in: .lines }
    do:
    - s: { switch: [ { c: { when: '$x.n == 2', then: end } }, { d: { then: continue } } ] }
- f: { fork: { branches: [ { b: { wait: { seconds: 1 } } } ] }, export: { as: '{a: .}', schema: { document: { type: array } } } }
- h: { call: http, with: { method: get, endpoint: { uri: 'https://h/{id}', authentication: { use: p } }, headers: { K: '${ $secrets.k }' } } }
- r: { run: { await: false, shell: { command: x, arguments: [ '${ .a }' ] }, return: all } }
- s: { if: .x, switch: [ { c: { when: .y, then: l } } ] }
";

const USE: &str = "
use:
  secrets: [ k ]
  authentications: { p: { oauth2: { use: k } } }
  extensions:
  - e: { extend: all, when: .z, before: [ { g: { call: n, then: exit } } ], after: [ { m: { set: { a: 1 } } } ] }
";

fn mutated() -> impl Strategy<Value = String> {
    let edit = (
        any::<prop::sample::Index>(),
        0_usize..12,
        prop::sample::select(vec![
            "", " ", "\n", ":", "-", "{", "}", "[", "]", "'", "\"", "${", "|", "&a", "*a", "!!x",
            ",", "#", "\t", "..", "$x", "é", "\u{0}", "? ", "> ", "then", "do: []", "0", "(", ")",
            "\\", "%", "@json", "---", "...",
        ]),
    );
    prop::collection::vec(edit, 1..6).prop_map(|edits| {
        let mut source = document(SEED, USE);
        for (at, cut, text) in edits {
            let floor = |at: usize, s: &str| {
                (0..=at.min(s.len())).rev().find(|at| s.is_char_boundary(*at)).unwrap_or(0)
            };
            let from = floor(at.index(source.len() + 1), &source);
            let to = floor(from + cut, &source).max(from);
            source.replace_range(from..to, text);
        }
        source
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, max_shrink_time: 30_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mutated_documents_give_findings_and_no_panic(source in mutated()) {
        let findings = lint(&source);
        prop_assert!(findings.iter().all(|finding| finding.code != "internal"), "{source}");
        prop_assert_eq!(compile(&source).is_ok(), findings.iter().all(|f| f.severity == baton_dsl::Severity::Warning));
        prop_assert!(findings.is_sorted_by_key(|finding| (finding.line, finding.column)));
    }

    #[test]
    fn any_text_is_only_text(source in "\\PC{0,200}") {
        prop_assert!(lint(&source).iter().all(|finding| finding.code != "internal"));
    }

    #[test]
    fn what_serde_reads_check_json_reads(text in "[\\[\\]{}\",:0-9eE.+\\-truefalsn\\\\ u]{0,24}") {
        let serde = serde_json::from_str::<serde_json::Value>(&text).is_ok();
        prop_assert_eq!(check_json(&text).is_ok(), serde, "{}", text);
    }

    #[test]
    fn expressions_on_any_input_end(jq in expression(), input in json()) {
        let quoted = jq.replace('\'', "''");
        let source = document(&format!("- it:\n    set: {{ v: '${{ {quoted} }}' }}"), "");
        let began = Instant::now();
        match compile(&source) {
            Err(findings) => {
                let codes = ["expression-unsupported", "unknown-function"];
                let refused = findings.iter().all(|finding| codes.contains(&finding.code));
                prop_assert!(refused, "{}: {}", jq, common::lines(&findings));
            }
            Ok(compiled) => {
                if let Ok(given) = common::evaluate(&compiled, "/do/0/it", &input) {
                    prop_assert!(check_json(&given).is_ok(), "{}: {:?}", jq, given);
                }
            }
        }
        prop_assert!(began.elapsed() < PATIENCE, "{} on {} took {:?}", jq, input, began.elapsed());
    }
}

/// An expression has some 25 ms of the processor's time; the rest is for a machine that others use, too.
const PATIENCE: Duration = Duration::from_secs(5);

const LEAVES: [&str; 29] = [
    ".",
    ".a",
    ".b[0]",
    ".[]?",
    ".[1:]?",
    "..",
    "$input",
    "$context.seen",
    "null",
    "true",
    "0",
    "-1",
    "3.5",
    "1e400",
    "nan",
    "infinite",
    "99999999999999999999",
    "\"a\"",
    "\"é\\u0000\"",
    "\"(a+)+$\"",
    "[]",
    "{}",
    "empty",
    "error",
    "range(3)",
    "halt",
    "now",
    "$__loc__",
    "input",
];

/// Filters of `library.rs` and some that it refuses, by number of arguments.
const PLAIN: &str = "\
    not tostring first last to_entries all any isnan abs type values numbers scalars min max \
    unique keys todate fromdate @sh @text @html @uri @urid @base64 @base64d @json tonumber \
    toboolean transpose paths add from_entries flatten fromjson tojson length utf8bytelength \
    implode explode ascii_downcase reverse sort trim gmtime mktime floor exp10 frexp ilogb \
    tgamma trunc significand logb";
const UNARY: &str = "\
    select map map_values walk del nth with_entries isempty all any min_by unique_by group_by \
    sort_by test scan match capture split splits in inside index getpath range join flatten has \
    bsearch startswith ltrimstr strftime strptime error contains first limit recurse";
const BINARY: &str = "\
    range sub gsub test split limit all any nth pow ldexp atan2 scalb fmod nosuch";
const OPERATORS: &str = "\
    | , + - * / % == != < <= and or // = |= += *= //=";

/// Of all that the language has and some that it refuses, well formed, whatever it means.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(LEAVES.to_vec());
    let of =
        |words: &'static str| prop::sample::select(words.split_whitespace().collect::<Vec<_>>());
    let (plain, unary, binary, operator) = (of(PLAIN), of(UNARY), of(BINARY), of(OPERATORS));
    leaf.prop_map(str::to_owned).prop_recursive(5, 24, 3, move |inner| {
        let one = inner.clone();
        let two = (inner.clone(), inner.clone());
        prop_oneof![
            4 => (two.clone(), operator.clone()).prop_map(|((a, b), operator)| format!("({a} {operator} {b})")),
            3 => (one.clone(), plain.clone()).prop_map(|(a, name)| format!("({a} | {name})")),
            3 => (two.clone(), unary.clone()).prop_map(|((a, b), name)| format!("({a} | {name}({b}))")),
            1 => (two.clone(), one.clone(), binary.clone())
                .prop_map(|((a, b), c, name)| format!("({a} | {name}({b}; {c}))")),
            1 => (two.clone(), one.clone()).prop_map(|((a, b), c)| format!("if {a} then {b} else {c} end")),
            1 => two.clone().prop_map(|(a, b)| format!("(try {a} catch {b})")),
            1 => two.clone().prop_map(|(a, b)| format!("({a} as $x | [$x, {b}])")),
            1 => two.clone().prop_map(|(a, b)| format!("({a} as [$x, {{y: $y}}] | {b} | [$x, $y])")),
            1 => one.clone().prop_map(|a| format!("[{a}]")),
            1 => two.clone().prop_map(|(a, b)| format!("{{a: {a}, (\"b\", \"c\"): {b}}}")),
            1 => two.prop_map(|(a, b)| format!("\"x\\({a})\\({b})\"")),
            1 => one.prop_map(|a| format!("({a})?")),
        ]
    })
}

fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        any::<i64>().prop_map(|n| n.to_string()),
        Just("1e400".to_owned()),
        Just("-0.0".to_owned()),
        Just("12345678901234567890123".to_owned()),
        "[a-c]{0,4}".prop_map(|s| format!("\"{s}\"")),
        Just("\"\\u00e9\\ud83d\\ude00\"".to_owned()),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|items| format!("[{}]", items.join(", "))),
            prop::collection::vec(("[a-c]", inner), 0..4).prop_map(|items| {
                let members: Vec<_> =
                    items.iter().map(|(key, value)| format!("\"{key}\": {value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}
