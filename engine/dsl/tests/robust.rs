//! No text, however broken, makes the compiler or the evaluator panic.

mod common;

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
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

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
    fn expressions_on_any_input_end(
        jq in prop::sample::select(vec![
            "[.. | numbers] | sort", "[paths]", "tojson | fromjson", "map(.)?", "to_entries?", "[.[]?] | add?",
            "[.. | strings | test(\"a+\")]", "walk(if type == \"number\" then . * . else . end)", ". == .", "[., .] | unique",
            "(.. | numbers)? // 1 | tostring", "[.[]? | (. + .)?, (. * 3)?, (. / 2)?, (. - 1)?, (. % 7)?]", "keys?", "length?",
            "[.. | (.[0:2])?]", "[.. | (.a = 1)?]", "[.. | (.[1] |= empty)?]", "flatten?", "[.. | (index(\"a\"))?]",
        ]),
        input in json(),
    ) {
        let quoted = jq.replace('\'', "''");
        if let Ok(given) = common::set(&format!(" {{ v: '${{ {quoted} }}' }}"), &input) {
            prop_assert!(check_json(&given).is_ok(), "{:?}", given);
        }
    }
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
