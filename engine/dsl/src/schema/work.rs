//! How much work it can be to check a value against a schema: counted before it is done, and refused above a bound.
//!
//! A schema that refers to itself may look at each part of a value in ways that double with each level of the value, and
//! one that nests `unevaluatedProperties` with each level of the schema. The count follows each way that a validator
//! without short cuts could go, and stops at the bound, so that it is no more work itself.

use serde_json::Value;

use super::rules::{self, Of, Part, Rule, Told};
use crate::limits;

/// What a schema looks at, rule by rule; the first is the whole.
pub(crate) struct Work {
    rules: Vec<Rule>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    Ask,
    Tell,
    Gather,
    /// Which members and items have been looked at, for the `unevaluated…` of a schema around.
    Mark,
}

/// Units of work are some 10 ns, as those of expressions: a step of [`Pass::Ask`] was measured to take 4 to 8 ns of the
/// validator's time, and as much to count.
const STEP: u64 = 1;
/// An error costs 100 to 200 ns, and the text of its place.
const ERROR: u64 = 20;
const BYTES_PER_UNIT: u64 = 64;
/// Putting an item in order among the others.
const ORDER: u64 = 10;

impl Work {
    /// Counts the patterns on, which are those of a whole document.
    ///
    /// # Errors
    /// Says what is wrong with a schema that nothing could be checked against within the bounds.
    pub(crate) fn of(schema: &Value, patterns: &mut usize) -> Result<Self, String> {
        let rules = rules::read(schema, patterns)?;
        let mut whole = Whole { rules: &rules, known: vec![Known::New; rules.len()] };
        for rule in 0..rules.len() {
            whole.cost(rule, 0)?;
        }
        Ok(Self { rules })
    }

    /// The units that it can take to find out whether the value matches; `None` when these are too many.
    pub(crate) fn to_ask(&self, value: &Value) -> Option<u64> {
        self.count(value, Pass::Ask)
    }

    /// As [`Work::to_ask`], to say what does not match.
    pub(crate) fn to_tell(&self, value: &Value) -> Option<u64> {
        self.count(value, Pass::Tell)
    }

    /// As [`Work::to_ask`], to say everything that does not match.
    pub(crate) fn to_tell_all(&self, value: &Value) -> Option<u64> {
        self.count(value, Pass::Gather)
    }

    fn count(&self, value: &Value, pass: Pass) -> Option<u64> {
        let mut count = Count { rules: &self.rules, left: limits::CHECK_WORK_MAX };
        count.visit(0, value, At { depth: 0, place_bytes: 0 }, pass)?;
        Some(limits::CHECK_WORK_MAX - count.left)
    }
}

struct Count<'r> {
    rules: &'r [Rule],
    left: u64,
}

/// How deep the validator has called itself by now, and how long the pointer to the value is.
#[derive(Clone, Copy)]
struct At {
    depth: usize,
    place_bytes: u64,
}

impl At {
    fn below(self, token_bytes: usize) -> Self {
        Self { place_bytes: self.place_bytes + token_bytes as u64 + 1, ..self }
    }
}

impl Count<'_> {
    fn pay(&mut self, units: u64) -> Option<()> {
        self.left = self.left.checked_sub(units)?;
        Some(())
    }

    fn visit(&mut self, rule: usize, value: &Value, at: At, pass: Pass) -> Option<()> {
        let at = At { depth: at.depth + 1, ..at };
        if at.depth > limits::CHECK_DEPTH_MAX {
            return None;
        }
        let rule = &self.rules[rule];
        self.pay_for(rule, value, at, pass)?;
        for part in &rule.parts {
            self.part(rule, part, value, at, pass)?;
        }
        Some(())
    }

    fn pay_for(&mut self, rule: &Rule, value: &Value, at: At, pass: Pass) -> Option<()> {
        self.pay(match pass {
            Pass::Gather => ERROR + (rule.bytes + at.place_bytes) / BYTES_PER_UNIT,
            Pass::Ask | Pass::Tell | Pass::Mark => STEP,
        })?;
        self.pay(rule.literals)?;
        let text = |bytes: usize, weight: u64| {
            let bytes = bytes as u64;
            bytes / BYTES_PER_UNIT + bytes.saturating_mul(weight) / rules::WEIGHT_PER_UNIT
        };
        match value {
            Value::String(given) => self.pay(text(given.len(), rule.pattern)),
            Value::Object(members) if rule.name_patterns > 0 => {
                members.keys().try_for_each(|name| self.pay(text(name.len(), rule.name_patterns)))
            }
            Value::Array(items) if rule.unique => {
                items.iter().try_for_each(|item| self.order(item))
            }
            Value::Object(_)
            | Value::Array(_)
            | Value::Null
            | Value::Bool(_)
            | Value::Number(_) => Some(()),
        }
    }

    fn order(&mut self, value: &Value) -> Option<()> {
        self.pay(ORDER)?;
        match value {
            Value::Array(items) => items.iter().try_for_each(|item| self.order(item)),
            Value::Object(members) => members.values().try_for_each(|member| self.order(member)),
            Value::String(text) => self.pay(text.len() as u64 / BYTES_PER_UNIT),
            Value::Null | Value::Bool(_) | Value::Number(_) => Some(()),
        }
    }

    fn part(&mut self, rule: &Rule, part: &Part, value: &Value, at: At, pass: Pass) -> Option<()> {
        if pass == Pass::Mark {
            return match part.of {
                Of::Itself => self.mark(part, value, at),
                Of::UnevaluatedMembers | Of::UnevaluatedItems => {
                    self.follow(rule, part, value, at, Pass::Ask)
                }
                Of::Member(_)
                | Of::Members
                | Of::OtherMembers
                | Of::Names
                | Of::Item(_)
                | Of::ItemsFrom(_) => Some(()),
            };
        }
        if rule.unevaluated && matches!(part.of, Of::Itself) {
            self.mark(part, value, at)?;
        }
        match (pass, part.told) {
            (Pass::Ask, _) | (_, Told::Never) => self.follow(rule, part, value, at, Pass::Ask),
            (_, Told::Alone) => self.follow(rule, part, value, at, pass),
            (_, Told::Together) => {
                self.follow(rule, part, value, at, Pass::Ask)?;
                self.follow(rule, part, value, at, Pass::Gather)
            }
        }
    }

    fn mark(&mut self, part: &Part, value: &Value, at: At) -> Option<()> {
        self.visit(part.rule, value, at, Pass::Ask)?;
        self.visit(part.rule, value, at, Pass::Mark)
    }

    fn follow(
        &mut self,
        rule: &Rule,
        part: &Part,
        value: &Value,
        at: At,
        pass: Pass,
    ) -> Option<()> {
        self.pay(STEP)?;
        match (&part.of, value) {
            (Of::Itself, _) => self.visit(part.rule, value, at, pass),
            (Of::Member(name), Value::Object(members)) => members
                .get(name)
                .map_or(Some(()), |value| self.visit(part.rule, value, at.below(name.len()), pass)),
            (Of::Members, Value::Object(members)) => {
                members.iter().try_for_each(|(name, value)| {
                    self.visit(part.rule, value, at.below(name.len()), pass)
                })
            }
            (Of::OtherMembers | Of::UnevaluatedMembers, Value::Object(members)) => {
                members.iter().filter(|(name, _)| !rule.named.contains(*name)).try_for_each(
                    |(name, value)| self.visit(part.rule, value, at.below(name.len()), pass),
                )
            }
            (Of::Names, Value::Object(members)) => members.keys().try_for_each(|name| {
                self.visit(part.rule, &Value::String(name.clone()), at.below(name.len()), pass)
            }),
            (Of::Item(index), Value::Array(items)) => items
                .get(*index)
                .map_or(Some(()), |item| self.visit(part.rule, item, at.below(1), pass)),
            (Of::ItemsFrom(index), Value::Array(items)) => items
                .iter()
                .skip(*index)
                .try_for_each(|item| self.visit(part.rule, item, at.below(1), pass)),
            (Of::UnevaluatedItems, Value::Array(items)) => {
                items.iter().try_for_each(|item| self.visit(part.rule, item, at.below(1), pass))
            }
            _ => Some(()),
        }
    }
}

/// What a rule costs at any value, whatever it is: looked for before there is one.
struct Whole<'r> {
    rules: &'r [Rule],
    known: Vec<Known>,
}

#[derive(Clone, Copy)]
enum Known {
    New,
    Open,
    Done { ask: u64, mark: u64, depth: usize },
}

impl Whole<'_> {
    fn cost(&mut self, rule: usize, above: usize) -> Result<(u64, u64, usize), String> {
        match self.known[rule] {
            Known::Done { ask, mark, depth } => return Ok((ask, mark, depth)),
            Known::Open => {
                return Err(
                    "it refers to itself for the same value, so that no check would end".into()
                );
            }
            Known::New => {}
        }
        self.known[rule] = Known::Open;
        let (mut ask, mut mark, mut depth) = (STEP, STEP, 1);
        let rules = self.rules;
        let this = &rules[rule];
        for part in this.parts.iter().filter(|part| matches!(part.of, Of::Itself)) {
            if above > limits::CHECK_DEPTH_MAX {
                return Err(too_much());
            }
            let (part_ask, part_mark, part_depth) = self.cost(part.rule, above + 1)?;
            let both = part_ask.saturating_add(part_mark);
            mark = mark.saturating_add(both);
            ask = ask.saturating_add(part_ask);
            if this.unevaluated {
                ask = ask.saturating_add(both);
            }
            depth = depth.max(part_depth + 1);
        }
        if ask > limits::CHECK_WORK_MAX || depth > limits::CHECK_DEPTH_MAX {
            return Err(too_much());
        }
        self.known[rule] = Known::Done { ask, mark, depth };
        Ok((ask, mark, depth))
    }
}

fn too_much() -> String {
    "it takes too much work to check anything against it: its parts contain each other in too many ways".into()
}
