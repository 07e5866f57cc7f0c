//! What an expression can see, as JSON text or as jq's values, each made at most once for an evaluation.

use std::{borrow::Cow, cell::RefCell, fmt::Write as _};

use baton_core::{Json, Scope, Timestamp};
use jaq_json::Val;

use crate::{jq::Root, json, limits, meter::Meter, program::Program};

pub(crate) struct View<'a> {
    scope: &'a Scope<'a>,
    program: &'a Program,
    pub(crate) meter: &'a Meter,
    parsed: RefCell<Vec<(Root, Val)>>,
}

/// The variables that are always there.
pub(crate) const ALWAYS: [&str; 6] =
    ["$context", "$input", "$output", "$task", "$workflow", "$runtime"];

impl<'a> View<'a> {
    pub(crate) fn new(scope: &'a Scope<'a>, program: &'a Program, meter: &'a Meter) -> Self {
        Self { scope, program, meter, parsed: RefCell::new(Vec::new()) }
    }

    /// `.`
    pub(crate) fn input(&self) -> &'a Json {
        self.scope.value
    }

    /// `Ok` is a value of the scope; `Err` was built for the question.
    pub(crate) fn text(&self, root: &Root) -> Result<&'a Json, Cow<'a, str>> {
        let Root::Variable { name, definition } = root else { return Ok(self.scope.value) };
        if let Some((_, value)) =
            self.scope.variables.iter().find(|(variable, _)| **variable == **name)
        {
            return Ok(value);
        }
        let found = match name.as_str() {
            "context" => Some(&self.scope.instance.context),
            "input" => self.scope.input,
            "output" => self.scope.output,
            "workflow" => return Err(Cow::Owned(self.workflow(*definition))),
            "task" => return Err(self.task(*definition).map_or(Cow::Borrowed("null"), Cow::Owned)),
            "runtime" => return Err(Cow::Borrowed(RUNTIME)),
            _ => None,
        };
        found.ok_or(Cow::Borrowed("null"))
    }

    pub(crate) fn value(&self, root: &Root) -> Result<Val, String> {
        if let Some((_, value)) = self.parsed.borrow().iter().find(|(known, _)| known == root) {
            return Ok(value.clone());
        }
        let text = match root {
            // No variable has this name: the builder sees to it.
            Root::Variable { name, .. } if name == "secrets" => Err(Cow::Owned(self.secrets()?)),
            Root::Variable { .. } | Root::Value => self.text(root),
        };
        let text = match &text {
            Ok(json) => json.as_str(),
            Err(built) => built,
        };
        let value = self.read(text)?;
        self.parsed.borrow_mut().push((root.clone(), value.clone()));
        Ok(value)
    }

    /// Pays for reading a text as jq's value.
    pub(crate) fn read(&self, text: &str) -> Result<Val, String> {
        // Reading takes some 20 ns a byte where values are small.
        if !self.meter.pay(1 + text.len() as u64) {
            return Err("the expression takes too much work".into());
        }
        // jaq goes as deep as the text does: what a loop wraps again and again would end the process.
        if json::is_too_deep(text) {
            return Err(format!("a value is nested more than {} deep", limits::JSON_DEPTH_MAX));
        }
        jaq_json::read::parse_single(text.as_bytes()).map_err(|error| error.to_string())
    }

    /// A placeholder for each secret; expressions reach only those that they name.
    fn secrets(&self) -> Result<String, String> {
        let activation = self.scope.task.and_then(|task| task.activation);
        let activation = activation.ok_or("secrets are for the arguments of steps only")?;
        let key = self.program.key.as_ref().ok_or("the engine has no key for secrets")?;
        let mut out = String::from("{");
        for name in &self.program.secrets {
            if out.len() > 1 {
                out.push(',');
            }
            json::write_string(name, &mut out);
            out.push(':');
            let placeholder = key.placeholder(self.scope.instance.id, activation, name);
            json::write_string(&placeholder, &mut out);
        }
        out.push('}');
        Ok(out)
    }

    fn workflow(&self, definition: bool) -> String {
        let instance = self.scope.instance;
        let mut out = String::from("{\"id\":");
        json::write_string(&instance.id.to_string(), &mut out);
        if definition {
            out.push_str(",\"definition\":");
            out.push_str(&self.program.definition);
        }
        out.push_str(",\"input\":");
        out.push_str(&instance.started.input);
        out.push_str(",\"startedAt\":");
        write_time(instance.started_at, &mut out);
        out.push('}');
        out
    }

    fn task(&self, definition: bool) -> Option<String> {
        let task = self.scope.task?;
        let mut out = String::from("{\"name\":");
        json::write_string(task.name, &mut out);
        out.push_str(",\"reference\":");
        json::write_string(task.pointer, &mut out);
        if definition {
            out.push_str(",\"definition\":");
            out.push_str(
                json::at_pointer(&self.program.definition, task.pointer).unwrap_or("null"),
            );
        }
        out.push_str(",\"input\":");
        out.push_str(task.raw_input);
        out.push_str(",\"output\":");
        out.push_str(task.raw_output.map_or("null", |output| output));
        out.push_str(",\"startedAt\":");
        write_time(task.started_at, &mut out);
        out.push('}');
        Some(out)
    }
}

const RUNTIME: &str =
    concat!("{\"name\":\"baton\",\"version\":\"", env!("CARGO_PKG_VERSION"), "\",\"metadata\":{}}");

fn write_time(at: Timestamp, out: &mut String) {
    out.push_str("{\"iso8601\":\"");
    write_iso8601(at, out);
    // Writing to a string cannot fail.
    let _infallible = write!(
        out,
        "\",\"epoch\":{{\"seconds\":{},\"milliseconds\":{}}}}}",
        at.0.div_euclid(1_000),
        at.0
    );
}

/// RFC 3339, in UTC.
pub(crate) fn write_iso8601(at: Timestamp, out: &mut String) {
    let (days, ms_of_day) = (at.0.div_euclid(86_400_000), at.0.rem_euclid(86_400_000));
    let (year, month, day) = civil(days);
    let (seconds, ms) = (ms_of_day / 1_000, ms_of_day % 1_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let _infallible =
        write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z");
}

/// Year, month and day of a day since 1970 (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_utc() {
        let written = |ms| {
            let mut out = String::new();
            write_time(Timestamp(ms), &mut out);
            json::member(&out, "iso8601").unwrap().to_owned()
        };
        assert_eq!(written(0), "\"1970-01-01T00:00:00.000Z\"");
        assert_eq!(written(1_709_210_096_789), "\"2024-02-29T12:34:56.789Z\"");
        assert_eq!(written(-1), "\"1969-12-31T23:59:59.999Z\"");
    }
}
