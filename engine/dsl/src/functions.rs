//! Functions of the engine's catalog: their names, who mentions them, and their bodies in a workflow.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
    sync::Arc,
};

use baton_core::{
    TaskId,
    workflow::{Expression, Hash, Kind},
};
use sha2::{Digest, Sha256};

use crate::{
    diagnostic::{Place, Severity, Sink, Within},
    document::is_label,
    extensions::Stand,
    limits,
    tasks::{Tasks, index},
    tree::{self, Node, Value},
};

/// The one catalog that there is: the engine's own.
const CATALOG: &str = "default";

/// `name:version`; what is called with it is called `name:version@default`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FunctionName {
    name: Arc<str>,
    version: Arc<str>,
}

/// Texts of functions.
pub type Functions = BTreeMap<FunctionName, String>;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "wanted NAME:VERSION, a label of letters, digits and inner hyphens, and a version of three parts: log:1.0.0"
)]
pub struct BadName;

impl FunctionName {
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A semantic version.
    pub fn version(&self) -> &str {
        &self.version
    }
}

impl FromStr for FunctionName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let (name, version) = text.split_once(':').ok_or(BadName)?;
        let is_version = version.len() <= limits::FUNCTION_VERSION_BYTES_MAX
            && semver::Version::parse(version).is_ok();
        if !is_label(name) || !is_version {
            return Err(BadName);
        }
        Ok(Self { name: Arc::from(name), version: Arc::from(version) })
    }
}

impl fmt::Display for FunctionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.version)
    }
}

/// The functions that a text, of a workflow or of a function, may call: whoever has them gathers them with those that
/// they mention, and compiles with what was found. Data that looks like a call is mentioned, too.
pub fn mentions(source: &str) -> BTreeSet<FunctionName> {
    let mut found = BTreeSet::new();
    if let Some(tree) = tree::parse(source, &mut Sink::default()) {
        mentioned(&tree, &mut found);
    }
    found
}

fn mentioned(node: &Node, found: &mut BTreeSet<FunctionName>) {
    match &node.value {
        Value::Object(members) => {
            for member in members {
                if member.key == "call"
                    && let Some(Reference::Default(name)) =
                        member.value.as_str().and_then(reference)
                    && let Ok(name) = name.parse()
                {
                    found.insert(name);
                }
                mentioned(&member.value, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| mentioned(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// What a `call` with an `@` or a URL means.
pub(crate) enum Reference<'t> {
    Url,
    /// A name and a version, perhaps.
    Default(&'t str),
    Other(&'t str),
}

/// `None`: a function of a department, or of the document itself.
pub(crate) fn reference(call: &str) -> Option<Reference<'_>> {
    if call.contains("://") {
        return Some(Reference::Url);
    }
    let (name, catalog) = call.rsplit_once('@')?;
    Some(if catalog == CATALOG { Reference::Default(name) } else { Reference::Other(catalog) })
}

/// The functions that a document may call, read.
pub(crate) struct Catalog {
    /// What is wrong with those that cannot be read.
    known: BTreeMap<FunctionName, Result<Node, String>>,
    /// There were more than there may be.
    is_full: bool,
    /// How bad it is when a function is not there.
    missing: Severity,
}

impl Catalog {
    /// Reads what the document mentions, and what that mentions.
    pub(crate) fn read(tree: &Node, functions: &Functions, missing: Severity) -> Self {
        let mut catalog = Self { known: BTreeMap::new(), is_full: false, missing };
        let mut open = BTreeSet::new();
        mentioned(tree, &mut open);
        let mut bytes = 0;
        while let Some(name) = open.pop_first() {
            let Some(text) = functions.get(&name) else { continue };
            if catalog.known.contains_key(&name) {
                continue;
            }
            bytes += text.len();
            if catalog.known.len() >= limits::FUNCTIONS_MAX || bytes > limits::FUNCTIONS_BYTES_MAX {
                catalog.is_full = true;
                break;
            }
            let node = one(text);
            if let Ok(node) = &node {
                let mut more = BTreeSet::new();
                mentioned(node, &mut more);
                open.extend(more.into_iter().filter(|name| !catalog.known.contains_key(name)));
            }
            catalog.known.insert(name, node);
        }
        catalog
    }
}

fn one(text: &str) -> Result<Node, String> {
    let mut sink = Sink::default();
    match tree::parse(text, &mut sink) {
        Some(node) if sink.found.is_empty() => Ok(node),
        _ => Err(sink.found.first().map_or_else(String::new, |(place, found)| {
            format!("at {}:{}: {}", place.line, place.column, found.message)
        })),
    }
}

/// A call of a function of the catalog, whose body gets its number last.
pub(crate) struct Called<'n> {
    task: TaskId,
    name: &'n FunctionName,
    /// In the document, of the call that leads here.
    place: Place,
}

/// What the bodies of the catalog's functions came to.
#[derive(Default)]
pub(crate) struct Bodies<'n> {
    first: BTreeMap<&'n FunctionName, TaskId>,
    /// By caller.
    calls: BTreeMap<&'n FunctionName, BTreeSet<&'n FunctionName>>,
}

impl<'n> Bodies<'n> {
    /// The functions that anything calls.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'n FunctionName> {
        self.first.keys().copied()
    }
}

impl<'n> Tasks<'n> {
    /// A call of a function that is neither a department's nor the document's own.
    pub(crate) fn call_reference(
        &mut self,
        id: TaskId,
        node: &'n Node,
        reference: &Reference<'_>,
        arguments: Option<Expression>,
    ) -> Option<Kind> {
        const HINT: &str = "deploy it with `baton functions deploy`, and call NAME:VERSION@default";
        let sink = &mut self.builder.sink;
        let name = match reference {
            Reference::Url => {
                let message = "functions by URL are not supported: the engine fetches nothing";
                sink.error_hint("unsupported", node.place, message, HINT);
                return None;
            }
            Reference::Other(catalog) => {
                let message = format!(
                    "the catalog `{catalog}` is not supported: there is only the engine's own, `{CATALOG}`"
                );
                sink.error_hint("unsupported", node.place, message, HINT);
                return None;
            }
            Reference::Default(name) => *name,
        };
        let name = match name.parse::<FunctionName>() {
            Ok(name) => name,
            Err(bad) => {
                let message = format!("`{name}` is not a function's name: {bad}");
                sink.error_hint("invalid-value", node.place, message, "NAME:VERSION@default");
                return None;
            }
        };
        let catalog = self.catalog;
        let Some((name, found)) = catalog.known.get_key_value(&name) else {
            self.missing(&name, node.place);
            return None;
        };
        if let Err(problem) = found {
            let message = format!("in the function {name}, {problem}");
            sink.error_hint("syntax", node.place, message, "deploy it as a new version");
            return None;
        }
        let place = sink.place(node.place);
        self.called.push(Called { task: id, name, place });
        if let Some(caller) = self.inside {
            self.bodies.calls.entry(caller).or_default().insert(name);
        }
        Some(Kind::Function { body: TaskId::ROOT, arguments })
    }

    fn missing(&mut self, name: &FunctionName, place: Place) {
        let sink = &mut self.builder.sink;
        if self.catalog.is_full {
            let message = format!(
                "more than {} functions of the catalog, or {} KiB of them",
                limits::FUNCTIONS_MAX,
                limits::FUNCTIONS_BYTES_MAX / 1024
            );
            sink.error("too-large", place, message);
            return;
        }
        match self.catalog.missing {
            Severity::Error => sink.error_hint(
                "unresolved-function",
                place,
                format!("the catalog has no function {name}"),
                "deploy it first, or correct the name",
            ),
            Severity::Warning => sink.warn(
                "unresolved-function",
                place,
                format!("only the engine's catalog knows the function {name}"),
                "give the folder of its text with --functions, or ask with --engine",
            ),
        }
    }

    /// The bodies of the catalog's functions, in the order in which they are called.
    ///
    /// A function means the same whoever calls it: it knows nothing of the document's `use` and mode, and no extension
    /// reaches into it. Where it is wrong is said at the call that leads to it.
    pub(crate) fn catalog_functions(&mut self) {
        let catalog = self.catalog;
        let nothing = self.nothing;
        let reusable = std::mem::replace(&mut self.reusable, nothing);
        let loose = std::mem::replace(&mut self.builder.loose, false);
        let extending = std::mem::replace(&mut self.extending, false);
        let in_function = std::mem::replace(&mut self.in_function, true);
        let mut looked_at = 0;
        while let Some(Called { name, place, .. }) = self.called.get(looked_at) {
            let (name, place) = (*name, *place);
            looked_at += 1;
            if self.bodies.first.contains_key(name) {
                continue;
            }
            let Some(Ok(node)) = catalog.known.get(name) else { continue };
            if self.drafts.len() >= limits::TASKS_MAX {
                let message = format!("the document has more than {} tasks", limits::TASKS_MAX);
                self.builder.sink.error("too-large", place, message);
                break;
            }
            self.inside = Some(name);
            self.builder.sink.within = Some(Within { name: name.to_string(), place });
            let first = self.body(&name.to_string(), node);
            self.builder.sink.within = None;
            self.inside = None;
            self.bodies.first.insert(name, first);
        }
        self.reusable = reusable;
        self.builder.loose = loose;
        self.extending = extending;
        self.in_function = in_function;
        self.check_nesting();
        for Called { task, name, .. } in &self.called {
            if let (Kind::Function { body, .. }, Some(first)) =
                (&mut self.drafts[index(*task)].task.kind, self.bodies.first.get(name))
            {
                *body = *first;
            }
        }
    }

    fn body(&mut self, name: &str, node: &'n Node) -> TaskId {
        let pointer = format!("/use/catalogs/{CATALOG}/{name}");
        self.alone(Stand { name, node, place: node.place, pointer: &pointer })
    }

    /// Functions that call each other in a circle would never end.
    fn check_nesting(&mut self) {
        let mut depths = BTreeMap::new();
        let mut reported = BTreeSet::new();
        for Called { name, place, .. } in &self.called {
            let mut path = Vec::new();
            let Err(problem) = depth(name, &self.bodies.calls, &mut path, &mut depths) else {
                continue;
            };
            if !reported.insert(problem.clone()) {
                continue;
            }
            match problem {
                Nesting::Circle(path) => self.builder.sink.error_hint(
                    "function-cycle",
                    *place,
                    format!("functions of the catalog call each other in a circle: {path}"),
                    "loop with `for`, or leave one of the calls out",
                ),
                Nesting::Deep => self.builder.sink.error_hint(
                    "too-deep",
                    *place,
                    format!(
                        "functions of the catalog call each other more than {} deep",
                        limits::FUNCTION_DEPTH_MAX
                    ),
                    "flatten them",
                ),
            }
        }
    }

    /// The texts behind a compiled document.
    pub(crate) fn texts(&self, functions: &Functions) -> Functions {
        let text = |name: &FunctionName| Some((name.clone(), functions.get(name)?.clone()));
        self.bodies.names().filter_map(text).collect()
    }
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Nesting {
    Circle(String),
    Deep,
}

/// How many functions stand inside each other, from this one on.
fn depth<'n>(
    name: &'n FunctionName,
    calls: &BTreeMap<&'n FunctionName, BTreeSet<&'n FunctionName>>,
    path: &mut Vec<&'n FunctionName>,
    depths: &mut BTreeMap<&'n FunctionName, usize>,
) -> Result<usize, Nesting> {
    if let Some(depth) = depths.get(name) {
        return Ok(*depth);
    }
    if let Some(at) = path.iter().position(|known| *known == name) {
        // Told once, wherever one comes upon it.
        let mut circle = path[at..].to_vec();
        let least = (0..circle.len()).min_by_key(|at| circle[*at]).unwrap_or_default();
        circle.rotate_left(least);
        circle.extend(circle.first().copied());
        let circle = circle.iter().map(ToString::to_string).collect::<Vec<_>>().join(" → ");
        return Err(Nesting::Circle(circle));
    }
    path.push(name);
    let mut deepest = 0;
    for callee in calls.get(name).into_iter().flatten() {
        deepest = deepest.max(depth(callee, calls, path, depths)?);
    }
    path.pop();
    if deepest >= limits::FUNCTION_DEPTH_MAX {
        return Err(Nesting::Deep);
    }
    depths.insert(name, deepest + 1);
    Ok(deepest + 1)
}

/// What identifies a workflow: its text, and the texts of the functions behind it. No text is a document that begins as
/// this does, so none has the hash of another with functions.
pub fn hash(source: &str, functions: &Functions) -> Hash {
    let digest = |text: &str| Sha256::digest(text.as_bytes());
    if functions.is_empty() {
        return Hash(digest(source).into());
    }
    let mut all = Sha256::new();
    all.update(b"a workflow and its functions\0");
    all.update(digest(source));
    for (name, text) in functions {
        all.update(digest(&name.to_string()));
        all.update(digest(text));
    }
    Hash(all.finalize().into())
}
