//! Expressions for tests: a table of small terms, asked by number as the compiled ones are.

use baton_core::{
    Duration, Error, Evaluator, EventDefaults, Json, Scope, Timestamp,
    error::Standard,
    workflow::{Expression, Matcher, Name, Read, Schedule, Schema},
};

#[derive(Clone, Debug)]
pub(crate) enum Term {
    /// JSON text. As a duration: milliseconds. As an error: its type, a space, its status.
    Text(String),
    /// `.`
    Value,
    /// `$input`
    Input,
    /// `$context`
    Context,
    Variable(&'static str),
    /// Name and raw input of `$task`, in an array.
    Task,
    /// The values of terms, in an array.
    All(Vec<Term>),
    /// Whether the text of `.` is shorter than this.
    ShorterThan(usize),
    Fails,
}

pub(crate) fn text(text: &str) -> Term {
    Term::Text(text.into())
}

/// A schema of number `n` allows texts of at most `n` bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    terms: Vec<Term>,
    pub(crate) guards: bool,
}

impl Table {
    pub(crate) fn add(&mut self, term: Term) -> Expression {
        self.terms.push(term);
        Expression(u32::try_from(self.terms.len() - 1).expect("tests are small"))
    }

    fn text(&self, expression: Expression, scope: &Scope<'_>) -> Result<String, Error> {
        value(&self.terms[expression.0 as usize], scope)
    }
}

fn value(term: &Term, scope: &Scope<'_>) -> Result<String, Error> {
    Ok(match term {
        Term::Text(text) => text.clone(),
        Term::Value => scope.value.to_string(),
        Term::Input => scope.input.map_or("null".into(), |input| input.to_string()),
        Term::Context => scope.instance.context.to_string(),
        Term::Variable(name) => scope
            .variables
            .iter()
            .find(|(found, _)| &**found == *name)
            .map_or("null".into(), |(_, value)| value.to_string()),
        Term::Task => scope.task.map_or("null".into(), |task| {
            format!("[\"{}\",{}]", task.name, task.raw_input.as_str())
        }),
        Term::All(terms) => {
            let values: Result<Vec<_>, _> = terms.iter().map(|term| value(term, scope)).collect();
            format!("[{}]", values?.join(","))
        }
        Term::ShorterThan(bytes) => (scope.value.len() < *bytes).to_string(),
        Term::Fails => return Err(Error::standard(Standard::Expression, "Failed", "as told")),
    })
}

impl Evaluator for Table {
    fn value(&self, expression: Expression, scope: &Scope<'_>) -> Result<Json, Error> {
        self.text(expression, scope).map(Json::from_text)
    }

    fn holds(&self, expression: Expression, scope: &Scope<'_>) -> Result<bool, Error> {
        self.text(expression, scope).map(|text| text != "false" && text != "null")
    }

    fn items(&self, expression: Expression, scope: &Scope<'_>) -> Result<Vec<Json>, Error> {
        let text = self.text(expression, scope)?;
        let items = text.trim_matches(['[', ']']).split(',').filter(|item| !item.is_empty());
        Ok(items.map(Json::from_text).collect())
    }

    fn duration(&self, expression: Expression, scope: &Scope<'_>) -> Result<Duration, Error> {
        Ok(Duration(self.text(expression, scope)?.parse().expect("tests write milliseconds")))
    }

    fn error(&self, expression: Expression, scope: &Scope<'_>) -> Result<Error, Error> {
        let text = self.text(expression, scope)?;
        let (kind, status) = text.split_once(' ').expect("tests write type and status");
        let status = status.parse().expect("tests write a status");
        Ok(Error { kind: kind.into(), status, title: None, detail: None, instance: None })
    }

    fn error_value(&self, error: &Error) -> Json {
        Json::from_text(format!("\"{}\"", error.kind.rsplit('/').next().unwrap_or_default()))
    }

    /// A matcher is a letter that the event must have.
    fn matches(&self, matcher: Matcher, scope: &Scope<'_>) -> bool {
        char::from_u32(matcher.0).is_some_and(|letter| scope.value.contains(letter))
    }

    fn event(
        &self,
        expression: Expression,
        defaults: &EventDefaults,
        scope: &Scope<'_>,
    ) -> Result<Json, Error> {
        let text = self.text(expression, scope)?;
        Ok(Json::from_text(format!("[\"{}\",{text}]", defaults.source)))
    }

    fn read(&self, event: &Json, _: Read) -> Json {
        event.clone()
    }

    fn child(&self, expression: Expression, scope: &Scope<'_>) -> Result<(Name, Json), Error> {
        let name = Name { namespace: "tests".into(), name: "child".into(), version: "".into() };
        Ok((name, self.value(expression, scope)?))
    }

    /// Every so many milliseconds; 0 is never.
    fn tick(
        &self,
        schedule: Schedule,
        before: Option<Timestamp>,
        started: Timestamp,
        _: Timestamp,
    ) -> Result<Option<Timestamp>, Error> {
        let every = Duration(u64::from(schedule.0));
        Ok((schedule.0 > 0).then(|| before.unwrap_or(started).plus(every)))
    }

    fn guards(&self) -> bool {
        self.guards
    }

    fn mask(&self, value: &Json, field: &str) -> Json {
        Json::from_text(value.replace(field, "*"))
    }

    fn validate(&self, schema: Schema, value: &Json) -> Result<(), Error> {
        if value.len() <= schema.0 as usize {
            return Ok(());
        }
        Err(Error::standard(Standard::Validation, "Too long", "for the schema"))
    }
}
