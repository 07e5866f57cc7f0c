//! What expressions give, and what they are refused.

mod common;

use baton_dsl::{Program, lint};
use common::{document, lines, set};

const INPUT: &str = r#" { "amount" : 1200.50 , "supplier" : "Müller \"&\" Co" , "lines" : [ {"n":1,"ok":true}, {"n":2,"ok":false} ], "big": 123456789012345678901234567890, "e": 1e2, "nothing": null } "#;

/// `${ … }` on this input gives this text.
#[track_caller]
fn check(jq: &str, expected: &str) {
    let quoted = jq.replace('\'', "''");
    let given = set(&format!(" {{ v: '${{ {quoted} }}' }}"), INPUT).map(|json| json.to_string());
    assert_eq!(given.as_deref(), Ok(format!("{{\"v\":{expected}}}").as_str()), "{jq}");
}

/// `${ … }` compiles, and fails when it is evaluated.
#[track_caller]
fn fails(jq: &str, words: &str) {
    let quoted = jq.replace('\'', "''");
    let error = set(&format!(" {{ v: '${{ {quoted} }}' }}"), INPUT).expect_err(jq);
    assert_eq!(
        (error.status, &*error.kind),
        (400, &*format!("{}expression", baton_core::error::TYPES))
    );
    let detail = error.detail.unwrap_or_default();
    assert!(detail.contains(words), "{jq}: {detail}");
    assert!(detail.len() < 400, "{jq}: {detail}");
}

/// `${ … }` does not compile.
#[track_caller]
fn refused(jq: &str, code: &str) {
    let quoted = jq.replace('\'', "''");
    let findings = lint(&document(&format!("- it:\n    set: {{ v: '${{ {quoted} }}' }}\n"), ""));
    assert!(findings.iter().any(|finding| finding.code == code), "{jq}: {}", lines(&findings));
    assert!(findings.iter().all(|finding| finding.line == 9), "{}", lines(&findings));
}

#[test]
fn paths_and_numbers_keep_their_text() {
    check(".amount", "1200.50");
    check(".big", "123456789012345678901234567890");
    check(".e", "1e2");
    check("[.amount, .e]", "[1200.50,1e2]");
    check(".supplier", r#""Müller \"&\" Co""#);
    check(".lines[1].n", "2");
    check(".lines", r#"[{"n":1,"ok":true},{"n":2,"ok":false}]"#);
    check(".missing", "null");
    check(".missing.deeper", "null");
    check(r#"."supplier""#, r#""Müller \"&\" Co""#);
    check(".big + 1", "123456789012345678901234567891");
}

#[test]
fn the_language_is_there() {
    check(".amount > 1000 and (.lines | length) == 2", "true");
    check("10 / 4", "2.5");
    check("10 / 2", "5");
    check("7 % 4", "3");
    check("-(3 - 5) * 2", "4");
    check(".lines | map(.n) | add", "3");
    check("[.lines[] | select(.ok) | .n]", "[1]");
    check(".lines | map(select(.ok | not)) | first", r#"{"n":2,"ok":false}"#);
    check(".nothing // \"none\"", "\"none\"");
    check(
        "if .amount > 1000 then \"big\" elif .amount > 10 then \"some\" else \"small\" end",
        "\"big\"",
    );
    check("\"\\(.amount) EUR\"", "\"1200.50 EUR\"");
    check(
        "{amount, \"who\": .supplier | length, (\"k\" + \"1\"): 1, n: .lines[0].n}",
        r#"{"amount":1200.50,"who":13,"k1":1,"n":1}"#,
    );
    check(".lines[0] | to_entries | from_entries", r#"{"n":1,"ok":true}"#);
    check(".lines[0] | with_entries(.value |= tostring)", r#"{"n":"1","ok":"true"}"#);
    check(".lines | map(.n * 2) | [min, max, add]", "[2,4,6]");
    check(".lines | sort_by(-.n) | map(.n)", "[2,1]");
    check(".lines | group_by(.ok) | map(length)", "[1,1]");
    check("[.lines[].n] | index(2)", "1");
    check("\"a,b,c\" | split(\",\") | join(\"-\")", "\"a-b-c\"");
    check("\"a1b22\" | [scan(\"[0-9]+\")]", r#"["1","22"]"#);
    check("\"a1b22\" | test(\"b[0-9]\")", "true");
    check("\"a1b22\" | gsub(\"[0-9]\"; \"#\")", "\"a#b##\"");
    check("\"x=1\" | capture(\"(?<k>[a-z])=(?<v>[0-9])\")", r#"{"k":"x","v":"1"}"#);
    check("\"Hello\" | ascii_downcase | ltrimstr(\"he\")", "\"llo\"");
    check("\"12\" | tonumber + 1", "13");
    check("[1,[2,[3]]] | flatten", "[1,2,3]");
    check("[1,[2,[3]]] | flatten(1)", "[1,2,[3]]");
    check("[3,1,2,1] | unique", "[1,2,3]");
    check("[range(3)]", "[0,1,2]");
    check("[limit(2; .lines[].n)]", "[1,2]");
    check("first(.lines[].n)", "1");
    check("[.lines[].n as $n | $n + 1]", "[2,3]");
    check(".lines[0] as {n: $a, $ok} | [$a, $ok]", "[1,true]");
    check("(.lines[0].n, .lines[1].n) |= . + 1 | .lines | map(.n)", "[2,3]");
    check(".lines[0].n += 41 | .lines[0].n", "42");
    check(".nothing //= 5 | .nothing", "5");
    check(".lines[0] | del(.ok)", r#"{"n":1}"#);
    check(".lines[0] | .extra = {a: 1}", r#"{"n":1,"ok":true,"extra":{"a":1}}"#);
    check(".lines[0] * {n: {deep: 1}}", r#"{"n":{"deep":1},"ok":true}"#);
    check("try error(\"no\") catch .", "\"no\"");
    check("[.lines[] | .n?] | any(. > 1)", "true");
    check("[.lines[] | .n] | all(. > 1)", "false");
    check(".lines | any(.ok)", "true");
    check("[paths] | length", "12");
    check("getpath([\"lines\", 0, \"n\"])", "1");
    check("[..] | length", "13");
    check("\"abc\" | contains(\"b\")", "true");
    check("\"abc\" | .[1:]", "\"bc\"");
    check("[1,2,3] | .[-1]", "3");
    check("[1,2,3] | transpose?", "null");
    check("[[1,2],[3]] | transpose", "[[1,3],[2,null]]");
    check("0 | todate", "\"1970-01-01T00:00:00Z\"");
    check("\"2024-01-01T00:00:00Z\" | fromdate", "1704067200");
    check("\"a b\" | @uri", "\"a%20b\"");
    check("\"ab\" | @base64 | @base64d", "\"ab\"");
    check("@json \"x=\\([1,\"a\"])\"", "\"x=[1,\\\"a\\\"]\"");
    check("\"{\\\"a\\\":1}\" | fromjson.a", "1");
    check("[.lines[] | {n} | tojson] | join(\"\")", r#""{\"n\":1}{\"n\":2}""#);
    check("\"ab\" | explode | implode", "\"ab\"");
    check("\"ab\" * 3", "\"ababab\"");
    check("[.amount | floor, round, ceil]", "[1200,1201,1201]");
    check("9 | sqrt", "3");
    check("{} | isempty(.[])", "true");
    check(".lines | min_by(.n) | .n", "1");
    check("[.lines[] | objects | keys[]] | unique", r#"["n","ok"]"#);
    check("[1,null,2] | map(values)", "[1,2]");
    check("[add(.lines[].n)]", "[3]");
    check(".lines | walk(if type == \"number\" then . + 1 else . end) | map(.n)", "[2,3]");
    check("empty", "null");
}

#[test]
fn variables_are_there() {
    check("$item.n", "7");
    check("$item.n + $index", "10");
    check("$input.amount", "1200.50");
    check("$context.seen[1]", "2");
    check("$context", r#"{"seen":[1,2]}"#);
    check("$output", "null");
    check("$workflow.id", "\"07070707-0707-0707-0707-070707070707\"");
    check("$workflow.input.started", "\"with\"");
    check("$workflow.startedAt.epoch.milliseconds", "1700000000123");
    check("$workflow.startedAt.iso8601", "\"2023-11-14T22:13:20.123Z\"");
    check("$workflow.definition.document.name", "\"story\"");
    check("[$workflow | keys[]]", r#"["definition","id","input","startedAt"]"#);
    check("$task.name", "\"it\"");
    check("$task.reference", "\"/do/0/loop/do/0/it\"");
    check("$task.definition | keys", r#"["set"]"#);
    check("$task.input.raw", "1.50");
    check("$runtime.name", "\"baton\"");
    check("[$item, $item][1].n", "7");
}

#[test]
fn what_only_puts_paths_together_gives_what_jq_gives() {
    let given = |jq: &str| {
        let quoted = jq.replace('\'', "''");
        let given = set(&format!(" {{ v: '${{ {quoted} }}' }}"), INPUT);
        given.map(|json| json.to_string()).map_err(|error| error.kind.to_string())
    };
    for jq in [
        ".amount + 1",
        "-.amount",
        ".amount * .lines[0].n",
        ".supplier + \": \" + .supplier",
        "\"\\(.supplier) owes \\(.amount), \\($item.n)\\t\\u00e9\"",
        "\"\\(.lines) \\(.nothing) \\(.missing.deeper)\"",
        ".amount > $item.n",
        ".lines == .lines",
        ".missing == null",
        "{ all: ., a: .amount, i: $input.supplier, \"b c\": 1, d: { e: .lines, f: \"\\(.e)\" } }",
        "{ a: 1, a: 2 }",
        "{ a: .amount } + { b: .e, a: .big }",
        "$context + { seen: .lines }",
        "{ a: (.amount + .amount), n: null, t: true, s: \"\", m: -1, o: {} }",
        "{ a: $workflow.id, t: $task.name, r: $runtime.name }",
        // Errors are errors.
        ".supplier + 1",
        ".amount.x + 1",
        "{ a: .amount.x }",
        "\"\\(.supplier.x)\"",
        "{ a: (1 / 0) }",
    ] {
        assert_eq!(given(jq), given(&format!("{jq} | .")), "{jq}");
    }
}

#[test]
fn failures_are_errors_of_the_workflow() {
    fails(".amount.x", "cannot index number");
    fails("(.amount | tostring) + 1", "cannot calculate");
    fails(".lines[]", "more than one value");
    fails("1 / 0", "not finite");
    fails("nan", "not finite");
    fails("error(\"stop\")", "stop");
    fails("{(.amount): 1}", "not a string");
    fails("\"[[[\" | fromjson", "wanted");
    fails("error([range(1000)] | tojson)", "0,1,2");
}

#[test]
fn what_takes_too_much_is_stopped() {
    fails("\"x\" * 1000000000", "too much work");
    fails("\"x\" * 100000000000000000000000000", "too much work");
    fails("[range(1000000000)] | length", "too much work");
    fails("[limit(1000000000; range(infinite))]", "too much work");
    let doubled = "[.,.] | ".repeat(40);
    fails(&format!("{doubled} length"), "too much work");
    let added = ". + . | ".repeat(40);
    fails(&format!("\"x\" | {added} length"), "too much work");
    fails(&format!("[1] | {added} length"), "too much work");
    let products = "(.,.) | ".repeat(60);
    fails(&format!("[{products} .]"), "too much work");
    fails(&format!("[{products} empty]"), "too much work");
    let nested = "{a: ., b: .} | ".repeat(50);
    fails(&format!("{nested} ."), "too much work");
    fails("[range(3000)] as $a | [$a[] | $a[]] | length", "too much work");
    fails("[range(100000) | []] as $a | [$a[] | $a[][]] | length", "too much work");
    fails("[range(3000)] as $a | $a | map($a == $a) | length", "too much work");
    fails("[range(3000)] as $a | [range(3000) | []] | .[] += $a | length", "too much work");
    fails("[range(100000)] as $a | [$a] | inside([$a])", "too much work");
    fails("(\"a\" * 100000) as $a | $a | index(($a[1:] + \"b\"))", "too much work");
    fails("(\"a\" * 10000) | test(\"(a{100}){100}{100}b\")", "too much work");
    fails("try ([range(1000000000)]) catch 1", "too much work");
    fails("([range(1000000000)]?) // 1", "too much work");
    let digits = "9".repeat(300);
    let squared = ". * . | ".repeat(30);
    fails(&format!("{digits} | {squared} ."), "too much work");
    fails("\"x\" * 2000000", "over 1048576 bytes");
    fails("[range(3000)] | map(\"y\" * 5000) | join(\"\")", "");
    let deep = "[ . ] | ".repeat(100);
    fails(&format!("{deep} {deep}."), "");
}

#[test]
fn what_may_not_end_or_looks_outside_is_refused() {
    for jq in [
        "def f: f; f",
        "recurse(.a)",
        "repeat(1)",
        "while(true; .)",
        "until(false; .)",
        "reduce .[] as $x (0; . + $x)",
        "foreach .[] as $x (0; . + $x)",
        "label $f | break $f",
        "input",
        "[inputs]",
        "env",
        "$ENV",
        "halt",
        "now",
        "localtime",
        "strflocaltime(\"x\")",
        "debug",
        "stderr",
        "setpath([\"a\"]; 1)",
        "delpaths([[\"a\"]])",
        "tobytes",
        "halt_error",
        "(.. | .a) = 1",
        "getpath([\"a\"]) = 1",
        "map(.a) |= 1",
        "$__loc__",
        "$secrets",
        "((.,.)|(.,.)|(.,.)|(.,.)|(.,.)|(.,.)|(.,.)) |= 1",
    ] {
        refused(jq, "expression-unsupported");
    }
    refused("import \"a\" as a; .", "expression-syntax");
    refused(&"[".repeat(7_000), "expression-syntax");
    refused(&format!("{}1{}", "[".repeat(7_000), "]".repeat(7_000)), "expression-unsupported");
    refused(&"-".repeat(16_000), "expression-syntax");
    refused(&format!("{}1", "-".repeat(16_000)), "expression-unsupported");
    refused(&format!("{}1", "try ".repeat(4_000)), "expression-unsupported");
    refused(&format!("{}1", ". as $a | ".repeat(1_600)), "expression-unsupported");
    refused(&format!("{}1", ".|".repeat(8_000)), "expression-unsupported");
    refused(&format!("{}1", "1+".repeat(8_000)), "expression-unsupported");
    refused(&format!("1{}", " | {".repeat(4_000)), "expression-syntax");
    refused(&format!("{} 1", "if 1 then ".repeat(1_500)), "expression-syntax");
    refused(&format!("{}1", "\"\\(".repeat(4_000)), "expression-syntax");
    refused(&" ".repeat(20_000).replace("  ", ".|"), "expression-unsupported");
    refused("%charge", "expression-syntax");
    refused("baton_main", "unknown-function");
}

#[test]
fn what_does_not_exist_is_named() {
    refused("$itm", "unknown-variable");
    refused("nosuch(1)", "unknown-function");
    refused("length(1; 2)", "unknown-function");
    refused(". +", "expression-syntax");
    refused("'", "expression-syntax");
    refused("a::b", "unknown-function");
}

#[test]
fn the_deepest_allowed_expression_runs_on_a_small_stack() {
    let chain = |part: &str, end: &str, times: usize| format!("{}{end}", part.repeat(times));
    for jq in [
        chain("1 + ", "1", 250),
        chain(". | ", ".", 250),
        chain("[.] | ", "length", 120),
        chain("[", "1", 60) + &"]".repeat(60),
        chain("if . then ", ".", 120) + &" end".repeat(120),
        chain("try ", "1", 120),
        chain(". as $x | ", "$x", 120),
        format!("{{{}}}", (0..250).map(|i| format!("k{i}: .amount")).collect::<Vec<_>>().join(",")),
    ] {
        let small = std::thread::Builder::new().stack_size(2 * 1024 * 1024);
        let source = jq.clone();
        let run = small
            .spawn(move || set(&format!(" {{ v: '${{ {source} }}' }}"), INPUT).map(|_| ()))
            .unwrap();
        assert_eq!(run.join().unwrap(), Ok(()), "{jq}");
    }
}

#[test]
fn templates_keep_what_is_not_an_expression() {
    let given = set(
        "\n          text: plain\n          part: 'a ${ .b }'\n          n: 007\n          hex: 0x1F\n          f: 1.50\n          list: [1, '${ .lines[0].n }', {deep: '${ .missing }'}]\n          none: ~\n          multi: |\n            ${\n              .lines\n              | length\n            }\n          whole: '${ . | .nothing }'",
        INPUT,
    );
    assert_eq!(
        given.unwrap().as_str(),
        r#"{"text":"plain","part":"a ${ .b }","n":7,"hex":31,"f":1.50,"list":[1,1,{"deep":null}],"none":null,"multi":2,"whole":null}"#
    );
    assert_eq!(set(" '${ .lines[0] }'", INPUT).unwrap().as_str(), r#"{"n":1,"ok":true}"#);
    assert_eq!(set(" '${ . }'", "{\"a\":1}").unwrap().as_str(), "{\"a\":1}");
    // Data that looks like an expression stays data.
    assert_eq!(
        set(" { v: '${ .x }' }", r#"{"x":"${ .y }"}"#).unwrap().as_str(),
        r#"{"v":"${ .y }"}"#
    );
}

#[test]
fn loose_mode_tries_every_string() {
    let source = document(
        "- it:\n    set: { a: .x, b: hello world, c: length, d: '.x.y' }\n",
        "evaluate: { mode: loose }",
    );
    let given = common::evaluate(&common::compiled(&source), "/do/0/it", "{\"x\":1}").unwrap();
    assert_eq!(given.as_str(), r#"{"a":1,"b":"hello world","c":1,"d":".x.y"}"#);
}

#[test]
fn a_program_may_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Program>();
}

#[test]
fn a_value_that_was_wrapped_again_and_again_is_not_looked_at() {
    // No door lets it in, but a loop can make it: the output of each pass, put into an object or an array.
    let deep = |levels: usize| "{\"a\":".repeat(levels) + "1" + &"}".repeat(levels);
    let look = " { n: '${ length }' }";
    assert_eq!(&*set(look, &deep(128)).unwrap(), "{\"n\":1}");
    for levels in [129, 50_000] {
        let error = set(look, &deep(levels)).unwrap_err();
        assert!(error.detail.unwrap().contains("nested more than 128 deep"));
    }
}

#[test]
fn a_template_makes_no_value_that_is_nested_too_deep() {
    let deep = |levels: usize| "[".repeat(levels) + "\"]}\\\"\"" + &"]".repeat(levels);
    let wrap = " { a: '${ . }' }";
    assert!(set(wrap, &deep(127)).is_ok());
    let error = set(wrap, &deep(128)).unwrap_err();
    assert!(error.detail.unwrap().contains("nested more than 128 deep"));
}
