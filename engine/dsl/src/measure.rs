//! What can be said of an expression without running it.

use jaq_core::{
    load::{
        lex::StrPart,
        parse::{BinaryOp, Pattern, Term},
    },
    path::Part,
};

#[expect(clippy::wildcard_enum_match_arm, reason = "the other terms of jq have one answer")]
pub(crate) fn is_constant(term: &Term<&str>) -> bool {
    match term {
        Term::Num(_) => true,
        Term::Neg(inner) => matches!(**inner, Term::Num(_)),
        Term::Str(None, parts) => parts.iter().all(|part| !matches!(part, StrPart::Term(_))),
        _ => false,
    }
}

/// In how many ways a left side may reach one and the same place, at most.
#[expect(clippy::wildcard_enum_match_arm, reason = "the other terms of jq have one answer")]
pub(crate) fn places(term: &Term<&str>) -> usize {
    match term {
        Term::BinOp(left, BinaryOp::Comma | BinaryOp::Alt, right) => {
            places(left).saturating_add(places(right))
        }
        Term::BinOp(left, BinaryOp::Pipe(None), right) => {
            places(left).saturating_mul(places(right))
        }
        Term::BinOp(left, BinaryOp::Pipe(Some(_)), right) => {
            generators(left).saturating_mul(places(right))
        }
        Term::Path(head, path) => path.0.iter().fold(places(head), |ways, (part, _)| {
            let inner = match part {
                Part::Index(index) => generators(index),
                Part::Range(from, to) => {
                    let bound = |t: &Option<Term<&str>>| t.as_ref().map_or(1, generators);
                    bound(from).saturating_mul(bound(to))
                }
            };
            ways.saturating_mul(inner)
        }),
        Term::IfThenElse(branches, otherwise) => {
            let ways = |(when, then): &(Term<&str>, Term<&str>)| {
                generators(when).saturating_mul(places(then))
            };
            let branches = branches.iter().map(ways).fold(1, usize::saturating_add);
            branches.saturating_add(otherwise.as_ref().map_or(1, |otherwise| places(otherwise)))
        }
        Term::TryCatch(inner, _) => places(inner),
        Term::Call("select", arguments) => arguments.iter().map(generators).product(),
        _ => 1,
    }
}

/// How often a left side goes through all parts of something.
#[expect(clippy::wildcard_enum_match_arm, reason = "the other terms of jq go through nothing")]
pub(crate) fn iterations(term: &Term<&str>) -> usize {
    match term {
        Term::Recurse => 1,
        Term::BinOp(left, _, right) => iterations(left).saturating_add(iterations(right)),
        Term::Path(head, path) => {
            let ranges = path.0.iter().filter(|(part, _)| matches!(part, Part::Range(..)));
            iterations(head).saturating_add(ranges.count())
        }
        Term::IfThenElse(branches, otherwise) => {
            let inner = branches.iter().map(|(when, then)| iterations(when) + iterations(then));
            inner.sum::<usize>() + otherwise.as_ref().map_or(0, |otherwise| iterations(otherwise))
        }
        Term::TryCatch(inner, _) => iterations(inner),
        // A filter of the library may do anything with what it is given.
        Term::Call(_, arguments) => arguments.iter().map(iterations).sum(),
        _ => 0,
    }
}

/// How many results a term inside a left side may have: one for what certainly has one, else too many.
#[expect(clippy::wildcard_enum_match_arm, reason = "the other terms of jq have one answer")]
fn generators(term: &Term<&str>) -> usize {
    match term {
        Term::Id | Term::Num(_) | Term::Var(_) | Term::Arr(_) => 1,
        _ if is_constant(term) => 1,
        Term::Neg(inner) => generators(inner),
        Term::Str(_, parts) => parts
            .iter()
            .map(|part| match part {
                StrPart::Term(term) => generators(term),
                StrPart::Str(_) | StrPart::Char(_) => 1,
            })
            .fold(1, usize::saturating_mul),
        Term::BinOp(left, BinaryOp::Comma, right) => {
            generators(left).saturating_add(generators(right))
        }
        Term::BinOp(left, _, right) => generators(left).saturating_mul(generators(right)),
        Term::Path(head, path) => {
            let parts = path.0.iter().map(|(part, _)| match part {
                Part::Index(index) => generators(index),
                Part::Range(None, None) => usize::MAX,
                Part::Range(..) => 1,
            });
            parts.fold(generators(head), usize::saturating_mul)
        }
        Term::Call(name, arguments) => {
            let single = [
                "length",
                "type",
                "not",
                "test",
                "startswith",
                "endswith",
                "has",
                "contains",
                "any",
                "all",
            ];
            if single.contains(name) { arguments.iter().map(|_| 1).product() } else { usize::MAX }
        }
        _ => usize::MAX,
    }
}

/// How deep the interpreter would recurse, about.
pub(crate) fn depth(term: &Term<&str>) -> usize {
    let most = |terms: &mut dyn Iterator<Item = &Term<&str>>| terms.map(depth).max().unwrap_or(0);
    match term {
        Term::Id
        | Term::Recurse
        | Term::Num(_)
        | Term::Break(_)
        | Term::Var(_)
        | Term::Arr(None) => 1,
        Term::Arr(Some(inner)) | Term::Neg(inner) | Term::Label(_, inner) => 1 + depth(inner),
        Term::Str(_, parts) => {
            let inner = parts.iter().filter_map(|part| match part {
                StrPart::Term(term) => Some(depth(term)),
                StrPart::Str(_) | StrPart::Char(_) => None,
            });
            parts.len() + inner.max().unwrap_or(0)
        }
        Term::Obj(entries) => {
            let inner =
                entries.iter().map(|(key, value)| depth(key).max(value.as_ref().map_or(0, depth)));
            entries.len() + inner.max().unwrap_or(0)
        }
        Term::BinOp(left, op, right) => {
            let pattern =
                if let BinaryOp::Pipe(Some(pattern)) = op { pattern_depth(pattern) } else { 0 };
            1 + pattern + depth(left).max(depth(right))
        }
        Term::Fold(_, items, pattern, arguments) => {
            1 + pattern_depth(pattern) + depth(items).max(most(&mut arguments.iter()))
        }
        Term::TryCatch(tried, catch) => {
            1 + depth(tried).max(catch.as_ref().map_or(0, |catch| depth(catch)))
        }
        Term::IfThenElse(branches, otherwise) => {
            let inner =
                branches.iter().map(|(when, then)| depth(when).max(depth(then))).max().unwrap_or(0);
            branches.len() + inner.max(otherwise.as_ref().map_or(0, |otherwise| depth(otherwise)))
        }
        Term::Def(definitions, body) => {
            1 + depth(body).max(most(&mut definitions.iter().map(|def| &def.body)))
        }
        Term::Call(_, arguments) => 1 + most(&mut arguments.iter()),
        Term::Path(head, path) => {
            let inner = path.0.iter().map(|(part, _)| match part {
                Part::Index(index) => depth(index),
                Part::Range(from, to) => {
                    from.as_ref().map_or(0, depth).max(to.as_ref().map_or(0, depth))
                }
            });
            path.0.len() + depth(head).max(inner.max().unwrap_or(0))
        }
    }
}

fn pattern_depth(pattern: &Pattern<&str>) -> usize {
    match pattern {
        Pattern::Var(_) => 1,
        Pattern::Arr(inner) => inner.len() + inner.iter().map(pattern_depth).max().unwrap_or(0),
        Pattern::Obj(inner) => {
            inner.len()
                + inner
                    .iter()
                    .map(|(key, inner)| depth(key).max(pattern_depth(inner)))
                    .max()
                    .unwrap_or(0)
        }
    }
}
