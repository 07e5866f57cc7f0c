//! The language's own calls and processes: which shapes are taken, and what the worker gets.

#![expect(clippy::unwrap_used, reason = "these stand in tests")]

mod common;

use baton_core::workflow::Kind;
use baton_dsl::lint;
use common::{arguments, compiled, document, lines, task};

/// One task has exactly this finding; its first line is 1.
#[track_caller]
fn refused(task: &str, code: &str, line: u32, column: u32) {
    let source = document(&format!("- a: {task}"), "");
    let findings = lint(&source);
    let found: Vec<_> = findings.iter().map(|f| (f.code, f.line, f.column)).collect();
    assert_eq!(found, [(code, line + 7, column + 2)], "{}\n{source}", lines(&findings));
}

/// What the worker of the one task gets.
#[track_caller]
fn given(task: &str, input: &str) -> String {
    let compiled = compiled(&document(&format!("- a: {task}"), ""));
    arguments(&compiled, "/do/0/a", input).unwrap().as_str().to_owned()
}

/// The detail of the error that the arguments raise.
#[track_caller]
fn fails(task: &str, input: &str) -> String {
    let compiled = compiled(&document(&format!("- a: {task}"), ""));
    let error = arguments(&compiled, "/do/0/a", input).unwrap_err();
    assert!(error.kind.ends_with("/expression") && error.status == 400, "{error:?}");
    error.detail.unwrap().to_string()
}

#[test]
fn each_call_is_a_step_of_the_departments_own_function() {
    for (name, task_text) in [
        ("http", "{ call: http, with: { method: get, endpoint: 'https://h' } }"),
        (
            "openapi",
            "{ call: openapi, with: { document: { endpoint: 'https://h' }, operationId: o } }",
        ),
        (
            "grpc",
            "{ call: grpc, with: { proto: { endpoint: 'file://x' }, service: { name: s, host: h }, method: m } }",
        ),
        (
            "asyncapi",
            "{ call: asyncapi, with: { document: { endpoint: 'https://h' }, operation: o, message: {} } }",
        ),
        ("a2a", "{ call: a2a, with: { server: 'https://h', method: tasks/list } }"),
        (
            "mcp",
            "{ call: mcp, with: { method: tools/list, transport: { stdio: { command: c } } } }",
        ),
        ("shell", "{ run: { shell: { command: ls } } }"),
        ("script", "{ run: { script: { language: js, code: x } } }"),
        ("container", "{ run: { container: { image: i } } }"),
    ] {
        let compiled = compiled(&document(&format!("- a: {task_text}"), ""));
        let Kind::Step { function, attempts_max: 3, secrets, awaits: true, .. } =
            &task(&compiled.workflow, "/do/0/a").kind
        else {
            panic!("{name}")
        };
        assert_eq!((&*function.department, &*function.name), ("finance", name));
        assert!(secrets.is_empty());
    }
}

#[test]
fn http_gets_an_endpoint_object_and_evaluated_parts() {
    let all = "{ call: http, with: { method: post, endpoint: 'https://h/{id}?x={x}', headers: { A: '${ .id }' }, \
               query: { n: 1, on: true, s: '${ .s }' }, body: { whole: '${ . }' }, output: response, redirect: true } }";
    assert_eq!(
        given(all, r#"{"id": "a b", "s": ["t"]}"#),
        r#"{"method":"post","endpoint":{"uri":"https://h/a%20b?x="},"headers":{"A":"a b"},"query":{"n":1,"on":true,"s":["t"]},"body":{"whole":{"id":"a b","s":["t"]}},"output":"response","redirect":true}"#
    );
    let expressions = "{ call: http, with: { method: '${ .m }', endpoint: { uri: '${ .u }' }, headers: '${ .h }', query: '${ .h }', body: text } }";
    assert_eq!(
        given(expressions, r#"{"m": "put", "u": "https://h", "h": {"a": "b"}}"#),
        r#"{"method":"put","endpoint":{"uri":"https://h"},"headers":{"a":"b"},"query":{"a":"b"},"body":"text"}"#
    );
    assert_eq!(
        given("{ call: http, with: { method: get, endpoint: /relative } }", "{}"),
        r#"{"method":"get","endpoint":{"uri":"/relative"}}"#
    );
}

#[test]
fn a_uri_that_cannot_be_made_is_an_expression_error() {
    let template = "{ call: http, with: { method: get, endpoint: 'https://h/{id}' } }";
    assert!(fails(template, r#"{"id": []}"#).contains("{id}"));
    let expression = "{ call: http, with: { method: get, endpoint: '${ .u }' } }";
    assert_eq!(fails(expression, r#"{"u": 5}"#), "a URI was wanted, and a number came");
}

#[test]
fn http_is_checked_strictly() {
    refused("{ call: http }", "missing-key", 1, 6);
    refused("{ call: http, with: { method: get } }", "missing-key", 1, 26);
    refused("{ call: http, with: text }", "invalid-type", 1, 26);
    refused(
        "{ call: http, with: { method: get, endpoint: 'https://h', verb: x } }",
        "unknown-key",
        1,
        64,
    );
    refused("{ call: http, with: { method: 5, endpoint: 'https://h' } }", "invalid-type", 1, 36);
    refused("{ call: http, with: { method: get, endpoint: 5 } }", "invalid-type", 1, 51);
    refused(
        "{ call: http, with: { method: get, endpoint: { uri: x, url: y } } }",
        "unknown-key",
        1,
        61,
    );
    refused(
        "{ call: http, with: { method: get, endpoint: 'https://h/{' } }",
        "invalid-value",
        1,
        51,
    );
    refused("{ call: http, with: { method: get, endpoint: 'a b' } }", "invalid-value", 1, 51);
    refused(
        "{ call: http, with: { method: get, endpoint: x, headers: { A: 5 } } }",
        "invalid-type",
        1,
        68,
    );
    refused(
        "{ call: http, with: { method: get, endpoint: x, headers: text } }",
        "invalid-type",
        1,
        63,
    );
    refused(
        "{ call: http, with: { method: get, endpoint: x, query: { a: [] } } }",
        "invalid-type",
        1,
        66,
    );
    refused(
        "{ call: http, with: { method: get, endpoint: x, output: json } }",
        "invalid-value",
        1,
        62,
    );
    refused(
        "{ call: http, with: { method: get, endpoint: x, redirect: 'yes' } }",
        "invalid-type",
        1,
        64,
    );
    refused(
        "{ call: http, with: { method: get, endpoint: x, body: '${ .a + }' } }",
        "expression-syntax",
        1,
        60,
    );
    refused("{ call: http, with: { method: get, endpoint: x }, run: {} }", "unknown-key", 1, 56);
}

#[test]
fn openapi_and_grpc_get_their_documents_as_endpoints() {
    assert_eq!(
        given(
            "{ call: openapi, with: { document: { name: d, endpoint: 'https://h/{v}' }, operationId: o, parameters: { a: '${ .v }' } } }",
            r#"{"v": 2}"#
        ),
        r#"{"document":{"name":"d","endpoint":{"uri":"https://h/2"}},"operationId":"o","parameters":{"a":2}}"#
    );
    assert_eq!(
        given(
            "{ call: grpc, with: { proto: { endpoint: 'file://p' }, service: { name: s, host: h.example, port: 0 }, method: m, arguments: { a: [ '${ .v }' ] } } }",
            r#"{"v": 2}"#
        ),
        r#"{"proto":{"endpoint":{"uri":"file://p"}},"service":{"name":"s","host":"h.example","port":0},"method":"m","arguments":{"a":[2]}}"#
    );
    refused(
        "{ call: openapi, with: { document: 'https://h', operationId: o } }",
        "invalid-type",
        1,
        41,
    );
    refused("{ call: openapi, with: { document: { endpoint: x } } }", "missing-key", 1, 29);
    let grpc = |service: &str| {
        format!(
            "{{ call: grpc, with: {{ proto: {{ endpoint: x }}, method: m, service: {service} }} }}"
        )
    };
    refused(&grpc("{ name: s, host: '-h' }"), "invalid-value", 1, 89);
    refused(&grpc("{ name: s, host: h, port: 65536 }"), "invalid-value", 1, 98);
    refused(&grpc("{ name: s }"), "missing-key", 1, 72);
}

#[test]
fn asyncapi_hands_the_worker_what_it_evaluates_message_by_message() {
    let subscribe = "{ call: asyncapi, with: { document: { endpoint: x }, channel: /c, protocol: nats, subscription: \
                     { filter: '${ .payload.id == $context.seen[0] }', consume: { until: '${ length > 3 }', for: { minutes: 1 } } } } }";
    assert_eq!(
        given(subscribe, "{}"),
        r#"{"document":{"endpoint":{"uri":"x"}},"channel":"/c","protocol":"nats","subscription":{"filter":{"jq":".payload.id == $context.seen[0]","variables":{"context":{"seen":[1,2]}}},"consume":{"until":{"jq":"length > 3","variables":{}},"for":"PT60S"}}}"#
    );
    let about = "{ call: asyncapi, with: { document: { endpoint: x }, operation: o, subscription: \
                 { filter: '.a == $workflow.input.started or .b == $task.name', consume: { amount: 1 } } } }";
    let about = given(about, "{}");
    assert!(about.contains(r#""variables":{"task":{"name":"it""#), "{about}");
    assert!(about.contains(r#""input":{"started":"with"}"#) && !about.contains("definition"));
    let with = |more: &str| {
        format!("{{ call: asyncapi, with: {{ document: {{ endpoint: x }}, {more} }} }}")
    };
    refused(&with("operation: o"), "missing-key", 1, 30);
    refused(&with("message: {}"), "missing-key", 1, 30);
    refused(&with("operation: o, channel: c, message: {}"), "invalid-value", 1, 73);
    refused(
        &with("operation: o, message: {}, subscription: { consume: { amount: 1 } }"),
        "invalid-value",
        1,
        86,
    );
    refused(&with("operation: o, message: { payload: 5 }"), "invalid-type", 1, 93);
    refused(&with("operation: o, protocol: smtp, message: {}"), "invalid-value", 1, 83);
    refused(&with("operation: o, subscription: { consume: {} }"), "missing-key", 1, 98);
    refused(
        &with("operation: o, subscription: { consume: { amount: 1, while: .x } }"),
        "invalid-value",
        1,
        111,
    );
    refused(
        &with("operation: o, subscription: { consume: { amount: 1, for: PT } }"),
        "invalid-duration",
        1,
        116,
    );
    refused(
        &with("operation: o, subscription: { filter: .x +, consume: { amount: 1 } }"),
        "expression-syntax",
        1,
        97,
    );
    refused(
        &with("operation: o, subscription: { consume: { amount: 1 }, foreach: { do: [] } }"),
        "unsupported",
        1,
        122,
    );
}

#[test]
fn agents_and_tools_are_called_with_parameters_or_an_expression() {
    assert_eq!(
        given(
            "{ call: a2a, with: { agentCard: { endpoint: x }, method: message/send, parameters: { message: { parts: [ { text: '${ .t }' } ] } } } }",
            r#"{"t": "hi"}"#
        ),
        r#"{"agentCard":{"endpoint":{"uri":"x"}},"method":"message/send","parameters":{"message":{"parts":[{"text":"hi"}]}}}"#
    );
    assert_eq!(
        given(
            "{ call: mcp, with: { method: tools/call, parameters: '${ .p }', timeout: '${ .after }', transport: { http: { endpoint: 'x/{v}', headers: { A: b } }, options: { o: '1' } }, client: { name: c, version: '1' } } }",
            r#"{"p": {"name": "n"}, "after": {"seconds": 2}, "v": 7}"#
        ),
        r#"{"method":"tools/call","parameters":{"name":"n"},"timeout":"PT2S","transport":{"http":{"endpoint":{"uri":"x/7"},"headers":{"A":"b"}},"options":{"o":"1"}},"client":{"name":"c","version":"1"}}"#
    );
    refused("{ call: a2a, with: { method: tasks/get } }", "missing-key", 1, 25);
    refused("{ call: a2a, with: { server: x, method: tasks/none } }", "invalid-value", 1, 46);
    refused(
        "{ call: a2a, with: { server: x, method: tasks/get, parameters: {} } }",
        "invalid-value",
        1,
        69,
    );
    refused(
        "{ call: a2a, with: { server: x, method: tasks/get, parameters: text } }",
        "invalid-type",
        1,
        69,
    );
    let mcp = |transport: &str| {
        format!("{{ call: mcp, with: {{ method: tools/list, transport: {transport} }} }}")
    };
    refused(&mcp("{}"), "missing-key", 1, 58);
    refused(&mcp("{ http: { endpoint: x }, stdio: { command: c } }"), "invalid-value", 1, 83);
    refused(&mcp("{ stdio: { command: c, environment: { A: 5 } } }"), "invalid-type", 1, 99);
    refused(
        "{ call: mcp, with: { method: tools/list, transport: { stdio: { command: c } }, extra: 1 } }",
        "unknown-key",
        1,
        85,
    );
}

#[test]
fn processes_get_their_settings_beside_their_own_part() {
    assert_eq!(
        given(
            "{ run: { shell: { command: 'cat $1', stdin: '${ . }', arguments: [ '${ .f }' ], environment: { N: 5, S: s } }, return: all } }",
            r#"{"f": "x"}"#
        ),
        r#"{"command":"cat $1","stdin":{"f": "x"},"arguments":["x"],"environment":{"N":5,"S":"s"},"return":"all"}"#.replace(": ", ":")
    );
    assert_eq!(
        given(
            "{ run: { await: false, script: { language: python, source: { endpoint: 'x/{v}' } }, return: none } }",
            r#"{"v": 1}"#
        ),
        r#"{"language":"python","source":{"endpoint":{"uri":"x/1"}},"await":false,"return":"none"}"#
    );
    assert_eq!(
        given(
            "{ run: { container: { image: i, lifetime: { cleanup: eventually, after: { minutes: 30 } }, ports: { '80': 8080 }, pullPolicy: never } } }",
            "{}"
        ),
        r#"{"image":"i","lifetime":{"cleanup":"eventually","after":"PT1800S"},"ports":{"80":8080},"pullPolicy":"never"}"#
    );
    let compiled = compiled(&document("- a: { run: { shell: { command: x }, await: false } }", ""));
    let kind = &task(&compiled.workflow, "/do/0/a").kind;
    assert!(matches!(kind, Kind::Step { awaits: false, .. }));
}

#[test]
fn processes_are_checked_strictly() {
    refused("{ run: {} }", "missing-key", 1, 13);
    refused(
        "{ run: { shell: { command: x }, script: { language: js, code: x } } }",
        "invalid-value",
        1,
        38,
    );
    refused("{ run: { shell: {} } }", "missing-key", 1, 22);
    refused("{ run: { shell: { command: x, cwd: / } } }", "unknown-key", 1, 36);
    refused("{ run: { shell: { command: x, arguments: [ 5 ] } } }", "invalid-type", 1, 49);
    refused("{ run: { shell: { command: x, arguments: text } } }", "invalid-type", 1, 47);
    refused("{ run: { shell: { command: x, environment: { A: {} } } } }", "invalid-type", 1, 54);
    refused("{ run: { shell: { command: x }, await: 'no' } }", "invalid-type", 1, 45);
    refused("{ run: { shell: { command: x }, return: exit } }", "invalid-value", 1, 46);
    refused("{ run: { shell: { command: x } }, await: false }", "unknown-key", 1, 40);
    refused("{ run: { script: { language: ruby, code: x } } }", "invalid-value", 1, 35);
    refused("{ run: { script: { language: js } } }", "missing-key", 1, 23);
    refused(
        "{ run: { script: { language: js, code: x, source: { endpoint: x } } } }",
        "invalid-value",
        1,
        48,
    );
    refused(
        "{ run: { container: { image: i, lifetime: { cleanup: eventually } } } }",
        "missing-key",
        1,
        48,
    );
    refused(
        "{ run: { container: { image: i, lifetime: { cleanup: always, after: PT1S } } } }",
        "invalid-value",
        1,
        74,
    );
    refused("{ run: { container: { image: i, pullPolicy: sometimes } } }", "invalid-value", 1, 50);
}

#[test]
fn loose_mode_tries_endpoints_as_expressions_and_takes_them_as_templates_otherwise() {
    let source = document(
        "- a: { call: http, with: { method: get, endpoint: .url } }\n- b: { call: http, with: { method: get, endpoint: 'https://h/{id}' } }",
        "evaluate: { mode: loose }",
    );
    let compiled = compiled(&source);
    let at = |pointer, input| arguments(&compiled, pointer, input).unwrap().as_str().to_owned();
    assert_eq!(
        at("/do/0/a", r#"{"url": "https://x"}"#),
        r#"{"method":"get","endpoint":{"uri":"https://x"}}"#
    );
    assert_eq!(at("/do/0/a", "{}"), r#"{"method":"get","endpoint":{"uri":".url"}}"#);
    assert_eq!(
        at("/do/1/b", r#"{"id": 3}"#),
        r#"{"method":"get","endpoint":{"uri":"https://h/3"}}"#
    );
}

#[test]
fn a_function_of_the_document_may_be_any_task() {
    let source = document(
        "- a: { call: pet, with: { id: 69 } }\n- b: { call: list }",
        "use: { functions: { pet: { call: http, with: { method: get, endpoint: 'https://h/{id}' } }, list: { run: { shell: { command: ls } } } } }",
    );
    let compiled = compiled(&source);
    assert_eq!(
        arguments(&compiled, "/use/functions/pet", r#"{"id":69}"#).unwrap().as_str(),
        r#"{"method":"get","endpoint":{"uri":"https://h/69"}}"#
    );
    let Kind::Function { body, .. } = task(&compiled.workflow, "/do/1/b").kind else { panic!() };
    let body = compiled.workflow.task(body).unwrap();
    assert!(matches!(&body.kind, Kind::Step { function, .. } if &*function.name == "shell"));
}
