//! What a JSON Schema looks at in a value: its schemas as rules with numbers, and the references between them followed.

use std::collections::{BTreeMap, BTreeSet};

use regex::bytes::RegexBuilder;
use regex_automata::{dfa::dense, util::syntax::Config};
use serde_json::{Map, Value};

use crate::limits;

/// One schema of the schema.
#[derive(Default)]
pub(super) struct Rule {
    pub parts: Vec<Part>,
    /// Members that have a schema by name.
    pub named: BTreeSet<String>,
    /// Literals and names that the value is compared with.
    pub literals: u64,
    /// Bytes that an error may quote of it.
    pub bytes: u64,
    /// What a byte of the text costs, and of the name of each member, in units times [`WEIGHT_PER_UNIT`].
    pub pattern: u64,
    pub name_patterns: u64,
    pub unique: bool,
    pub unevaluated: bool,
}

pub(super) struct Part {
    pub rule: usize,
    pub of: Of,
    pub told: Told,
}

/// Which parts of the value a schema is for.
pub(super) enum Of {
    Itself,
    Member(String),
    Members,
    /// Those without a schema by name.
    OtherMembers,
    Names,
    Item(usize),
    ItemsFrom(usize),
    UnevaluatedMembers,
    UnevaluatedItems,
}

/// What becomes of its errors.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// The first is the error of the whole.
    Alone,
    Never,
    /// All are gathered when none of its siblings holds.
    Together,
}

/// What a byte of text costs at most, times the bytes of the compiled pattern: 0.023 ns were measured.
pub(super) const WEIGHT_PER_UNIT: u64 = 400;
/// A pattern whose automaton is small takes 1 to 2 ns for a byte.
const SMALL_PATTERN: u64 = WEIGHT_PER_UNIT / 8;
const AUTOMATON_BYTES_MAX: usize = 32 * 1024;

/// The rules of a schema; the first is the whole. Counts the patterns on, which are those of a whole document.
///
/// # Errors
/// Says which reference leads nowhere, or that there are too many patterns.
pub(super) fn read(schema: &Value, patterns: &mut usize) -> Result<Vec<Rule>, String> {
    Reader::new(schema, patterns).read(schema)
}

/// Finds the rules, from the whole to all that it leads to.
struct Reader<'s> {
    /// What `#` may stand for: the whole, and each schema with an id of its own.
    resources: Vec<&'s Value>,
    anchors: BTreeMap<&'s str, Vec<&'s Value>>,
    /// By where they are in memory: the same place is the same rule.
    numbers: BTreeMap<*const Value, usize>,
    /// By number.
    found: Vec<&'s Value>,
    patterns: &'s mut usize,
}

impl<'s> Reader<'s> {
    fn new(schema: &'s Value, patterns: &'s mut usize) -> Self {
        let mut reader = Self {
            resources: vec![schema],
            anchors: BTreeMap::new(),
            numbers: BTreeMap::new(),
            found: Vec::new(),
            patterns,
        };
        reader.find_names(schema, true);
        reader
    }

    fn find_names(&mut self, value: &'s Value, is_whole: bool) {
        match value {
            Value::Object(members) => {
                for (key, member) in members {
                    match (key.as_str(), member) {
                        ("$anchor" | "$dynamicAnchor", Value::String(name)) => {
                            self.anchors.entry(name).or_default().push(value);
                        }
                        ("$id" | "id", Value::String(id)) => match id.strip_prefix('#') {
                            Some(name) => self.anchors.entry(name).or_default().push(value),
                            None if is_whole => {}
                            None => self.resources.push(value),
                        },
                        _ => self.find_names(member, false),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.find_names(item, false)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn read(mut self, schema: &'s Value) -> Result<Vec<Rule>, String> {
        self.number(schema);
        let mut rules = Vec::new();
        while let Some(next) = self.found.get(rules.len()).copied() {
            rules.push(match next {
                Value::Object(members) => self.rule(members)?,
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::String(_)
                | Value::Array(_) => Rule::default(),
            });
        }
        Ok(rules)
    }

    fn number(&mut self, schema: &'s Value) -> usize {
        let next = self.numbers.len();
        let number = *self.numbers.entry(std::ptr::from_ref(schema)).or_insert(next);
        if number == next {
            self.found.push(schema);
        }
        number
    }

    fn rule(&mut self, members: &'s Map<String, Value>) -> Result<Rule, String> {
        let mut rule = Rule::default();
        for (key, value) in members {
            self.keyword(key, value, members, &mut rule)?;
        }
        Ok(rule)
    }

    fn keyword(
        &mut self,
        key: &str,
        value: &'s Value,
        beside: &Map<String, Value>,
        rule: &mut Rule,
    ) -> Result<(), String> {
        for (schema, of, told) in parts(key, value, beside) {
            rule.parts.push(Part { rule: self.number(schema), of, told });
        }
        match (key, value) {
            ("$ref" | "$dynamicRef" | "$recursiveRef", Value::String(reference)) => {
                for target in self.targets(reference)? {
                    let part =
                        Part { rule: self.number(target), of: Of::Itself, told: Told::Alone };
                    rule.parts.push(part);
                }
            }
            ("properties", Value::Object(schemas)) => rule.named.extend(schemas.keys().cloned()),
            ("patternProperties", Value::Object(schemas)) => {
                for pattern in schemas.keys() {
                    rule.name_patterns += self.weight(pattern)?;
                }
            }
            ("pattern", Value::String(pattern)) => {
                rule.pattern = self.weight(pattern)?;
                rule.bytes += bytes(value);
            }
            ("enum" | "const" | "required" | "dependentRequired", _) => {
                rule.literals += literals(value);
                rule.bytes += bytes(value);
            }
            ("not", _) => rule.bytes += bytes(value),
            ("uniqueItems", Value::Bool(true)) => rule.unique = true,
            ("unevaluatedProperties" | "unevaluatedItems", _) => rule.unevaluated = true,
            _ => {}
        }
        Ok(())
    }

    fn weight(&mut self, pattern: &str) -> Result<u64, String> {
        *self.patterns += 1;
        if *self.patterns > limits::SCHEMA_PATTERNS_MAX {
            let bound = limits::SCHEMA_PATTERNS_MAX;
            return Err(format!("the schemas have more than {bound} patterns"));
        }
        Ok(weight(pattern))
    }

    /// What a reference may lead to: it depends on which schema with an id is around it, and for a dynamic one on how the
    /// check has come there, so all that fit are taken.
    fn targets(&self, reference: &str) -> Result<Vec<&'s Value>, String> {
        let fragment = decode(reference.strip_prefix('#').unwrap_or(reference));
        let targets = if fragment.is_empty() || fragment.starts_with('/') {
            self.resources.iter().filter_map(|resource| resource.pointer(&fragment)).collect()
        } else {
            self.anchors.get(fragment.as_str()).cloned().unwrap_or_default()
        };
        if targets.is_empty() {
            return Err(format!("the reference `{reference}` leads nowhere"));
        }
        Ok(targets)
    }
}

/// Without the percent-encoding of URIs.
fn decode(fragment: &str) -> String {
    let mut parts = fragment.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let code = part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        if let Some(code) = code {
            bytes.push(code);
            bytes.extend_from_slice(&part.as_bytes()[2..]);
        } else {
            bytes.push(b'%');
            bytes.extend_from_slice(part.as_bytes());
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The schemas that stand at a keyword, and what they are for.
fn parts<'s>(
    key: &str,
    value: &'s Value,
    beside: &Map<String, Value>,
) -> Vec<(&'s Value, Of, Told)> {
    let all = |schemas: &'s [Value], told: Told| {
        schemas.iter().map(|schema| (schema, Of::Itself, told)).collect()
    };
    match (key, value) {
        ("allOf", Value::Array(schemas)) => all(schemas, Told::Alone),
        ("anyOf" | "oneOf", Value::Array(schemas)) => all(schemas, Told::Together),
        ("not" | "if", schema) => vec![(schema, Of::Itself, Told::Never)],
        ("then" | "else", schema) => vec![(schema, Of::Itself, Told::Alone)],
        ("dependentSchemas" | "dependencies", Value::Object(schemas)) => {
            schemas.values().map(|schema| (schema, Of::Itself, Told::Alone)).collect()
        }
        ("properties", Value::Object(schemas)) => schemas
            .iter()
            .map(|(name, schema)| (schema, Of::Member(name.clone()), Told::Alone))
            .collect(),
        ("patternProperties", Value::Object(schemas)) => {
            schemas.values().map(|schema| (schema, Of::Members, Told::Alone)).collect()
        }
        ("additionalProperties", schema) => vec![(schema, Of::OtherMembers, Told::Alone)],
        ("unevaluatedProperties", schema) => vec![(schema, Of::UnevaluatedMembers, Told::Alone)],
        ("propertyNames", schema) => vec![(schema, Of::Names, Told::Alone)],
        ("prefixItems" | "items", Value::Array(schemas)) => schemas
            .iter()
            .enumerate()
            .map(|(index, schema)| (schema, Of::Item(index), Told::Alone))
            .collect(),
        ("items" | "additionalItems", schema) => {
            let before = beside.get("prefixItems").or_else(|| beside.get("items"));
            let before = before.and_then(Value::as_array).map_or(0, Vec::len);
            vec![(schema, Of::ItemsFrom(before), Told::Alone)]
        }
        ("contains", schema) => vec![(schema, Of::ItemsFrom(0), Told::Never)],
        ("unevaluatedItems", schema) => vec![(schema, Of::UnevaluatedItems, Told::Alone)],
        _ => Vec::new(),
    }
}

/// Numbers and texts in the value. Texts alone are looked up, however many they are.
fn literals(value: &Value) -> u64 {
    match value {
        Value::Array(items) if items.iter().all(Value::is_string) => 1,
        Value::Array(items) => 1 + items.iter().map(literals).sum::<u64>(),
        Value::Object(members) => 1 + members.values().map(literals).sum::<u64>(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 1,
    }
}

fn bytes(value: &Value) -> u64 {
    value.to_string().len() as u64
}

/// What a byte of text costs to match, in units divided by [`WEIGHT_PER_UNIT`]: little when all states of the
/// automaton fit in memory, else the engine may have to keep track of all places in the pattern at once. A class is
/// taken as one of bytes here, which says the same of how the states multiply.
fn weight(pattern: &str) -> u64 {
    let automaton = dense::Builder::new()
        .configure(
            dense::Config::new()
                .dfa_size_limit(Some(AUTOMATON_BYTES_MAX))
                .determinize_size_limit(Some(2 * AUTOMATON_BYTES_MAX)),
        )
        .syntax(Config::new().unicode(false).utf8(false))
        .build(pattern);
    if automaton.is_ok() {
        return SMALL_PATTERN;
    }
    let fits = |bytes: &usize| {
        RegexBuilder::new(pattern).unicode(false).size_limit(*bytes).build().is_ok()
    };
    let sizes = std::iter::successors(Some(1024), |bytes| Some(bytes * 2));
    let size = sizes.take_while(|bytes| *bytes < limits::SCHEMA_PATTERN_BYTES_MAX).find(fits);
    size.unwrap_or(limits::SCHEMA_PATTERN_BYTES_MAX) as u64
}
