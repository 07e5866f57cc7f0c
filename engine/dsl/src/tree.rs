//! The document as a tree in which every key and value knows its place.

use std::{borrow::Cow, collections::HashSet};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle};

use crate::{
    diagnostic::{Place, Sink},
    json, limits,
};

/// A value of the document, and where it stands.
#[derive(Clone)]
pub struct Node {
    pub value: Value,
    pub place: Place,
}

/// What JSON can say.
#[derive(Clone)]
pub enum Value {
    Null,
    Bool(bool),
    /// As JSON text.
    Number(String),
    String(String),
    Array(Vec<Node>),
    /// In the order of the text, no key twice.
    Object(Vec<Member>),
}

/// A key of an object, where it stands, and its value.
#[derive(Clone)]
pub struct Member {
    pub key: String,
    pub place: Place,
    pub value: Node,
}

/// Reads one YAML or JSON document. What is wrong goes to the sink, and a tree comes back where there is enough of one.
pub(crate) fn parse(source: &str, sink: &mut Sink) -> Option<Node> {
    if source.len() > limits::SOURCE_BYTES_MAX {
        sink.error(
            "too-large",
            Place::START,
            format!("the document is over {} bytes", limits::SOURCE_BYTES_MAX),
        );
        return None;
    }
    let mut reader = Reader { open: Vec::new(), root: None, nodes: 0, documents: 0 };
    let mut parser = Parser::new_from_str(source);
    while let Some(next) = parser.next_event() {
        match next {
            Ok((event, span)) => {
                if !reader.event(event, place(span.start, false), sink) {
                    return None;
                }
            }
            Err(error) => {
                let at = place(*error.marker(), false);
                // The parser looks ahead, and may see too many brackets before the first of them has come here.
                if error.info().contains("recursion limit") {
                    too_deep(at, sink);
                } else {
                    sink.error("syntax", at, format!("not YAML or JSON: {}", error.info()));
                }
                return None;
            }
        }
    }
    if reader.root.is_none() {
        sink.error("syntax", Place::START, "the document is empty");
    }
    reader.root
}

fn too_deep(at: Place, sink: &mut Sink) {
    sink.error("too-deep", at, format!("nested more than {} deep", limits::SOURCE_DEPTH_MAX));
}

fn place(marker: Marker, key: bool) -> Place {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Place { line: number(marker.line()), column: number(marker.col() + 1), key }
}

struct Reader {
    open: Vec<Open>,
    root: Option<Node>,
    nodes: usize,
    documents: usize,
}

enum Open {
    Array(Place, Vec<Node>),
    /// With the key that waits for its value, and all keys so far.
    Object(Place, Vec<Member>, Option<(String, Place)>, HashSet<String>),
}

impl Reader {
    /// False when reading cannot go on.
    fn event(&mut self, event: Event<'_>, at: Place, sink: &mut Sink) -> bool {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => true,
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    sink.error_hint(
                        "syntax",
                        at,
                        "a second document begins here",
                        "one workflow per file",
                    );
                }
                self.documents == 1
            }
            Event::Alias(_) => refuse(at, sink, "aliases"),
            Event::Scalar(_, _, anchor, _)
            | Event::SequenceStart(anchor, _)
            | Event::MappingStart(anchor, _)
                if anchor > 0 =>
            {
                refuse(at, sink, "anchors")
            }
            Event::Scalar(_, _, _, Some(_))
            | Event::SequenceStart(_, Some(_))
            | Event::MappingStart(_, Some(_)) => refuse(at, sink, "tags"),
            Event::Scalar(text, style, _, None) => self.scalar(text, style, at, sink),
            Event::SequenceStart(_, None) => self.begin(Open::Array(at, Vec::new()), at, sink),
            Event::MappingStart(_, None) => {
                self.begin(Open::Object(at, Vec::new(), None, HashSet::new()), at, sink)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let node = match self.open.pop() {
                    Some(Open::Array(place, items)) => Node { value: Value::Array(items), place },
                    Some(Open::Object(place, members, _, _)) => {
                        Node { value: Value::Object(members), place }
                    }
                    None => return true,
                };
                self.put(node);
                true
            }
        }
    }

    fn begin(&mut self, open: Open, at: Place, sink: &mut Sink) -> bool {
        if let Some(Open::Object(_, _, None, _)) = self.open.last() {
            sink.error("syntax", at, "a key must be a string");
            return false;
        }
        if self.open.len() >= limits::SOURCE_DEPTH_MAX {
            too_deep(at, sink);
            return false;
        }
        self.open.push(open);
        self.count(at, sink)
    }

    fn count(&mut self, at: Place, sink: &mut Sink) -> bool {
        self.nodes += 1;
        if self.nodes > limits::NODES_MAX {
            sink.error(
                "too-large",
                at,
                format!("the document has more than {} values", limits::NODES_MAX),
            );
        }
        self.nodes <= limits::NODES_MAX
    }

    fn scalar(
        &mut self,
        text: Cow<'_, str>,
        style: ScalarStyle,
        at: Place,
        sink: &mut Sink,
    ) -> bool {
        if let Some(Open::Object(_, _, key @ None, seen)) = self.open.last_mut() {
            let place = Place { key: true, ..at };
            if !seen.insert(text.clone().into_owned()) {
                sink.error("duplicate-key", place, format!("the key `{text}` is already there"));
            }
            *key = Some((text.into_owned(), place));
            return true;
        }
        let value = if style == ScalarStyle::Plain {
            plain(&text).unwrap_or_else(|| {
                let message = format!("the number `{text}` cannot be written as JSON");
                sink.error("invalid-value", at, message);
                Value::Null
            })
        } else {
            Value::String(text.into_owned())
        };
        self.put(Node { value, place: at });
        self.count(at, sink)
    }

    fn put(&mut self, node: Node) {
        match self.open.last_mut() {
            Some(Open::Array(_, items)) => items.push(node),
            Some(Open::Object(_, members, key, _)) => {
                if let Some((key, place)) = key.take() {
                    members.push(Member { key, place, value: node });
                }
            }
            None => self.root = Some(node),
        }
    }
}

fn refuse(at: Place, sink: &mut Sink, what: &str) -> bool {
    sink.error_hint(
        "syntax",
        at,
        format!("YAML {what} are not accepted"),
        "write it out, or name it under `use`; a string that begins with `&`, `*` or `!` needs quotes",
    );
    false
}

/// YAML 1.2's core schema. `None` for what JSON cannot say.
fn plain(text: &str) -> Option<Value> {
    Some(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ if text.len() <= limits::NUMBER_CHARS_MAX && json::is_number(text) => {
            Value::Number(text.into())
        }
        _ => {
            let (sign, digits) = match text.as_bytes()[0] {
                b'-' => ("-", &text[1..]),
                b'+' => ("", &text[1..]),
                _ => ("", text),
            };
            if matches!(digits, ".inf" | ".Inf" | ".INF")
                || matches!(text, ".nan" | ".NaN" | ".NAN")
            {
                return None;
            }
            if let Some(number) = prefixed(text, "0x", 16).or_else(|| prefixed(text, "0o", 8)) {
                return Some(Value::Number(number));
            }
            match decimal(digits) {
                Some(number) if number.len() <= limits::NUMBER_CHARS_MAX => {
                    Value::Number(format!("{sign}{number}"))
                }
                Some(_) => return None,
                None => Value::String(text.into()),
            }
        }
    })
}

/// Hexadecimal and octal numbers of up to 64 bits; longer ones are strings.
fn prefixed(text: &str, prefix: &str, radix: u32) -> Option<String> {
    let digits = text.strip_prefix(prefix)?;
    let all = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
    all.then(|| u64::from_str_radix(digits, radix).ok())?.map(|number| number.to_string())
}

/// YAML's decimals, such as `007`, `1.` and `.5`, as JSON writes them.
fn decimal(text: &str) -> Option<String> {
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, ""),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    let power = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    if !digits(whole) || !digits(fraction) || whole.len() + fraction.len() == 0 || !digits(power) {
        return None;
    }
    if text.len() != mantissa.len() && power.is_empty() {
        return None;
    }
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        significant => significant,
    };
    let mut number = whole.to_owned();
    if !fraction.is_empty() {
        number = number + "." + fraction;
    }
    if !exponent.is_empty() {
        number = number + "e" + exponent;
    }
    Some(number)
}

impl Node {
    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => None,
        }
    }

    /// What it is, for messages.
    pub fn what(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
        }
    }

    /// A member's value.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Object(members) => {
                members.iter().find(|member| member.key == key).map(|member| &member.value)
            }
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => None,
        }
    }

    /// What stands at a JSON pointer.
    pub fn at(&self, pointer: &str) -> Option<&Self> {
        pointer.split('/').skip(1).try_fold(self, |node, token| {
            let token = token.replace("~1", "/").replace("~0", "~");
            match &node.value {
                Value::Object(_) => node.get(&token),
                Value::Array(items) => items.get(token.parse::<usize>().ok()?),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
            }
        })
    }

    /// As JSON text, without spaces.
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        self.write_json(&mut out);
        out
    }

    /// The one member of an object that has one.
    pub(crate) fn single(&self) -> Option<&Member> {
        match &self.value {
            Value::Object(members) if members.len() == 1 => members.first(),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_) => None,
        }
    }

    pub(crate) fn write_json(&self, out: &mut String) {
        match &self.value {
            Value::Null => out.push_str("null"),
            Value::Bool(true) => out.push_str("true"),
            Value::Bool(false) => out.push_str("false"),
            Value::Number(text) => out.push_str(text),
            Value::String(text) => json::write_string(text, out),
            Value::Array(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    item.write_json(out);
                }
                out.push(']');
            }
            Value::Object(members) => {
                out.push('{');
                for (i, member) in members.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    json::write_string(&member.key, out);
                    out.push(':');
                    member.value.write_json(out);
                }
                out.push('}');
            }
        }
    }

    /// The JSON pointer of what stands at the place.
    pub(crate) fn pointer_at(&self, place: Place) -> Option<String> {
        if !place.key && self.place == place {
            return Some(String::new());
        }
        match &self.value {
            Value::Array(items) => items.iter().enumerate().find_map(|(i, item)| {
                let rest = item.pointer_at(place)?;
                Some(format!("/{i}{rest}"))
            }),
            Value::Object(members) => members.iter().find_map(|member| {
                let rest = if member.place == place {
                    Some(String::new())
                } else {
                    member.value.pointer_at(place)
                }?;
                Some(format!("/{}{rest}", json::escape_pointer(&member.key)))
            }),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        }
    }
}
