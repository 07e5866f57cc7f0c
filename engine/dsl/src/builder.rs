//! What compiling a document gathers: findings, expressions, schemas, and the variables in scope.

use std::{collections::BTreeSet, sync::Arc};

use baton_core::{
    Json,
    workflow::{Expression, Schema},
};

use crate::{
    diagnostic::{Place, Sink},
    duration, jq, limits,
    matcher::Matcher,
    program::{Code, Segment},
    refine::SECRETS,
    schema,
    tree::{Member, Node, Value},
    view,
};

pub(crate) struct Builder {
    pub sink: Sink,
    pub codes: Vec<Code>,
    pub schemas: Vec<schema::Schema>,
    /// In these schemas.
    pub patterns: usize,
    pub matchers: Vec<Matcher>,
    /// How many were compiled so far.
    pub(crate) expressions: usize,
    /// `evaluate.mode: loose`.
    pub loose: bool,
    /// Of the loops and handlers around, without `$`.
    pub variables: Vec<String>,
    /// `use.secrets`
    pub secrets: BTreeSet<String>,
    /// Those that an expression refers to are declared somewhere else.
    pub any_secret: bool,
    pub secrets_used: BTreeSet<String>,
    /// Those that the step at hand refers to; `None` outside the arguments of a step, where there are none.
    pub step_secrets: Option<BTreeSet<String>>,
}

impl Builder {
    pub(crate) fn new(sink: Sink) -> Self {
        Self {
            sink,
            codes: Vec::new(),
            schemas: Vec::new(),
            patterns: 0,
            matchers: Vec::new(),
            expressions: 0,
            loose: false,
            variables: Vec::new(),
            secrets: BTreeSet::new(),
            any_secret: false,
            secrets_used: BTreeSet::new(),
            step_secrets: None,
        }
    }

    /// What the compiler itself writes.
    pub(crate) fn add(&mut self, code: Code) -> Expression {
        self.push(Some(code))
    }

    /// An expression that the compiler itself writes.
    pub(crate) fn expression_text(&mut self, source: &str) -> Expression {
        let code = self.jq(source, Place::default()).map(Code::Single);
        self.push(code)
    }

    /// An expression where the language wants one: the `${ }` may be left out.
    pub(crate) fn expression(&mut self, node: &Node) -> Expression {
        let code = if let Some(text) = node.as_str() {
            self.jq(inside(text).unwrap_or(text), node.place).map(Code::Single)
        } else {
            let message = format!("an expression was wanted, and {} found", node.what());
            self.sink.error_hint(
                "invalid-type",
                node.place,
                message,
                "put the expression in quotes",
            );
            None
        };
        self.push(code)
    }

    /// An expression, or an object or list that holds some.
    pub(crate) fn transformation(&mut self, node: &Node) -> Expression {
        match &node.value {
            Value::Object(_) | Value::Array(_) => self.template(node),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                self.expression(node)
            }
        }
    }

    /// Data in which every string that is wholly `${ … }` is evaluated.
    pub(crate) fn template(&mut self, node: &Node) -> Expression {
        let mut segments = vec![Segment::Text(String::new())];
        self.segments(node, &mut segments);
        self.finish(segments)
    }

    /// What the segments make together. The first is a text.
    pub(crate) fn finish(&mut self, mut segments: Vec<Segment>) -> Expression {
        let code = match segments.len() {
            1 => match segments.pop() {
                Some(Segment::Text(text)) => Some(Code::Constant(Json::from_text(text))),
                _ => None,
            },
            2 => match (segments.pop(), segments.pop()) {
                (Some(Segment::Jq(jq)), Some(Segment::Text(text))) if text.is_empty() => {
                    Some(Code::Single(jq))
                }
                (Some(last), Some(first)) => Some(Code::Template(vec![first, last])),
                _ => None,
            },
            _ => Some(Code::Template(segments)),
        };
        self.push(code)
    }

    pub(crate) fn segments(&mut self, node: &Node, out: &mut Vec<Segment>) {
        match &node.value {
            Value::String(text) => self.text_segment(text, node.place, out),
            Value::Array(items) => {
                for (i, item) in items.iter().enumerate() {
                    append(out, if i == 0 { "[" } else { "," });
                    self.segments(item, out);
                }
                append(out, if items.is_empty() { "[]" } else { "]" });
            }
            Value::Object(members) => {
                for (i, member) in members.iter().enumerate() {
                    append(out, if i == 0 { "{" } else { "," });
                    append(out, &crate::json::string(&member.key));
                    append(out, ":");
                    self.segments(&member.value, out);
                }
                append(out, if members.is_empty() { "{}" } else { "}" });
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {
                let mut text = String::new();
                node.write_json(&mut text);
                append(out, &text);
            }
        }
    }

    pub(crate) fn text_segment(&mut self, text: &str, place: Place, out: &mut Vec<Segment>) {
        let literal = crate::json::string(text);
        if let Some(source) = inside(text) {
            if let Some(jq) = self.jq(source, place) {
                out.push(Segment::Jq(jq));
            }
        } else if self.loose
            && let Some(jq) = self.loosely(text)
        {
            out.push(Segment::Loose(jq, literal));
        } else {
            if text.contains("${") {
                self.sink.warn(
                    "partial-expression",
                    place,
                    "only a string that is wholly `${ … }` is evaluated; this one is data",
                    "write it as ${ \"text \\(.value)\" }",
                );
            }
            append(out, &literal);
        }
    }

    pub(crate) fn duration(&mut self, node: &Node) -> Expression {
        let found = match &node.value {
            Value::String(text) if inside(text).is_some() => return self.template(node),
            Value::String(text) => duration::parse(text),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => duration::from_node(node),
        };
        let code = match found {
            Ok(duration) => Some(Code::Duration(duration)),
            Err(error) => {
                self.sink.error("invalid-duration", node.place, error.to_string());
                None
            }
        };
        self.push(code)
    }

    /// `{format, document}`.
    pub(crate) fn schema(&mut self, node: &Node) -> Option<Schema> {
        if let Value::Object(members) = &node.value
            && let Some(resource) = members.iter().find(|member| member.key == "resource")
        {
            self.sink.error_hint(
                "unsupported",
                resource.place,
                "schemas by `resource` are not supported: the engine fetches nothing",
                "write the schema under `document`",
            );
            return None;
        }
        let members = self.members(node, "a schema", &["format", "document"], &[])?;
        if let Some(format) = members.get("format")
            && !format
                .as_str()
                .is_some_and(|format| format == "json" || format.starts_with("json:"))
        {
            self.sink.error_hint(
                "unsupported",
                format.place,
                "this schema format is not supported",
                "use json",
            );
        }
        let document = self.required(&members, "document")?;
        match schema::compile(document, &mut self.patterns) {
            Ok(schema) => {
                self.schemas.push(schema);
                Some(Schema(u32::try_from(self.schemas.len() - 1).unwrap_or(u32::MAX)))
            }
            Err(problem) => {
                self.sink.error("invalid-schema", document.place, problem);
                None
            }
        }
    }

    fn push(&mut self, code: Option<Code>) -> Expression {
        // What did not compile keeps a place, so that the walk goes on and finds the rest.
        self.codes.push(code.unwrap_or_else(|| Code::Constant(Json::null())));
        Expression(u32::try_from(self.codes.len() - 1).unwrap_or(u32::MAX))
    }

    /// In loose mode: the expression, when the text is one.
    pub(crate) fn loosely(&mut self, text: &str) -> Option<jq::Jq> {
        if !self.loose || self.expressions >= limits::EXPRESSIONS_MAX {
            return None;
        }
        let jq = self.compile(text, &self.in_scope()).ok()?;
        self.expressions += 1;
        Some(jq)
    }

    fn compile(
        &mut self,
        source: &str,
        in_scope: &BTreeSet<String>,
    ) -> Result<jq::Jq, Vec<jq::Problem>> {
        let known = jq::Known { variables: in_scope, secrets: &self.secrets };
        let compiled = jq::compile(source, known);
        let (jq, secrets) = match compiled {
            Err(problems) if self.any_secret && self.declare(&problems) => {
                let known = jq::Known { variables: in_scope, secrets: &self.secrets };
                jq::compile(source, known)?
            }
            compiled => compiled?,
        };
        for name in secrets {
            self.secret(name);
        }
        Ok(jq)
    }

    /// Takes the secrets that nobody declared for known; whether there are any.
    fn declare(&mut self, problems: &[jq::Problem]) -> bool {
        let before = self.secrets.len();
        self.secrets.extend(problems.iter().filter_map(|problem| match problem {
            jq::Problem::UnknownSecret(name) => Some(name.clone()),
            jq::Problem::Syntax(_)
            | jq::Problem::UnknownVariable(_)
            | jq::Problem::UnknownFunction(_)
            | jq::Problem::Withheld(..)
            | jq::Problem::Unsupported(_) => None,
        }));
        self.secrets.len() > before
    }

    /// The step at hand refers to the secret.
    pub(crate) fn secret(&mut self, name: String) {
        self.secrets_used.insert(name.clone());
        if let Some(names) = &mut self.step_secrets {
            names.insert(name);
        }
    }

    /// Writes the arguments of a step, which may hold secrets; gives their names, too.
    pub(crate) fn step_arguments(&mut self, node: &Node) -> (Expression, Vec<Arc<str>>) {
        self.step_secrets = Some(BTreeSet::new());
        let arguments = self.template(node);
        (arguments, self.end_of_step())
    }

    pub(crate) fn end_of_step(&mut self) -> Vec<Arc<str>> {
        let names = self.step_secrets.take().unwrap_or_default();
        names.into_iter().map(Arc::from).collect()
    }

    fn in_scope(&self) -> BTreeSet<String> {
        let always = view::ALWAYS.iter().map(|name| (*name).to_owned());
        let secrets = self.step_secrets.is_some().then(|| SECRETS.to_owned());
        always.chain(self.variables.iter().map(|name| format!("${name}"))).chain(secrets).collect()
    }

    pub(crate) fn jq(&mut self, source: &str, place: Place) -> Option<jq::Jq> {
        self.expressions += 1;
        if self.expressions > limits::EXPRESSIONS_MAX {
            let message =
                format!("the document has more than {} expressions", limits::EXPRESSIONS_MAX);
            self.sink.error("too-large", place, message);
            return None;
        }
        let in_scope = self.in_scope();
        let problems = match self.compile(source, &in_scope) {
            Ok(jq) => return Some(jq),
            Err(problems) => problems,
        };
        for problem in problems {
            match problem {
                jq::Problem::Syntax(what) => {
                    self.sink.error("expression-syntax", place, format!("not jq: {what}"));
                }
                jq::Problem::UnknownVariable(name) => {
                    let hint = nearest(&name, in_scope.iter().map(String::as_str));
                    let hint =
                        hint.unwrap_or_else(|| format!("in scope here: {}", join(&in_scope)));
                    self.sink.error_hint(
                        "unknown-variable",
                        place,
                        format!("no variable `{name}` here"),
                        hint,
                    );
                }
                jq::Problem::UnknownFunction(name) => {
                    self.sink.error(
                        "unknown-function",
                        place,
                        format!("jq has no filter `{name}`"),
                    );
                }
                jq::Problem::UnknownSecret(name) => self.unknown_secret(&name, place),
                jq::Problem::Withheld(what, hint) => {
                    self.sink.error_hint("expression-unsupported", place, what, hint);
                }
                jq::Problem::Unsupported(what) => self.sink.error_hint(
                    "expression-unsupported",
                    place,
                    format!("{what} in expressions"),
                    "an expression must end without doubt; loop with `for`, or compute in a step",
                ),
            }
        }
        None
    }

    pub(crate) fn unknown_secret(&mut self, name: &str, place: Place) {
        let hint = nearest(name, self.secrets.iter().map(String::as_str));
        let hint = hint.unwrap_or_else(|| "declare it under `use.secrets`".into());
        self.sink.error_hint(
            "unknown-name",
            place,
            format!("no secret `{name}` is declared"),
            hint,
        );
    }

    /// The members of an object, after complaints about those that do not belong there.
    pub(crate) fn members<'n>(
        &mut self,
        node: &'n Node,
        what: &str,
        known: &[&str],
        unsupported: &[&str],
    ) -> Option<Members<'n>> {
        let Value::Object(members) = &node.value else {
            self.sink.error(
                "invalid-type",
                node.place,
                format!("{what} must be an object, not {}", node.what()),
            );
            return None;
        };
        for member in members {
            let key = member.key.as_str();
            if unsupported.contains(&key) {
                self.sink.error("unsupported", member.place, format!("`{key}` is not supported"));
            } else if !known.contains(&key) {
                let hint = nearest(key, known.iter().copied());
                let hint = hint.unwrap_or_else(|| format!("known here: {}", known.join(", ")));
                self.sink.error_hint(
                    "unknown-key",
                    member.place,
                    format!("{what} has no key `{key}`"),
                    hint,
                );
            }
        }
        Some(Members { members, place: node.place })
    }

    pub(crate) fn required<'n>(&mut self, members: &Members<'n>, key: &str) -> Option<&'n Node> {
        let found = members.get(key);
        if found.is_none() {
            self.sink.error("missing-key", members.place, format!("the key `{key}` is missing"));
        }
        found
    }

    pub(crate) fn string<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n str> {
        let text = node.as_str();
        if text.is_none() {
            self.sink.error(
                "invalid-type",
                node.place,
                format!("{what} must be a string, not {}", node.what()),
            );
        }
        text
    }

    /// A URI, a part or a template of one, or an expression.
    pub(crate) fn uri(&mut self, node: &Node, what: &str) {
        let Some(text) = self.string(node, what) else { return };
        let plain = !text.is_empty() && !text.contains(char::is_whitespace);
        if inside(text).is_none() && (!plain || text.starts_with("${")) {
            let message = format!("{what} must be a URI or an expression");
            let hint = "a URI has at least one character, and no spaces";
            self.sink.error_hint("invalid-value", node.place, message, hint);
        }
    }

    pub(crate) fn list<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Node] {
        if let Value::Array(items) = &node.value {
            return items;
        }
        self.sink.error(
            "invalid-type",
            node.place,
            format!("{what} must be a list, not {}", node.what()),
        );
        &[]
    }

    /// A whole number within bounds.
    pub(crate) fn number(&mut self, node: &Node, what: &str, from: u32, to: u32) -> Option<u32> {
        let number = match &node.value {
            Value::Number(text) => text.parse().ok().filter(|number| (from..=to).contains(number)),
            Value::Null
            | Value::Bool(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_) => None,
        };
        if number.is_none() {
            self.sink.error(
                "invalid-value",
                node.place,
                format!("{what} must be a whole number from {from} to {to}"),
            );
        }
        number
    }

    /// Those for an item, named by `key`, and for its place, named by `at`: `item` and `index` unless said.
    pub(crate) fn item_variables(
        &mut self,
        own: &Members<'_>,
        key: &str,
    ) -> Option<(String, String)> {
        let mut named = |key: &str, default: &str| {
            own.get(key)
                .map_or(Some(default.to_owned()), |node| self.variable(node, &format!("`{key}`")))
        };
        let (item, at) = (named(key, "item")?, named("at", "index")?);
        if item == at {
            let message = format!("`{key}` and `at` are both `{at}`");
            self.sink.error("invalid-value", own.place, message);
        }
        Some((item, at))
    }

    /// A name for a variable: `error`, `item`.
    pub(crate) fn variable(&mut self, node: &Node, what: &str) -> Option<String> {
        let text = self.string(node, what)?;
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !plain
            || text.len() > 64
            || !text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        {
            let message = format!("{what} must be a name of letters, digits and _");
            self.sink.error_hint("invalid-value", node.place, message, "without the $");
            return None;
        }
        if matches!(text, "secrets" | "authorization") {
            let message = format!("{what} cannot be `{text}`, which the language has itself");
            self.sink.error("invalid-value", node.place, message);
            return None;
        }
        Some(text.to_owned())
    }
}

/// The members of an object.
#[derive(Clone, Copy)]
pub(crate) struct Members<'n> {
    pub members: &'n [Member],
    pub place: Place,
}

impl<'n> Members<'n> {
    pub(crate) fn get(&self, key: &str) -> Option<&'n Node> {
        self.member(key).map(|member| &member.value)
    }

    pub(crate) fn member(&self, key: &str) -> Option<&'n Member> {
        self.members.iter().find(|member| member.key == key)
    }
}

pub(crate) fn append(out: &mut Vec<Segment>, more: &str) {
    if let Some(Segment::Text(text)) = out.last_mut() {
        text.push_str(more);
    } else {
        out.push(Segment::Text(more.to_owned()));
    }
}

/// What stands in `${ … }`, when that is the whole string.
pub(crate) fn inside(text: &str) -> Option<&str> {
    text.trim().strip_prefix("${")?.strip_suffix('}').map(str::trim)
}

fn join(names: &BTreeSet<String>) -> String {
    names.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// The known word that was probably meant.
pub(crate) fn nearest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<String> {
    if word.len() > 64 {
        return None;
    }
    let (distance, best) = known.map(|known| (distance(word, known), known)).min()?;
    (distance <= 1 + word.len() / 4).then(|| format!("did you mean `{best}`?"))
}

/// Levenshtein's.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.to_lowercase().chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}
