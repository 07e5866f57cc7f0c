//! Expressions that only put paths and texts together, as most do: each path is read from the text, so that nothing else
//! of a value is parsed.

use std::collections::BTreeSet;

use jaq_core::load::{
    lex::StrPart,
    parse::{BinaryOp, Term},
};

use crate::measure::is_constant;

/// Such an expression.
pub(crate) enum Pieces<'s> {
    /// `.a.b`
    Path(Source<'s>),
    /// Keys with what stands there; each key once.
    Object(Vec<(&'s str, Self)>),
    /// A filter that sees nothing but what stands in these variables.
    Filter { term: Term<&'s str>, variables: Vec<(&'static str, Source<'s>)> },
}

/// `.` or a variable with its `$`, and the keys behind it.
pub(crate) type Source<'s> = (&'s str, Vec<&'s str>);

/// `None`: it does something else, too, or mentions what is not known. All that it evaluates has one result or an error,
/// so that it does not matter when a path is read.
pub(crate) fn take_apart<'s>(
    term: &Term<&'s str>,
    plain_path: &impl Fn(&Term<&'s str>) -> Option<Source<'s>>,
) -> Option<Pieces<'s>> {
    if let Some(source) = plain_path(term) {
        return Some(Pieces::Path(source));
    }
    if let Term::Obj(entries) = term {
        let mut seen = BTreeSet::new();
        let members = entries.iter().map(|(key, value)| {
            let key = key_of(key)?;
            let value = take_apart(value.as_ref()?, plain_path)?;
            seen.insert(key).then_some((key, value))
        });
        return Some(Pieces::Object(members.collect::<Option<_>>()?));
    }
    let mut variables = Vec::new();
    let term = lift(term, plain_path, &mut variables)?;
    Some(Pieces::Filter { term, variables })
}

/// The term with variables in the places of its paths.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the other terms of jq may have no result, or many"
)]
fn lift<'s>(
    term: &Term<&'s str>,
    plain_path: &impl Fn(&Term<&'s str>) -> Option<Source<'s>>,
    variables: &mut Vec<(&'static str, Source<'s>)>,
) -> Option<Term<&'s str>> {
    if is_constant(term) {
        return Some(term.clone());
    }
    if let Some(source) = plain_path(term) {
        let known = variables.iter().find(|(_, known)| *known == source);
        let name = if let Some((name, _)) = known {
            name
        } else {
            let name = NAMES.get(variables.len())?;
            variables.push((name, source));
            name
        };
        return Some(Term::Var(name));
    }
    match term {
        Term::BinOp(left, op @ (BinaryOp::Math(_) | BinaryOp::Cmp(_)), right) => {
            let left = lift(left, plain_path, variables)?;
            let right = lift(right, plain_path, variables)?;
            Some(Term::BinOp(Box::new(left), op.clone(), Box::new(right)))
        }
        Term::Neg(inner) => Some(Term::Neg(Box::new(lift(inner, plain_path, variables)?))),
        Term::Str(None, parts) => {
            let parts = parts.iter().map(|part| match part {
                StrPart::Term(term) => Some(StrPart::Term(lift(term, plain_path, variables)?)),
                StrPart::Str(text) => Some(StrPart::Str(*text)),
                StrPart::Char(char) => Some(StrPart::Char(*char)),
            });
            Some(Term::Str(None, parts.collect::<Option<_>>()?))
        }
        Term::Obj(entries) => {
            let entries = entries.iter().map(|(key, value)| {
                key_of(key)?;
                Some((key.clone(), Some(lift(value.as_ref()?, plain_path, variables)?)))
            });
            Some(Term::Obj(entries.collect::<Option<_>>()?))
        }
        _ => None,
    }
}

/// No variable of an author is called so.
const NAMES: [&str; 16] = [
    "$%0", "$%1", "$%2", "$%3", "$%4", "$%5", "$%6", "$%7", "$%8", "$%9", "$%10", "$%11", "$%12",
    "$%13", "$%14", "$%15",
];

fn key_of<'s>(term: &Term<&'s str>) -> Option<&'s str> {
    if let Term::Str(None, parts) = term
        && let [StrPart::Str(key)] = parts.as_slice()
    {
        Some(key)
    } else {
        None
    }
}
