//! One way into the crate for all stories.

#![allow(dead_code, reason = "each test binary uses its own part")]
#![expect(clippy::panic, reason = "these stand in tests")]
#![expect(clippy::format_collect, reason = "short texts, read by people")]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use baton_core::{
    ActivationId, Error, Evaluator, Instance, InstanceId, Json, Scope, Timestamp, Workflow,
    evaluate::TaskScope,
    event::Started,
    workflow::{Expression, Kind, Task},
};
use baton_dsl::{Compiled, Diagnostic, compile};

/// A document with these tasks; `more` are further keys of the root.
pub(crate) fn document(tasks: &str, more: &str) -> String {
    let indented: String = tasks.lines().map(|line| format!("  {line}\n")).collect();
    format!(
        "document:\n  dsl: '1.0.3'\n  namespace: finance\n  name: story\n  version: '1.0.0'\n{more}\ndo:\n{indented}"
    )
}

#[track_caller]
pub(crate) fn compiled(source: &str) -> Compiled {
    compile(source).unwrap_or_else(|findings| panic!("{}\n{source}", lines(&findings)))
}

pub(crate) fn lines(findings: &[Diagnostic]) -> String {
    findings.iter().map(|finding| format!("{finding} at {}\n", finding.pointer)).collect()
}

pub(crate) fn task<'w>(workflow: &'w Workflow, pointer: &str) -> &'w Task {
    let found = workflow.tasks.iter().find(|task| &*task.pointer == pointer);
    found.unwrap_or_else(|| panic!("no task at {pointer}"))
}

pub(crate) fn instance(workflow: &Workflow, input: &str, context: &str) -> Instance {
    let started = Started {
        workflow: workflow.hash,
        name: workflow.name.clone(),
        input: Json::from_text(input),
        key: Arc::from(""),
        labels: BTreeMap::new(),
        traceparent: Arc::from(""),
        parent: None,
        carried: baton_core::guard::Carried::default(),
        by: "".into(),
    };
    Instance {
        id: InstanceId([7; 16]),
        started: Arc::new(started),
        started_at: Timestamp(1_700_000_000_123),
        updated_at: Timestamp(1_700_000_000_123),
        ended: None,
        suspended: false,
        reason: None,
        context: Json::from_text(context),
        next_activation: ActivationId::ROOT,
        taken: BTreeSet::new(),
        activations: BTreeMap::new(),
        ready: BTreeSet::new(),
        events: 0,
        compensations: Vec::new(),
        compensating: None,
        case: baton_core::guard::Case::default(),
        keys: BTreeMap::new(),
    }
}

/// What a `set` of this value gives for this input, with the variables `$item` and `$index` of a loop around.
pub(crate) fn set(value: &str, input: &str) -> Result<Json, Error> {
    let each =
        format!("- loop:\n    for: {{ in: '.' }}\n    do:\n    - it:\n        set:{value}\n");
    let compiled = compiled(&document(&each, ""));
    evaluate(&compiled, "/do/0/loop/do/0/it", input)
}

pub(crate) fn evaluate(compiled: &Compiled, pointer: &str, input: &str) -> Result<Json, Error> {
    let Kind::Set { value } = task(&compiled.workflow, pointer).kind else { panic!("not a set") };
    value_of(compiled, value, pointer, input)
}

/// What the worker of a step gets.
pub(crate) fn arguments(compiled: &Compiled, pointer: &str, input: &str) -> Result<Json, Error> {
    let Kind::Step { arguments: Some(arguments), .. } = task(&compiled.workflow, pointer).kind
    else {
        panic!("not a step with arguments")
    };
    value_of(compiled, arguments, pointer, input)
}

fn value_of(
    compiled: &Compiled,
    value: Expression,
    pointer: &str,
    input: &str,
) -> Result<Json, Error> {
    let workflow = &compiled.workflow;
    let instance = instance(workflow, "{\"started\":\"with\"}", "{\"seen\":[1,2]}");
    let input = Json::from_text(input);
    let (name, place): (Arc<str>, Arc<str>) = (Arc::from("it"), Arc::from(pointer));
    let raw = Json::from_text("{\"raw\":1.50}");
    let variables = [
        (Arc::from("item"), Json::from_text("{\"n\":7}")),
        (Arc::from("index"), Json::from_text("3")),
    ];
    let task = TaskScope {
        activation: Some(ActivationId(5)),
        name: &name,
        pointer: &place,
        raw_input: &raw,
        raw_output: None,
        started_at: Timestamp(0),
    };
    let scope = Scope {
        workflow,
        instance: &instance,
        value: &input,
        input: Some(&input),
        output: None,
        task: Some(task),
        variables: &variables,
    };
    compiled.program.turn().value(value, &scope)
}
