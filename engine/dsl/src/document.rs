//! The outermost object of a document: its name, its settings, its reusable parts, its tasks.

use std::{collections::BTreeMap, sync::Arc};

use baton_core::{
    Workflow,
    workflow::{Kind, Name, Task, Then},
};

use crate::{
    Compiled,
    builder::{Builder, Members},
    diagnostic::{Place, Severity, Sink},
    extensions::{self, Extension, Stand},
    functions::{self, Catalog, Functions},
    limits,
    program::Program,
    schedule,
    tasks::{Draft, Tasks},
    tree::{self, Member, Node, Value},
};

/// Everything that compiling a document found; a workflow only when nothing is wrong.
pub(crate) struct Outcome {
    pub tree: Option<Node>,
    pub sink: Sink,
    pub compiled: Option<Compiled>,
}

pub(crate) fn compile(source: &str, functions: &Functions, missing: Severity) -> Outcome {
    let mut sink = Sink::default();
    let Some(tree) = tree::parse(source, &mut sink) else {
        return Outcome { tree: None, sink, compiled: None };
    };
    let catalog = Catalog::read(&tree, functions, missing);
    let (sink, compiled) = walk(&tree, source, Builder::new(sink), &catalog, functions);
    Outcome { tree: Some(tree), sink, compiled }
}

/// A function's text: one task, by itself. It compiles to nothing, for only a workflow runs.
pub(crate) fn function(source: &str, functions: &Functions) -> Outcome {
    let mut sink = Sink::default();
    let Some(tree) = tree::parse(source, &mut sink) else {
        return Outcome { tree: None, sink, compiled: None };
    };
    let catalog = Catalog::read(&tree, functions, Severity::Error);
    // Which secrets there are, the workflow says that calls it.
    let builder = Builder { any_secret: true, ..Builder::new(sink) };
    let nothing = Reusable::default();
    let mut tasks = Tasks::new(builder, &nothing, &nothing, &catalog, String::new());
    tasks.in_function = true;
    let outermost = plain(Arc::from("function"), "");
    tasks.drafts.push(Draft { task: outermost, place: tree.place, made: false });
    let stand = Stand { name: "function", node: &tree, place: tree.place, pointer: "" };
    let first = tasks.alone(stand);
    tasks.drafts[0].task.kind = Kind::Do { first: Some(first) };
    tasks.end(&tree);
    Outcome { sink: tasks.builder.sink, tree: Some(tree), compiled: None }
}

struct Document {
    name: Name,
    title: String,
    risk: String,
}

fn walk(
    tree: &Node,
    source: &str,
    mut builder: Builder,
    catalog: &Catalog,
    functions: &Functions,
) -> (Sink, Option<Compiled>) {
    const KNOWN: [&str; 8] =
        ["document", "input", "use", "do", "timeout", "output", "evaluate", "schedule"];
    let Some(root) = root(&mut builder, tree, &KNOWN) else { return (builder.sink, None) };
    let document =
        builder.required(&root, "document").and_then(|node| document(&mut builder, node));
    let namespace =
        document.as_ref().map_or_else(String::new, |document| document.name.namespace.to_string());
    if let Some(evaluate) = root.get("evaluate") {
        evaluation(&mut builder, evaluate);
    }
    let metadata = root.get("document").and_then(|document| document.get("metadata"));
    let name = document.as_ref().map(|document| &document.name);
    let trigger = root
        .get("schedule")
        .and_then(|node| schedule::compile(&mut builder, node, metadata, name, source));
    let reusable = root.get("use").map(|node| reusable(&mut builder, node)).unwrap_or_default();
    let nothing = Reusable::default();
    let mut tasks = Tasks::new(builder, &reusable, &nothing, catalog, namespace);
    tasks.facts_of_document(metadata);

    let root_name =
        document.as_ref().map_or_else(|| Arc::from(""), |document| Arc::clone(&document.name.name));
    let mut outermost = plain(root_name, "");
    if let Some(input) = root.get("input") {
        (outermost.input_schema, outermost.input) = tasks.input(input);
    }
    if let Some(output) = root.get("output") {
        (outermost.output_schema, outermost.output) = tasks.shaped(output, "output");
    }
    outermost.timeout = root.get("timeout").and_then(|node| tasks.timeout(node));
    tasks.drafts.push(Draft { task: outermost, place: tree.place, made: false });
    if let Some(list) = tasks.builder.required(&root, "do") {
        let first = tasks.list(list, "/do", false);
        tasks.drafts[0].task.kind = Kind::Do { first };
    }
    tasks.end(tree);
    let functions = tasks.texts(functions);

    let Tasks { builder: Builder { sink, codes, schemas, matchers, secrets, .. }, drafts, .. } =
        tasks;
    let Some(document) = document.filter(|_| !sink.has_errors()) else { return (sink, None) };
    let mut definition = String::new();
    tree.write_json(&mut definition);
    let workflow = Workflow {
        name: document.name,
        hash: functions::hash(source, &functions),
        tasks: drafts.into_iter().map(|draft| draft.task).collect(),
    };
    let secrets = secrets.into_iter().map(Arc::from).collect();
    let times = Vec::new();
    let program = Program { codes, schemas, matchers, times, definition, secrets, key: None };
    let compiled = Compiled {
        workflow: Arc::new(workflow),
        program,
        title: document.title,
        risk: document.risk,
        functions,
        warnings: Vec::new(),
        trigger,
    };
    (sink, Some(compiled))
}

/// The language leaves the root open; what is not its own must say so, because a misspelt key would be silent.
fn root<'n>(builder: &mut Builder, tree: &'n Node, known: &[&str]) -> Option<Members<'n>> {
    let own = |member: &&Member| member.key.starts_with("x-");
    let extra: Vec<&str> = match &tree.value {
        Value::Object(members) => {
            members.iter().filter(own).map(|member| member.key.as_str()).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Vec::new()
        }
    };
    let known: Vec<&str> = known.iter().copied().chain(extra).collect();
    builder.members(tree, "the document", &known, &[])
}

/// A task of which nothing is known but where it stands.
pub(crate) fn plain(name: Arc<str>, pointer: &str) -> Task {
    Task {
        name,
        pointer: Arc::from(pointer),
        following: None,
        condition: None,
        input_schema: None,
        input: None,
        output: None,
        output_schema: None,
        export: None,
        export_schema: None,
        timeout: None,
        compensation: None,
        then: Then::Continue,
        from_around: false,
        subject: None,
        kind: Kind::Do { first: None },
    }
}

fn document(builder: &mut Builder, node: &Node) -> Option<Document> {
    const KNOWN: [&str; 8] =
        ["dsl", "namespace", "name", "version", "title", "summary", "tags", "metadata"];
    let members = builder.members(node, "`document`", &KNOWN, &[])?;
    let dsl = builder.required(&members, "dsl");
    if let Some(dsl) = dsl
        && let Some(text) = builder.string(dsl, "`dsl`")
        && !semver::Version::parse(text)
            .is_ok_and(|version| (version.major, version.minor) == (1, 0))
    {
        let message = format!("the language's version `{text}` is not supported");
        builder.sink.error_hint("unsupported", dsl.place, message, "write dsl: '1.0.3'");
    }
    let namespace = label(builder, &members, "namespace");
    let name = label(builder, &members, "name");
    let version = builder.required(&members, "version").and_then(|node| version(builder, node));
    for key in ["title", "summary"] {
        if let Some(node) = members.get(key) {
            builder.string(node, key);
        }
    }
    for key in ["tags", "metadata"] {
        if let Some(node) = members.get(key) {
            object(builder, node, key);
        }
    }
    let title = members.get("title").and_then(Node::as_str).unwrap_or_default().to_owned();
    let risk = members.get("metadata").and_then(|metadata| metadata.get("risk"));
    let risk = risk.and_then(|node| builder.string(node, "`risk`")).unwrap_or("unknown").to_owned();
    let name = Name { namespace: namespace?, name: name?, version: version? };
    Some(Document { name, title, risk })
}

pub(crate) fn object(builder: &mut Builder, node: &Node, what: &str) {
    if !matches!(node.value, Value::Object(_)) {
        builder.sink.error(
            "invalid-type",
            node.place,
            format!("`{what}` must be an object, not {}", node.what()),
        );
    }
}

fn version(builder: &mut Builder, node: &Node) -> Option<Arc<str>> {
    if let Value::Number(text) = &node.value {
        let message = format!("the version {text} is a number");
        builder.sink.error_hint(
            "invalid-value",
            node.place,
            message,
            "put it in quotes, with three parts: '1.0.0'",
        );
        return None;
    }
    let text = builder.string(node, "`version`")?;
    match semver::Version::parse(text) {
        Ok(_) => Some(Arc::from(text)),
        Err(error) => {
            let message = format!("`{text}` is not a semantic version: {error}");
            builder.sink.error_hint("invalid-value", node.place, message, "three parts: '1.0.0'");
            None
        }
    }
}

/// A DNS label, because namespaces and names become parts of subjects.
fn label(builder: &mut Builder, members: &Members<'_>, key: &str) -> Option<Arc<str>> {
    let node = builder.required(members, key)?;
    let text = builder.string(node, key)?;
    if is_label(text) {
        return Some(Arc::from(text));
    }
    let message = format!("the {key} `{text}` is not 1 to 63 letters, digits and inner hyphens");
    builder.sink.error("invalid-value", node.place, message);
    None
}

pub(crate) fn is_label(text: &str) -> bool {
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    (1..=63).contains(&text.len()) && plain && !text.starts_with('-') && !text.ends_with('-')
}

fn evaluation(builder: &mut Builder, node: &Node) {
    let Some(members) = builder.members(node, "`evaluate`", &["language", "mode"], &[]) else {
        return;
    };
    if let Some(language) = members.get("language")
        && language.as_str() != Some("jq")
    {
        builder.sink.error_hint(
            "unsupported",
            language.place,
            "this expression language is not supported",
            "use jq",
        );
    }
    match members.get("mode").map(|mode| (mode.as_str(), mode.place)) {
        None | Some((Some("strict"), _)) => {}
        Some((Some("loose"), _)) => builder.loose = true,
        Some((_, place)) => {
            builder.sink.error("invalid-value", place, "the mode must be strict or loose");
        }
    }
}

/// The parts of `use`, by name.
#[derive(Default)]
pub(crate) struct Reusable<'n> {
    pub errors: BTreeMap<&'n str, (&'n Node, Place)>,
    pub retries: BTreeMap<&'n str, (&'n Node, Place)>,
    pub timeouts: BTreeMap<&'n str, (&'n Node, Place)>,
    pub functions: BTreeMap<&'n str, (&'n Node, Place)>,
    pub authentications: BTreeMap<&'n str, (&'n Node, Place)>,
    pub extensions: Vec<Extension<'n>>,
    pub secrets: BTreeMap<&'n str, Place>,
}

fn reusable<'n>(builder: &mut Builder, node: &'n Node) -> Reusable<'n> {
    const KNOWN: [&str; 7] =
        ["errors", "retries", "timeouts", "functions", "authentications", "extensions", "secrets"];
    let known: Vec<&str> = KNOWN.into_iter().chain(["catalogs"]).collect();
    let Some(members) = builder.members(node, "`use`", &known, &[]) else {
        return Reusable::default();
    };
    if let Some(catalogs) = members.member("catalogs") {
        builder.sink.error_hint(
            "unsupported",
            catalogs.place,
            "`catalogs` is not supported: the engine fetches nothing",
            "deploy the functions with `baton functions deploy`, and call NAME:VERSION@default",
        );
    }
    let extensions = members.get("extensions");
    let extensions = extensions.map(|node| extensions::read(builder, node)).unwrap_or_default();
    let secrets = members.get("secrets").map(|node| secrets(builder, node)).unwrap_or_default();
    let mut part = |key: &str| {
        let Some(node) = members.get(key) else { return BTreeMap::new() };
        let Value::Object(named) = &node.value else {
            object(builder, node, key);
            return BTreeMap::new();
        };
        named.iter().map(|member| (member.key.as_str(), (&member.value, member.place))).collect()
    };
    Reusable {
        errors: part("errors"),
        retries: part("retries"),
        timeouts: part("timeouts"),
        functions: part("functions"),
        authentications: part("authentications"),
        extensions,
        secrets,
    }
}

/// `use.secrets`: names, which workers know the values of.
fn secrets<'n>(builder: &mut Builder, node: &'n Node) -> BTreeMap<&'n str, Place> {
    let mut names = BTreeMap::new();
    for item in builder.list(node, "`secrets`") {
        let Some(name) = builder.string(item, "a secret's name") else { continue };
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if !plain || name.is_empty() || name.len() > limits::SECRET_NAME_BYTES_MAX {
            let bound = limits::SECRET_NAME_BYTES_MAX;
            let message = format!("`{name}` is not 1 to {bound} letters, digits, -, _ and .");
            builder.sink.error("invalid-value", item.place, message);
        } else if names.insert(name, item.place).is_some() {
            let message = format!("the secret `{name}` is already there");
            builder.sink.error("duplicate-key", item.place, message);
        }
    }
    if names.len() > limits::SECRETS_MAX {
        let message = format!("the document has more than {} secrets", limits::SECRETS_MAX);
        builder.sink.error("too-large", node.place, message);
    }
    builder.secrets = names.keys().map(|name| (*name).to_owned()).collect();
    names
}
