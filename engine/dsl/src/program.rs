//! The evaluator of one workflow: its expressions and schemas, compiled, by their numbers.

use std::{fmt, sync::Arc};

use baton_core::{
    Duration, Error, Evaluator, Json, Scope,
    error::Standard,
    workflow::{Expression, Schema},
};
use jsonschema::Validator;

use crate::{
    duration,
    jq::{Jq, Output},
    json::{self, Shape},
    limits, schema,
    view::View,
};

/// What the expressions and schemas of one workflow compile to. Owns everything, so share it in an [`Arc`].
pub struct Program {
    pub(crate) codes: Vec<Code>,
    pub(crate) schemas: Vec<Validator>,
    /// The document as JSON: `$workflow.definition`.
    pub(crate) definition: String,
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
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program")
            .field("codes", &self.codes.len())
            .field("schemas", &self.schemas.len())
            .finish_non_exhaustive()
    }
}

impl Evaluator for Program {
    fn value(&self, expression: Expression, scope: &Scope<'_>) -> Result<Json, Error> {
        match self.code(expression)? {
            Code::Constant(json) => Ok(json.clone()),
            Code::Duration(duration) => {
                Ok(Json::from_text(json::string(&duration::write(*duration))))
            }
            Code::Single(jq) => {
                let view = View::new(scope, &self.definition);
                jq.run(&view).map(Output::into_json).map_err(failed)
            }
            Code::Template(segments) => {
                let view = View::new(scope, &self.definition);
                let mut out = String::new();
                for segment in segments {
                    fill(segment, &view, &mut out).map_err(failed)?;
                }
                Ok(Json::from_text(out))
            }
        }
    }

    fn holds(&self, expression: Expression, scope: &Scope<'_>) -> Result<bool, Error> {
        match self.code(expression)? {
            Code::Single(jq) => {
                let view = View::new(scope, &self.definition);
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
        if let Code::Duration(duration) = self.code(expression)? {
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

    fn validate(&self, schema: Schema, value: &Json) -> Result<(), Error> {
        let Some(compiled) = self.schemas.get(schema.0 as usize) else { return Err(unknown()) };
        schema::check(compiled, value).map_err(|problem| {
            Error::standard(Standard::Validation, "The value does not match its schema", &problem)
        })
    }
}

impl Program {
    /// The document as JSON text.
    pub fn definition(&self) -> &str {
        &self.definition
    }

    fn code(&self, expression: Expression) -> Result<&Code, Error> {
        self.codes.get(expression.0 as usize).ok_or_else(unknown)
    }
}

fn fill(segment: &Segment, view: &View<'_>, out: &mut String) -> Result<(), String> {
    match segment {
        Segment::Text(text) => out.push_str(text),
        Segment::Jq(jq) => put(&jq.run(view)?, out),
        Segment::Loose(jq, literal) => match jq.run(view) {
            Ok(output) => put(&output, out),
            Err(_) => out.push_str(literal),
        },
    }
    if out.len() > limits::RESULT_BYTES_MAX {
        return Err(format!("the result is over {} bytes", limits::RESULT_BYTES_MAX));
    }
    Ok(())
}

fn put(output: &Output<'_>, out: &mut String) {
    match output {
        Output::New(text) => out.push_str(text),
        Output::Whole(json) => json::write_compact(json, out),
        Output::Part(text) => json::write_compact(text, out),
    }
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
