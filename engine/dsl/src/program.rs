//! The evaluator of one workflow: its expressions and schemas, compiled, by their numbers.

use std::{borrow::Cow, collections::BTreeMap, fmt, sync::Arc};

use baton_core::{
    ActivationId, Duration, Error, Evaluator, EventDefaults, InstanceId, Json, Scope, Timestamp,
    error::Standard,
    workflow::{self, Expression, Name, Read, Schema},
};

use crate::{
    duration,
    jq::{self, Jq, Output},
    json::{self, Shape},
    limits, mask,
    matcher::{self, Matcher},
    meter::Meter,
    schedule::Times,
    schema,
    secrets::SecretsKey,
    uri::Template,
    view::{self, View},
};

/// What the expressions and schemas of one workflow compile to. Owns everything, so share it in an [`Arc`].
pub struct Program {
    pub(crate) codes: Vec<Code>,
    pub(crate) schemas: Vec<schema::Schema>,
    pub(crate) matchers: Vec<Matcher>,
    pub(crate) times: Vec<Times>,
    /// The document as JSON: `$workflow.definition`.
    pub(crate) definition: String,
    /// `use.secrets`
    pub(crate) secrets: Vec<Arc<str>>,
    pub(crate) key: Option<SecretsKey>,
}

pub(crate) enum Code {
    Constant(Json),
    Duration(Duration),
    Single(Jq),
    Template(Vec<Segment>),
}

pub(crate) enum Segment {
    Text(String),
    Jq(Jq),
    /// Loose mode: what cannot be evaluated is the literal.
    Loose(Jq, String),
    /// Expanded with the keys of `.`
    Uri(Template),
    /// Must give a text. Loose mode: what does not is the template.
    UriFrom(Jq, Option<Template>),
    /// Must give a duration; written as ISO 8601.
    Duration(Jq),
}

/// The evaluator of one decision. What one task asks for shares what one expression may take, however many there are:
/// [`Evaluator::refill`] begins the next.
pub struct Turn<'p> {
    program: &'p Program,
    meter: Meter,
    guards: bool,
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program")
            .field("codes", &self.codes.len())
            .field("schemas", &self.schemas.len())
            .finish_non_exhaustive()
    }
}

impl Evaluator for Turn<'_> {
    fn value(&self, expression: Expression, scope: &Scope<'_>) -> Result<Json, Error> {
        match self.program.code(expression)? {
            Code::Constant(json) => Ok(json.clone()),
            Code::Duration(duration) => {
                Ok(Json::from_text(json::string(&duration::write(*duration))))
            }
            Code::Single(jq) => {
                let view = View::new(scope, self.program, &self.meter);
                jq.run(&view).map(Output::into_json).map_err(failed)
            }
            Code::Template(segments) => {
                let view = View::new(scope, self.program, &self.meter);
                let mut out = String::new();
                for segment in segments {
                    fill(segment, &view, &mut out).map_err(failed)?;
                }
                if json::is_too_deep(&out) {
                    return Err(failed(jq::too_deep()));
                }
                Ok(Json::from_text(out))
            }
        }
    }

    fn holds(&self, expression: Expression, scope: &Scope<'_>) -> Result<bool, Error> {
        match self.program.code(expression)? {
            Code::Single(jq) => {
                let view = View::new(scope, self.program, &self.meter);
                jq.run(&view).map(|output| json::is_true(output.text())).map_err(failed)
            }
            Code::Constant(_) | Code::Duration(_) | Code::Template(_) => {
                self.value(expression, scope).map(|json| json::is_true(&json))
            }
        }
    }

    fn items(&self, expression: Expression, scope: &Scope<'_>) -> Result<Vec<Json>, Error> {
        let value = self.value(expression, scope)?;
        let Shape::Array = json::shape(&value) else {
            return Err(failed(format!("an array was wanted, and {} came", name(&value))));
        };
        Ok(json::elements(&value).into_iter().map(compact).collect())
    }

    fn duration(&self, expression: Expression, scope: &Scope<'_>) -> Result<Duration, Error> {
        if let Code::Duration(duration) = self.program.code(expression)? {
            return Ok(*duration);
        }
        let value = self.value(expression, scope)?;
        duration::from_json(&value).map_err(|error| failed(error.to_string()))
    }

    fn error(&self, expression: Expression, scope: &Scope<'_>) -> Result<Error, Error> {
        let value = self.value(expression, scope)?;
        if json::shape(&value) != Shape::Object {
            return Err(failed(format!("an error object was wanted, and {} came", name(&value))));
        }
        let text = |key: &str| -> Result<Option<Arc<str>>, Error> {
            match json::member(&value, key) {
                None | Some("null") => Ok(None),
                Some(member) => match json::as_string(member) {
                    Some(text) => Ok(Some(Arc::from(text))),
                    None => Err(failed(format!(
                        "the error's {key} must be a string, and {} came",
                        name(member)
                    ))),
                },
            }
        };
        let status = json::member(&value, "status").and_then(status);
        Ok(Error {
            kind: text("type")?.ok_or_else(|| failed("the error has no type".into()))?,
            status: status.ok_or_else(|| {
                failed("the error's status must be a number from 100 to 599".into())
            })?,
            title: text("title")?,
            detail: text("detail")?,
            instance: text("instance")?,
        })
    }

    fn error_value(&self, error: &Error) -> Json {
        let mut out = String::from("{\"type\":");
        json::write_string(&error.kind, &mut out);
        out.push_str(",\"status\":");
        out.push_str(&error.status.to_string());
        for (key, text) in
            [("title", &error.title), ("detail", &error.detail), ("instance", &error.instance)]
        {
            if let Some(text) = text {
                out.push_str(",\"");
                out.push_str(key);
                out.push_str("\":");
                json::write_string(text, &mut out);
            }
        }
        out.push('}');
        Json::from_text(out)
    }

    fn matches(&self, matcher: workflow::Matcher, scope: &Scope<'_>) -> bool {
        let Some(matcher) = self.program.matchers.get(matcher.0 as usize) else { return false };
        matcher.fits(scope.value, &self.meter, &mut |jq, value| {
            let value = Json::from_text(value);
            let scope = Scope { value: &value, ..*scope };
            matcher::ask(jq, &View::new(&scope, self.program, &self.meter))
        })
    }

    fn event(
        &self,
        expression: Expression,
        defaults: &EventDefaults,
        scope: &Scope<'_>,
    ) -> Result<Json, Error> {
        let described = self.value(expression, scope)?;
        cloud_event(&described, defaults).map_err(failed)
    }

    fn read(&self, event: &Json, read: Read) -> Json {
        let data = json::member(event, "data");
        let base64 = json::member(event, "data_base64");
        match read {
            Read::Envelope => event.clone(),
            Read::Data => compact(data.or(base64).unwrap_or("null")),
            Read::Raw => {
                let data = data.or(base64).unwrap_or("null");
                if json::as_string(data).is_some() {
                    return compact(data);
                }
                let mut text = String::new();
                json::write_compact(data, &mut text);
                Json::from_text(json::string(&text))
            }
        }
    }

    fn child(&self, expression: Expression, scope: &Scope<'_>) -> Result<(Name, Json), Error> {
        let described = self.value(expression, scope)?;
        let text =
            |key: &str| json::member(&described, key).and_then(json::as_string).unwrap_or_default();
        let version = text("version");
        let version = if version == "latest" { "" } else { &*version };
        let name = Name {
            namespace: text("namespace").into(),
            name: text("name").into(),
            version: version.into(),
        };
        let input = json::member(&described, "input").map_or_else(|| scope.value.clone(), compact);
        Ok((name, input))
    }

    fn tick(
        &self,
        schedule: workflow::Schedule,
        before: Option<Timestamp>,
        started: Timestamp,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Error> {
        let times = self.program.times.get(schedule.0 as usize).ok_or_else(unknown)?;
        Ok(times.next(before, started, now))
    }

    fn validate(&self, schema: Schema, value: &Json) -> Result<(), Error> {
        let Some(compiled) = self.program.schemas.get(schema.0 as usize) else {
            return Err(unknown());
        };
        compiled.check(value, &self.meter).map_err(|problem| {
            Error::standard(Standard::Validation, "The value does not match its schema", &problem)
        })
    }

    fn guards(&self) -> bool {
        self.guards
    }

    fn mask(&self, value: &Json, field: &str) -> Json {
        // Read once, byte by byte. What cannot be paid is masked all the same.
        let _ = self.meter.pay(value.len() as u64 / limits::MASKED_BYTES_PER_UNIT);
        Json::from_text(mask::mask(value, field))
    }

    fn refill(&self) {
        self.meter.refill();
    }

    fn spent(&self) -> u64 {
        self.meter.spent()
    }
}

impl Turn<'_> {
    /// The same, for a workflow whose steps go out only when policies allow it.
    pub fn guarded(self, guards: bool) -> Self {
        Self { guards, ..self }
    }

    /// The same, for a decision about an event: what its filters and correlations take together is bounded lower, for
    /// each event is shown to many.
    pub fn about_event(self) -> Self {
        self.meter.fill(limits::LISTEN_WORK_MAX);
        self
    }
}

impl Program {
    /// Evaluates what one decision asks for, and counts the work of it.
    pub fn turn(&self) -> Turn<'_> {
        Turn { program: self, meter: Meter::new(), guards: false }
    }

    /// The same where nobody else waits for it: the processor may take longer.
    pub fn patient_turn(&self) -> Turn<'_> {
        Turn { program: self, meter: Meter::patient(), guards: false }
    }

    /// The one type that the events of a filter have, when its author names it.
    pub fn event_type(&self, matcher: workflow::Matcher) -> Option<Cow<'_, str>> {
        self.matchers.get(matcher.0 as usize)?.event_type()
    }

    /// Whether an expression sees nothing but `.`, so that it says the same of an event for every instance.
    pub fn sees_only_its_value(&self, expression: Expression) -> bool {
        match self.codes.get(expression.0 as usize) {
            Some(Code::Single(jq)) => jq.sees_only_its_value(),
            Some(Code::Constant(_) | Code::Duration(_)) => true,
            Some(Code::Template(_)) | None => false,
        }
    }

    /// Hands in the key that placeholders of secrets are made with. Without it, no expression can mention a secret.
    pub fn with_key(self, key: SecretsKey) -> Self {
        Self { key: Some(key), ..self }
    }

    /// What stands for these secrets in the arguments of the step: from placeholder to name.
    pub fn placeholders(
        &self,
        instance: InstanceId,
        activation: ActivationId,
        names: &[Arc<str>],
    ) -> BTreeMap<String, String> {
        let placeholder = |key: &SecretsKey, name: &Arc<str>| {
            (key.placeholder(instance, activation, name), name.to_string())
        };
        self.key
            .iter()
            .flat_map(|key| names.iter().map(move |name| placeholder(key, name)))
            .collect()
    }

    /// The document as JSON text.
    pub fn definition(&self) -> &str {
        &self.definition
    }

    fn code(&self, expression: Expression) -> Result<&Code, Error> {
        self.codes.get(expression.0 as usize).ok_or_else(unknown)
    }
}

fn is_attribute(text: &str) -> bool {
    (1..=limits::EVENT_ATTRIBUTE_BYTES_MAX).contains(&text.len())
}

/// A CloudEvent 1.0 in its JSON form.
fn cloud_event(described: &str, defaults: &EventDefaults) -> Result<Json, String> {
    if json::shape(described) != Shape::Object {
        return Err(format!("an event was wanted, and {} came", name(described)));
    }
    let mut out = String::from("{\"specversion\":\"1.0\"");
    let mut put = |key: &str, value: &str| {
        out.push_str(",\"");
        out.push_str(key);
        out.push_str("\":");
        json::write_compact(value, &mut out);
    };
    let mut time = String::new();
    view::write_iso8601(defaults.time, &mut time);
    for (key, default) in [
        ("id", Some(&defaults.id)),
        ("source", Some(&defaults.source)),
        ("type", None),
        ("time", Some(&time)),
    ] {
        match json::member(described, key).filter(|value| *value != "null") {
            Some(value) if json::as_string(value).is_some_and(|text| is_attribute(&text)) => {
                put(key, value);
            }
            Some(value) if json::as_string(value).is_some() => {
                return Err(format!(
                    "the event's {key} must have 1 to {} bytes",
                    limits::EVENT_ATTRIBUTE_BYTES_MAX
                ));
            }
            Some(value) => {
                return Err(format!("the event's {key} must be a text, and {} came", name(value)));
            }
            None => match default {
                Some(default) => put(key, &json::string(default)),
                None => return Err(format!("the event has no {key}")),
            },
        }
    }
    json::members(described, |key, value| {
        let written = matches!(key, "specversion" | "id" | "source" | "type" | "time");
        if !written && value != "null" {
            put(key, value);
        }
    });
    out.push('}');
    Ok(Json::from_text(out))
}

fn fill(segment: &Segment, view: &View<'_>, out: &mut String) -> Result<(), String> {
    match segment {
        Segment::Text(text) => out.push_str(text),
        Segment::Jq(jq) => jq.run(view)?.write_into(out),
        Segment::Loose(jq, literal) => match jq.run(view) {
            Ok(output) => output.write_into(out),
            Err(_) => out.push_str(literal),
        },
        Segment::Uri(template) => json::write_string(&template.expand(view.input())?, out),
        Segment::UriFrom(jq, fallback) => {
            let given = jq.run(view);
            let text = given.as_ref().ok().and_then(|output| json::as_string(output.text()));
            match (text, fallback) {
                (Some(uri), _) => json::write_string(&uri, out),
                (None, Some(template)) => json::write_string(&template.expand(view.input())?, out),
                (None, None) => {
                    let given = given?;
                    return Err(format!("a URI was wanted, and {} came", name(given.text())));
                }
            }
        }
        Segment::Duration(jq) => {
            let given = jq.run(view)?;
            let read = duration::from_json(given.text()).map_err(|error| error.to_string())?;
            json::write_string(&duration::write(read), out);
        }
    }
    if out.len() > limits::RESULT_BYTES_MAX {
        return Err(jq::too_large());
    }
    Ok(())
}

fn compact(text: &str) -> Json {
    let mut out = String::with_capacity(text.len());
    json::write_compact(text, &mut out);
    Json::from_text(out)
}

fn status(text: &str) -> Option<u16> {
    let whole = text.strip_suffix(".0").unwrap_or(text);
    whole.parse().ok().filter(|status| (100..600).contains(status))
}

fn name(text: &str) -> &'static str {
    match json::shape(text) {
        Shape::Null => "null",
        Shape::Array => "an array",
        Shape::Object => "an object",
        Shape::Other("string") => "a string",
        Shape::False | Shape::Other("boolean") => "a boolean",
        Shape::Other(_) => "a number",
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in `map_err`")]
fn failed(detail: String) -> Error {
    Error::standard(Standard::Expression, "The expression cannot be evaluated", &detail)
}

/// A number of another workflow's: only we can get that wrong, and it must not end the process.
fn unknown() -> Error {
    Error::standard(
        Standard::Configuration,
        "The workflow has no such expression",
        "it was compiled from another document",
    )
}
