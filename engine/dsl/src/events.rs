//! What listens, what emits, and what runs another workflow.

use std::{collections::BTreeSet, sync::Arc};

use baton_core::workflow::{
    Correlate, Each, EventFilter, Expression, Kind, Listen, Matcher as MatcherId, Read, Until,
};
use regex::RegexBuilder;

use crate::{
    builder::{Builder, Members, inside},
    document::is_label,
    limits,
    matcher::{Matcher, Test},
    tasks::Tasks,
    tree::{Node, Value},
};

/// Attributes of a CloudEvent 1.0 that are texts.
const TEXTS: [&str; 5] = ["id", "type", "time", "subject", "datacontenttype"];

/// Those that are URIs, templates of them, or expressions.
const URIS: [&str; 2] = ["source", "dataschema"];

impl<'n> Tasks<'n> {
    pub(crate) fn emit(&mut self, node: &'n Node) -> Option<Kind> {
        let own = self.builder.members(node, "`emit`", &["event"], &[])?;
        let event = self.builder.required(&own, "event")?;
        let event = self.builder.members(event, "`event`", &["with"], &[])?;
        let with = self.builder.required(&event, "with")?;
        let Value::Object(attributes) = &with.value else {
            let message = format!("`with` must be an object, not {}", with.what());
            self.builder.sink.error("invalid-type", with.place, message);
            return None;
        };
        if !attributes.iter().any(|member| member.key == "type") {
            self.builder.sink.error("missing-key", with.place, "the key `type` is missing");
        }
        for member in attributes {
            attribute_name(&mut self.builder, &member.key, member.place);
            text(&mut self.builder, &member.key, &member.value);
        }
        Some(Kind::Emit { event: self.builder.template(with) })
    }

    pub(crate) fn listen(
        &mut self,
        node: &'n Node,
        members: &Members<'n>,
        pointer: &str,
    ) -> Option<Kind> {
        let own = self.builder.members(node, "`listen`", &["to", "read"], &[])?;
        let read = own.get("read").map_or(Some(Read::Data), |node| read(&mut self.builder, node));
        let to = self.builder.required(&own, "to")?;
        let (filters, until) = strategy(&mut self.builder, to, true)?;
        let each = members.get("foreach").and_then(|node| self.each_event(node, pointer));
        Some(Kind::Listen(Listen { until, filters, read: read?, each }))
    }

    fn each_event(&mut self, node: &'n Node, pointer: &str) -> Option<Each> {
        let known = ["item", "at", "do", "output", "export"];
        let own = self.builder.members(node, "`foreach`", &known, &[])?;
        let (item, at) = self.builder.item_variables(&own, "item")?;
        self.builder.variables.extend([item.clone(), at.clone()]);
        let first =
            own.get("do").and_then(|body| self.list(body, &format!("{pointer}/foreach/do"), false));
        let mut shaped = |key: &str| {
            let node = own.get(key)?;
            let (schema, expression) = self.shaped(node, key);
            if schema.is_some() {
                let message = format!("a schema for the {key} of a single event is not supported");
                self.builder.sink.error("unsupported", node.place, message);
            }
            expression
        };
        let (output, export) = (shaped("output"), shaped("export"));
        self.builder.variables.truncate(self.builder.variables.len() - 2);
        Some(Each { item: item.into(), at: at.into(), first, output, export })
    }

    /// `run.workflow`.
    pub(crate) fn run_workflow(&mut self, node: &'n Node, awaited: bool) -> Option<Kind> {
        let known = ["namespace", "name", "version", "input"];
        let own = self.builder.members(node, "`workflow`", &known, &[])?;
        for key in ["namespace", "name"] {
            let node = self.builder.required(&own, key)?;
            let text = self.builder.string(node, &format!("`{key}`"))?;
            if inside(text).is_none() && !is_label(text) {
                let message =
                    format!("the {key} `{text}` is not 1 to 63 letters, digits and inner hyphens");
                self.builder.sink.error("invalid-value", node.place, message);
            }
        }
        if let Some(node) = self.builder.required(&own, "version") {
            let text = self.builder.string(node, "`version`")?;
            let is_version = text == "latest" || semver::Version::parse(text).is_ok();
            if inside(text).is_none() && !is_version {
                let message = format!("`{text}` is not a semantic version, nor `latest`");
                self.builder.sink.error("invalid-value", node.place, message);
            }
        }
        if let Some(input) = own.get("input")
            && !matches!(input.value, Value::Object(_))
            && input.as_str().is_none_or(|text| inside(text).is_none())
        {
            let message =
                format!("`input` must be an object or an expression, not {}", input.what());
            self.builder.sink.error("invalid-type", input.place, message);
        }
        Some(Kind::Run { workflow: self.builder.template(node), awaited })
    }
}

pub(crate) fn read(builder: &mut Builder, node: &Node) -> Option<Read> {
    match node.as_str() {
        Some("data") => Some(Read::Data),
        Some("envelope") => Some(Read::Envelope),
        Some("raw") => Some(Read::Raw),
        _ => {
            builder.sink.error("invalid-value", node.place, "`read` is data, envelope or raw");
            None
        }
    }
}

/// What events end it, and which it takes. `until` belongs to the outermost only.
pub(crate) fn strategy(
    builder: &mut Builder,
    node: &Node,
    outermost: bool,
) -> Option<(Vec<EventFilter>, Until)> {
    let known: &[&str] =
        if outermost { &["one", "any", "all", "until"] } else { &["one", "any", "all"] };
    let own = builder.members(node, "a consumption strategy", known, &[])?;
    let kinds: Vec<&str> =
        ["one", "any", "all"].into_iter().filter(|k| own.get(k).is_some()).collect();
    let [kind] = kinds[..] else {
        builder.sink.error(
            "invalid-value",
            node.place,
            "exactly one of `one`, `any` and `all` is wanted",
        );
        return None;
    };
    let body = own.get(kind)?;
    let until = own.get("until");
    if let Some(until) = until.filter(|_| kind != "any") {
        let message = format!("`until` goes with `any`, not with `{kind}`");
        builder.sink.error("invalid-value", until.place, message);
    }
    if kind == "one" {
        return Some((vec![filter(builder, body)?], Until::First));
    }
    let mut filters: Vec<EventFilter> = builder
        .list(body, &format!("`{kind}`"))
        .iter()
        .filter_map(|node| filter(builder, node))
        .collect();
    if filters.len() > limits::FILTERS_MAX {
        let message = format!("a listener has at most {} filters", limits::FILTERS_MAX);
        builder.sink.error("too-large", body.place, message);
    }
    if filters.is_empty() {
        if kind == "all" {
            builder.sink.error("invalid-value", body.place, "`all` needs at least one filter");
            return None;
        }
        // `any: []` is any event at all.
        filters.push(EventFilter { matcher: builder.matcher(Vec::new()), correlate: Vec::new() });
    }
    let until = match until {
        _ if kind == "all" => Until::All,
        None => Until::First,
        Some(node) if node.as_str().is_some() => Until::Holds(builder.expression(node)),
        Some(node) => {
            let (filters, until) = strategy(builder, node, false)?;
            Until::Events { filters, all: matches!(until, Until::All) }
        }
    };
    Some((filters, until))
}

fn filter(builder: &mut Builder, node: &Node) -> Option<EventFilter> {
    let own = builder.members(node, "an event filter", &["with", "correlate"], &[])?;
    let with = builder.required(&own, "with")?;
    let Value::Object(attributes) = &with.value else {
        let message = format!("`with` must be an object, not {}", with.what());
        builder.sink.error("invalid-type", with.place, message);
        return None;
    };
    if attributes.is_empty() {
        builder.sink.error("invalid-value", with.place, "`with` needs at least one attribute");
    }
    let mut tests = Vec::new();
    for member in attributes {
        attribute_name(builder, &member.key, member.place);
        text(builder, &member.key, &member.value);
        tests.push((member.key.clone(), test(builder, &member.value)));
    }
    let mut correlate = Vec::new();
    let mut keys = BTreeSet::new();
    if let Some(node) = own.get("correlate") {
        let Value::Object(entries) = &node.value else {
            let message = format!("`correlate` must be an object, not {}", node.what());
            builder.sink.error("invalid-type", node.place, message);
            return None;
        };
        for entry in entries {
            let Some(members) =
                builder.members(&entry.value, "a correlation", &["from", "expect"], &[])
            else {
                continue;
            };
            keys.insert(entry.key.as_str());
            if let Some(from) = builder.required(&members, "from") {
                let from = builder.expression(from);
                let expect: Option<Expression> = members.get("expect").map(|node| {
                    builder.string(node, "`expect`");
                    builder.template(node)
                });
                correlate.push(Correlate { key: Arc::from(entry.key.as_str()), from, expect });
            }
        }
    }
    Some(EventFilter { matcher: builder.matcher(tests), correlate })
}

/// What the language wants of an attribute that it knows.
fn text(builder: &mut Builder, name: &str, value: &Node) {
    let what = format!("`{name}`");
    if URIS.contains(&name) {
        builder.uri(value, &what);
    } else if TEXTS.contains(&name) {
        builder.string(value, &what);
    }
}

/// A text is the literal; one that begins with `^` is a regular expression, and `${ … }` is an expression.
fn test(builder: &mut Builder, node: &Node) -> Test {
    if let Value::Object(members) = &node.value {
        let members =
            members.iter().map(|member| (member.key.clone(), test(builder, &member.value)));
        return Test::Has(members.collect());
    }
    if let Some(text) = node.as_str() {
        if let Some(source) = inside(text) {
            return builder.test_expression(source, node.place);
        }
        if text.starts_with('^') {
            let regex = RegexBuilder::new(text).size_limit(limits::REGEX_BYTES_MAX).build();
            match regex {
                Ok(regex) => return Test::Fits(regex),
                Err(error) => {
                    let text = error.to_string();
                    let last = text.lines().last().unwrap_or_default();
                    let message = format!("not a regular expression: {last}");
                    let hint = "a text that begins with ^ is one; see docs/workflows.md";
                    builder.sink.error_hint("invalid-regex", node.place, message, hint);
                }
            }
        }
    }
    let mut text = String::new();
    node.write_json(&mut text);
    Test::Equals(text)
}

/// CloudEvents 1.0: lower-case letters and digits.
fn attribute_name(builder: &mut Builder, name: &str, place: crate::diagnostic::Place) {
    let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if !plain || name.is_empty() || name.len() > 64 {
        let message = format!("`{name}` is not the name of an event's attribute");
        let hint = "lower-case letters and digits; put the rest into `data`";
        builder.sink.error_hint("invalid-value", place, message, hint);
    }
}

impl Builder {
    fn matcher(&mut self, attributes: Vec<(String, Test)>) -> MatcherId {
        self.matchers.push(Matcher { attributes });
        MatcherId(u32::try_from(self.matchers.len() - 1).unwrap_or(u32::MAX))
    }

    fn test_expression(&mut self, source: &str, place: crate::diagnostic::Place) -> Test {
        // What did not compile is reported, and keeps a place.
        self.jq(source, place).map_or(Test::Equals(String::new()), Test::Gives)
    }
}
