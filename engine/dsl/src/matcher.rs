//! Tests of an event's attributes: what a filter's `with` compiles to.

use regex::Regex;

use crate::{
    jq::{Jq, Output},
    json::{self, Shape},
    meter::Meter,
    view::View,
};

/// Every attribute must pass; one that the event does not have is `null`.
pub(crate) struct Matcher {
    pub attributes: Vec<(String, Test)>,
}

pub(crate) enum Test {
    /// The value as compact JSON.
    Equals(String),
    /// A text that this fits.
    Fits(Regex),
    /// What it gives: `true` and `false` decide, anything else must be equal to the value. `.` is the value.
    Gives(Jq),
    /// An object that has these members, and perhaps others.
    Has(Vec<(String, Test)>),
}

impl Matcher {
    /// `event` is the whole event; `view` makes a view of the same scope with another `.`.
    pub(crate) fn fits(
        &self,
        event: &str,
        meter: &Meter,
        holds: &mut impl FnMut(&Jq, &str) -> Option<String>,
    ) -> bool {
        has(&self.attributes, event, meter, holds)
    }

    /// The one type that its events have, when the author names it.
    pub(crate) fn event_type(&self) -> Option<std::borrow::Cow<'_, str>> {
        let (_, test) = self.attributes.iter().find(|(key, _)| key == "type")?;
        if let Test::Equals(text) = test { json::as_string(text) } else { None }
    }
}

fn has(
    members: &[(String, Test)],
    object: &str,
    meter: &Meter,
    holds: &mut impl FnMut(&Jq, &str) -> Option<String>,
) -> bool {
    json::shape(object) == Shape::Object
        && members.iter().all(|(key, test)| {
            passes(test, json::member(object, key).unwrap_or("null"), meter, holds)
        })
}

fn passes(
    test: &Test,
    value: &str,
    meter: &Meter,
    holds: &mut impl FnMut(&Jq, &str) -> Option<String>,
) -> bool {
    match test {
        Test::Equals(wanted) => *wanted == compact(value),
        Test::Fits(regex) => json::as_string(value).is_some_and(|text| {
            meter.pay_pattern(regex.as_str().as_bytes(), text.len() as u64) && regex.is_match(&text)
        }),
        Test::Gives(jq) => holds(jq, value).is_some_and(|given| match given.as_str() {
            "true" => true,
            "false" | "null" => false,
            given => given == compact(value),
        }),
        Test::Has(members) => has(members, value, meter, holds),
    }
}

fn compact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    json::write_compact(text, &mut out);
    out
}

/// What an expression says of a value; `None` when it cannot be evaluated.
pub(crate) fn ask(jq: &Jq, view: &View<'_>) -> Option<String> {
    jq.run(view).ok().map(|output: Output<'_>| compact(output.text()))
}
