//! What the parts of a call look like: checked strictly as the language's schema has them, and written as a template.

use crate::{
    builder::{Members, append, inside},
    duration, jq, json,
    program::Segment,
    tasks::Tasks,
    tree::{Node, Value},
    uri::Template,
};

/// A member of an object.
pub(crate) struct Field {
    pub key: &'static str,
    pub required: bool,
    pub form: Form,
}

pub(crate) const fn needed(key: &'static str, form: Form) -> Field {
    Field { key, required: true, form }
}

pub(crate) const fn optional(key: &'static str, form: Form) -> Field {
    Field { key, required: false, form }
}

/// What may stand in a place.
#[derive(Clone, Copy)]
pub(crate) enum Form {
    /// Any value; expressions anywhere in it.
    Any,
    /// A string, or an expression.
    Text,
    /// A string, number or boolean, or an expression.
    Scalar,
    /// One of these, and no expression.
    Word(&'static [&'static str]),
    /// `true` or `false`, and no expression.
    Flag,
    /// A number, and no expression.
    Whole(u32, u32),
    /// Letters, digits, hyphens and dots, and no expression.
    Host,
    /// An object whose members all are of a form.
    Map(&'static Form),
    /// That, or an expression that gives one.
    MapOrExpression(&'static Form),
    /// A list whose items all are of a form.
    List(&'static Form),
    /// An object with these members and no others.
    Object(&'static [Field]),
    /// A URI template or an expression; written as text.
    Uri,
    /// A URI, or an object of a URI and an authentication; written as the object.
    Endpoint,
    /// `{name, endpoint}`
    Resource,
    /// A policy, or the name of one; written as the policy.
    Authentication,
    /// Written as ISO 8601.
    Duration,
    /// An expression that the worker evaluates, message by message.
    Predicate,
    /// Not supported; what to do instead.
    Refused(&'static str),
}

const RESOURCE: &[Field] = &[optional("name", Form::Text), needed("endpoint", Form::Endpoint)];

/// `$workflow` and `$task` without their `definition`.
const WORKFLOW: &str = "{id: $workflow.id, input: $workflow.input, startedAt: $workflow.startedAt}";
const TASK: &str = "{name: $task.name, reference: $task.reference, input: $task.input, \
                    output: $task.output, startedAt: $task.startedAt}";

impl<'n> Tasks<'n> {
    /// Writes an object of these fields; gives its members.
    pub(crate) fn object(
        &mut self,
        what: &str,
        node: &'n Node,
        fields: &'static [Field],
        out: &mut Vec<Segment>,
    ) -> Option<Members<'n>> {
        let known: Vec<&str> = fields.iter().map(|field| field.key).collect();
        let members = self.builder.members(node, what, &known, &[])?;
        append(out, "{");
        self.fields(&members, fields, out);
        append(out, "}");
        Some(members)
    }

    /// Writes the members of an object without its braces; says whether there were any.
    pub(crate) fn fields(
        &mut self,
        members: &Members<'n>,
        fields: &'static [Field],
        out: &mut Vec<Segment>,
    ) -> bool {
        for field in fields.iter().filter(|field| field.required) {
            self.builder.required(members, field.key);
        }
        let mut first = true;
        for member in members.members {
            let Some(field) = fields.iter().find(|field| field.key == member.key) else { continue };
            write_key(&member.key, &mut first, out);
            self.form(field.form, &member.value, &format!("`{}`", field.key), out);
        }
        !first
    }

    pub(crate) fn form(&mut self, form: Form, node: &'n Node, what: &str, out: &mut Vec<Segment>) {
        match form {
            Form::Any => self.builder.segments(node, out),
            Form::Text => match node.as_str() {
                Some(text) => self.builder.text_segment(text, node.place, out),
                None => self.wrong(node, what, "a string", "put it in quotes", out),
            },
            Form::Scalar => match &node.value {
                Value::String(_) | Value::Number(_) | Value::Bool(_) => {
                    self.builder.segments(node, out);
                }
                Value::Null | Value::Array(_) | Value::Object(_) => {
                    self.wrong(node, what, "a string, a number or a boolean", "", out);
                }
            },
            Form::Word(words) => self.word(node, what, words, out),
            Form::Flag => match node.value {
                Value::Bool(_) => self.builder.segments(node, out),
                Value::Null
                | Value::Number(_)
                | Value::String(_)
                | Value::Array(_)
                | Value::Object(_) => self.wrong(node, what, "true or false", "", out),
            },
            Form::Whole(from, to) => match self.builder.number(node, what, from, to) {
                Some(number) => append(out, &number.to_string()),
                None => append(out, "null"),
            },
            Form::Host => self.host(node, what, out),
            Form::Map(values) => self.map(node, what, *values, out),
            Form::MapOrExpression(values) => match node.as_str() {
                Some(text) if self.builder.loose || inside(text).is_some() => {
                    self.builder.text_segment(text, node.place, out);
                }
                Some(_) | None => self.map(node, what, *values, out),
            },
            Form::List(items) => self.items(node, what, *items, out),
            Form::Object(fields) => {
                self.object(what, node, fields, out);
            }
            Form::Uri => self.uri(node, what, out),
            Form::Endpoint => self.endpoint(node, what, out),
            Form::Resource => {
                self.object(what, node, RESOURCE, out);
            }
            Form::Authentication => self.authentication(node, out),
            Form::Duration => self.duration_text(node, out),
            Form::Predicate => self.predicate(node, what, out),
            Form::Refused(hint) => {
                let message = format!("{what} is not supported");
                self.builder.sink.error_hint("unsupported", node.place, message, hint);
            }
        }
    }

    fn wrong(&mut self, node: &Node, what: &str, wanted: &str, hint: &str, out: &mut Vec<Segment>) {
        let message = format!("{what} must be {wanted}, not {}", node.what());
        self.builder.sink.error_hint("invalid-type", node.place, message, hint);
        append(out, "null");
    }

    fn word(
        &mut self,
        node: &Node,
        what: &str,
        words: &'static [&'static str],
        out: &mut Vec<Segment>,
    ) {
        if node.as_str().is_none_or(|text| !words.contains(&text)) {
            let message = format!("{what} must be one of {}", words.join(", "));
            self.builder.sink.error("invalid-value", node.place, message);
        }
        self.builder.segments(node, out);
    }

    /// As the schema has it.
    fn host(&mut self, node: &Node, what: &str, out: &mut Vec<Segment>) {
        let good = |text: &str| {
            let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'));
            let end = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
            let bytes = text.as_bytes();
            plain && text.len() <= 63 && end(bytes.first()) && end(bytes.last())
        };
        if !node.as_str().is_some_and(good) {
            let message = format!("{what} must be a host's name or an address");
            self.builder.sink.error("invalid-value", node.place, message);
        }
        self.builder.segments(node, out);
    }

    fn map(&mut self, node: &'n Node, what: &str, values: Form, out: &mut Vec<Segment>) {
        let Value::Object(members) = &node.value else {
            return self.wrong(node, what, "an object", "", out);
        };
        append(out, "{");
        let mut first = true;
        for member in members {
            write_key(&member.key, &mut first, out);
            self.form(values, &member.value, &format!("`{}`", member.key), out);
        }
        append(out, "}");
    }

    fn items(&mut self, node: &'n Node, what: &str, form: Form, out: &mut Vec<Segment>) {
        append(out, "[");
        for (i, item) in self.builder.list(node, what).iter().enumerate() {
            append(out, if i == 0 { "" } else { "," });
            self.form(form, item, &format!("an item of {what}"), out);
        }
        append(out, "]");
    }

    fn uri(&mut self, node: &Node, what: &str, out: &mut Vec<Segment>) {
        let Some(text) = node.as_str() else {
            return self.wrong(node, what, "a URI", "put it in quotes", out);
        };
        if let Some(source) = inside(text) {
            if let Some(jq) = self.builder.jq(source, node.place) {
                out.push(Segment::UriFrom(jq, None));
            }
            return;
        }
        let loosely = self.builder.loosely(text);
        match (loosely, Template::parse(text)) {
            (Some(jq), template) => out.push(Segment::UriFrom(jq, template.ok())),
            (None, Ok(template)) => match template.constant() {
                Some(text) => append(out, &json::string(text)),
                None => out.push(Segment::Uri(template)),
            },
            (None, Err(problem)) => {
                let hint = "names of the input's keys stand in braces; anything else is an expression, `${ … }`";
                self.builder.sink.error_hint("invalid-value", node.place, problem, hint);
            }
        }
    }

    fn endpoint(&mut self, node: &'n Node, what: &str, out: &mut Vec<Segment>) {
        const ENDPOINT: &[Field] =
            &[needed("uri", Form::Uri), optional("authentication", Form::Authentication)];
        match &node.value {
            Value::Object(_) => {
                self.object(what, node, ENDPOINT, out);
            }
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => {
                append(out, "{\"uri\":");
                self.uri(node, what, out);
                append(out, "}");
            }
        }
    }

    fn duration_text(&mut self, node: &Node, out: &mut Vec<Segment>) {
        let expression = node.as_str().and_then(inside);
        if let Some(source) = expression {
            if let Some(jq) = self.builder.jq(source, node.place) {
                out.push(Segment::Duration(jq));
            }
            return;
        }
        match node.as_str().map_or_else(|| duration::from_node(node), duration::parse) {
            Ok(duration) => append(out, &json::string(&duration::write(duration))),
            Err(error) => {
                self.builder.sink.error("invalid-duration", node.place, error.to_string());
            }
        }
    }

    /// `{"jq": …, "variables": {…}}`: the expression, and what it sees besides its input.
    fn predicate(&mut self, node: &Node, what: &str, out: &mut Vec<Segment>) {
        let Some(source) = node.as_str().map(|text| inside(text).unwrap_or(text)) else {
            return self.wrong(node, what, "an expression", "put it in quotes", out);
        };
        // What the worker evaluates goes out as text, where a placeholder would be taken for the value.
        let names = self.builder.step_secrets.take();
        let predicate = self.builder.jq(source, node.place);
        append(out, &format!("{{\"jq\":{},\"variables\":{{", json::string(source)));
        let mut first = true;
        for (name, definition) in predicate.iter().flat_map(jq::Jq::mentions) {
            write_key(name, &mut first, out);
            // The document is large, and rarely asked for.
            let value = match name {
                "workflow" if !definition => WORKFLOW.to_owned(),
                "task" if !definition => TASK.to_owned(),
                name => format!("${name}"),
            };
            if let Some(jq) = self.builder.jq(&value, node.place) {
                out.push(Segment::Jq(jq));
            }
        }
        append(out, "}}");
        self.builder.step_secrets = names;
    }
}

fn write_key(key: &str, first: &mut bool, out: &mut Vec<Segment>) {
    append(out, if std::mem::take(first) { "" } else { "," });
    append(out, &json::string(key));
    append(out, ":");
}
