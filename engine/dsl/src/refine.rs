//! Turns a parsed expression into one that pays for its work, and refuses what could not pay.
//!
//! Each place where values multiply (`,`, `.[]`), are copied into something larger (`[…]`, `{…}`, `+`, text) or are
//! looked at as a whole (comparisons, filters) gets a filter of the [`meter`](crate::meter) before or behind it. The
//! definitions of jq's library that an expression uses are refined in the same way and travel with it.

use std::collections::{BTreeMap, BTreeSet};

use jaq_core::{
    load::{
        lex::StrPart,
        parse::{BinaryOp, Def, Pattern, Term},
    },
    ops::Math,
    path::{Opt, Part, Path},
};

use crate::{
    library::{DEFINED, EACH, LIBRARY, NATIVE, has, is_refused},
    limits,
    measure::{is_constant, iterations, places},
    meter,
};

/// Why an expression is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    Syntax(String),
    UnknownVariable(String),
    UnknownFunction(String),
    /// Not one of `use.secrets`.
    UnknownSecret(String),
    Unsupported(String),
    /// A variable of the language that is not there, and what to do instead.
    Withheld(&'static str, &'static str),
}

/// All secrets of a document, in an expression.
pub(crate) const SECRETS: &str = "$secrets";

const WHOLE_SECRETS: Problem = Problem::Withheld(
    "`$secrets` is not available as a whole",
    "name one: `$secrets.name`, or `$secrets.\"the-name\"`",
);

pub(crate) struct Refiner<'s> {
    /// Names that an expression may mention, with `$`.
    allowed: &'s BTreeSet<String>,
    /// Names of secrets that it may mention.
    known_secrets: &'s BTreeSet<String>,
    pub problems: Vec<Problem>,
    pub mentioned: BTreeSet<String>,
    pub secrets: BTreeSet<String>,
    /// By their place in the library.
    pub definitions: BTreeMap<usize, Def<&'s str>>,
    variables: Vec<&'s str>,
    parameters: Vec<&'s str>,
    in_library: bool,
}

impl<'s> Refiner<'s> {
    pub(crate) fn new(allowed: &'s BTreeSet<String>, known_secrets: &'s BTreeSet<String>) -> Self {
        Self {
            allowed,
            known_secrets,
            problems: Vec::new(),
            mentioned: BTreeSet::new(),
            secrets: BTreeSet::new(),
            definitions: BTreeMap::new(),
            variables: Vec::new(),
            parameters: Vec::new(),
            in_library: false,
        }
    }

    pub(crate) fn term(&mut self, term: Term<&'s str>) -> Term<&'s str> {
        match term {
            Term::Id | Term::Num(_) | Term::Arr(None) => term,
            Term::Recurse => pipe(pipe(call(meter::CHARGE), Term::Recurse), call(meter::STEP)),
            Term::Str(format, parts) => self.string(format, parts),
            Term::Arr(Some(items)) => {
                let items = self.charged(*items);
                Term::Arr(Some(Box::new(items)))
            }
            Term::Obj(entries) => {
                Term::Obj(entries.into_iter().map(|(key, value)| self.entry(key, value)).collect())
            }
            Term::Neg(inner) => Term::Neg(Box::new(self.term(*inner))),
            Term::BinOp(left, op, right) => self.operation(*left, op, *right),
            Term::IfThenElse(branches, otherwise) => {
                let branches = branches
                    .into_iter()
                    .map(|(when, then)| (self.term(when), self.term(then)))
                    .collect();
                Term::IfThenElse(
                    branches,
                    otherwise.map(|otherwise| Box::new(self.term(*otherwise))),
                )
            }
            Term::TryCatch(tried, catch) => Term::TryCatch(
                Box::new(self.term(*tried)),
                catch.map(|catch| Box::new(self.term(*catch))),
            ),
            Term::Call(name, arguments) => self.call(name, arguments),
            Term::Var(name) => {
                self.variable(name);
                term
            }
            Term::Path(head, path) => {
                if matches!(&*head, Term::Var(name) if self.is_secrets(name)) {
                    return self.secret(path);
                }
                let head = self.term(*head);
                self.path(head, path)
            }
            Term::Fold(name, items, pattern, arguments) if self.in_library => {
                let items = self.term(*items);
                let pattern = self.pattern(pattern);
                let bound = self.bind(&pattern);
                let arguments = arguments.into_iter().map(|argument| self.term(argument)).collect();
                self.variables.truncate(bound);
                Term::Fold(name, Box::new(items), pattern, arguments)
            }
            Term::Fold(name, ..) => self.unsupported(name),
            Term::Def(mut definitions, body) if self.in_library && definitions.len() == 1 => {
                // Only `sub` has one: a filter without parameters that does not call itself.
                let definition = definitions.remove(0);
                let inner = self.term(definition.body);
                self.parameters.push(definition.name);
                let body = self.term(*body);
                self.parameters.pop();
                Term::Def(
                    vec![Def { name: definition.name, args: definition.args, body: inner }],
                    Box::new(body),
                )
            }
            Term::Def(..) => self.unsupported("def"),
            Term::Label(..) | Term::Break(_) => self.unsupported("label"),
        }
    }

    fn unsupported(&mut self, what: &str) -> Term<&'s str> {
        self.problems.push(Problem::Unsupported(format!("`{what}` is not available")));
        Term::Id
    }

    /// A term whose results are paid for, because they become part of something or are looked at.
    fn charged(&mut self, term: Term<&'s str>) -> Term<&'s str> {
        let plain = is_constant(&term);
        let term = self.term(term);
        if plain { term } else { pipe(term, call(meter::CHARGE)) }
    }

    fn string(
        &mut self,
        format: Option<&'s str>,
        parts: Vec<StrPart<&'s str, Term<&'s str>>>,
    ) -> Term<&'s str> {
        if let Some(format) = format {
            self.call(format, Vec::new());
        }
        let parts = parts.into_iter().map(|part| match part {
            StrPart::Term(term) => StrPart::Term(self.charged(term)),
            StrPart::Str(_) | StrPart::Char(_) => part,
        });
        Term::Str(format, parts.collect())
    }

    fn entry(
        &mut self,
        key: Term<&'s str>,
        value: Option<Term<&'s str>>,
    ) -> (Term<&'s str>, Option<Term<&'s str>>) {
        match (key, value) {
            (Term::Var(name), None) => {
                let value = self.charged(Term::Var(name));
                (Term::Str(None, vec![StrPart::Str(&name[1..])]), Some(value))
            }
            (key, None) => {
                let key = self.charged(key);
                let value = Term::Path(
                    Box::new(Term::Id),
                    Path(vec![(Part::Index(key.clone()), Opt::Essential)]),
                );
                (key, Some(pipe(value, call(meter::CHARGE))))
            }
            (key, Some(value)) => (self.charged(key), Some(self.charged(value))),
        }
    }

    fn operation(
        &mut self,
        left: Term<&'s str>,
        op: BinaryOp<&'s str>,
        right: Term<&'s str>,
    ) -> Term<&'s str> {
        match op {
            BinaryOp::Pipe(None) => pipe(self.term(left), self.term(right)),
            BinaryOp::Pipe(Some(pattern)) => {
                let left = self.term(left);
                let pattern = self.pattern(pattern);
                let bound = self.bind(&pattern);
                let right = self.term(right);
                self.variables.truncate(bound);
                binary(left, BinaryOp::Pipe(Some(pattern)), right)
            }
            BinaryOp::Comma => {
                let left = pipe(self.term(left), call(meter::STEP));
                binary(left, op, pipe(self.term(right), call(meter::STEP)))
            }
            BinaryOp::Alt | BinaryOp::Or | BinaryOp::And => {
                binary(self.term(left), op, self.term(right))
            }
            BinaryOp::Math(Math::Mul) => {
                Term::Call(meter::TIMES, vec![self.term(left), self.term(right)])
            }
            BinaryOp::Math(Math::Div) => {
                // Text is split into as many parts as it has bytes.
                let left = pipe(self.term(left), call(meter::BYTES));
                binary(left, op, self.charged(right))
            }
            BinaryOp::Math(Math::Add | Math::Sub | Math::Rem) | BinaryOp::Cmp(_) => {
                binary(self.charged(left), op, self.charged(right))
            }
            BinaryOp::Assign | BinaryOp::Update => {
                let price = price(&left);
                let right = self.charged(right);
                let left = self.assigned(left);
                pipe(price, binary(left, op, right))
            }
            // As jq defines them: `l op= r` is `r as $x | l |= . op $x`.
            BinaryOp::UpdateMath(math) => self.update_with(left, BinaryOp::Math(math), right),
            BinaryOp::UpdateAlt => self.update_with(left, BinaryOp::Alt, right),
        }
    }

    fn update_with(
        &mut self,
        left: Term<&'s str>,
        op: BinaryOp<&'s str>,
        right: Term<&'s str>,
    ) -> Term<&'s str> {
        const OPERAND: &str = "$%operand";
        let right = self.term(right);
        self.variables.push(OPERAND);
        let update = binary(left, BinaryOp::Update, binary(Term::Id, op, Term::Var(OPERAND)));
        let update = self.term(update);
        self.variables.pop();
        binary(right, BinaryOp::Pipe(Some(Pattern::Var(OPERAND))), update)
    }

    /// The left side of an assignment. It must stay a path, so nothing in it is paid for; its input is, before it.
    fn assigned(&mut self, term: Term<&'s str>) -> Term<&'s str> {
        if places(&term) > limits::PLACES_MAX {
            self.problems.push(Problem::Unsupported(
                "an assignment to so many places is not available".into(),
            ));
        }
        self.place(term)
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the other terms of jq are no paths")]
    fn place(&mut self, term: Term<&'s str>) -> Term<&'s str> {
        match term {
            Term::Id => term,
            Term::Recurse if self.in_library => term,
            Term::Path(head, path) => {
                let head = self.place(*head);
                let parts = path.0.into_iter().map(|(part, opt)| {
                    let part = match part {
                        Part::Index(index) => Part::Index(self.index(index)),
                        Part::Range(from, to) => {
                            Part::Range(from.map(|t| self.index(t)), to.map(|t| self.index(t)))
                        }
                    };
                    (part, opt)
                });
                Term::Path(Box::new(head), Path(parts.collect()))
            }
            Term::BinOp(left, BinaryOp::Pipe(Some(pattern)), right) => {
                let left = self.term(*left);
                let pattern = self.pattern(pattern);
                let bound = self.bind(&pattern);
                let right = self.place(*right);
                self.variables.truncate(bound);
                binary(left, BinaryOp::Pipe(Some(pattern)), right)
            }
            Term::BinOp(
                left,
                op @ (BinaryOp::Pipe(None) | BinaryOp::Comma | BinaryOp::Alt),
                right,
            ) => binary(self.place(*left), op, self.place(*right)),
            Term::IfThenElse(branches, otherwise) => {
                let branches = branches
                    .into_iter()
                    .map(|(when, then)| (self.term(when), self.place(then)))
                    .collect();
                Term::IfThenElse(
                    branches,
                    otherwise.map(|otherwise| Box::new(self.place(*otherwise))),
                )
            }
            Term::TryCatch(tried, None) => Term::TryCatch(Box::new(self.place(*tried)), None),
            Term::Call(name, arguments)
                if arguments.is_empty() && self.parameters.contains(&name) =>
            {
                Term::Call(name, arguments)
            }
            Term::Call(
                name @ ("select" | "empty" | "first" | "last" | "values" | "nulls" | "booleans"
                | "numbers" | "strings" | "arrays" | "objects" | "iterables" | "scalars"),
                arguments,
            ) if arguments.len() == usize::from(name == "select") => self.call(name, arguments),
            _ => {
                self.problems.push(Problem::Unsupported(
                    "only a path such as `.a[0].b` may be assigned to".into(),
                ));
                Term::Id
            }
        }
    }

    fn path(&mut self, mut head: Term<&'s str>, path: Path<Term<&'s str>>) -> Term<&'s str> {
        let mut parts = Vec::new();
        for (part, opt) in path.0 {
            match part {
                Part::Index(index) => parts.push((Part::Index(self.index(index)), opt)),
                Part::Range(from, to) => {
                    if !parts.is_empty() {
                        head = Term::Path(Box::new(head), Path(std::mem::take(&mut parts)));
                    }
                    head = pipe(head, call(meter::WIDTH));
                    parts.push((
                        Part::Range(from.map(|t| self.index(t)), to.map(|t| self.index(t))),
                        opt,
                    ));
                }
            }
        }
        Term::Path(Box::new(head), Path(parts))
    }

    fn is_secrets(&self, name: &str) -> bool {
        name == SECRETS && self.allowed.contains(SECRETS) && !self.variables.contains(&name)
    }

    /// `$secrets.name` and nothing more: whoever deploys must see which secrets an expression can reach, and there is
    /// nothing inside a text.
    fn secret(&mut self, path: Path<Term<&'s str>>) -> Term<&'s str> {
        let name = match path.0.as_slice() {
            [(Part::Index(Term::Str(None, parts)), _)] => match parts.as_slice() {
                [StrPart::Str(name)] => Some(*name),
                _ => None,
            },
            _ => None,
        };
        match name {
            None => self.problems.push(WHOLE_SECRETS),
            Some(name) if !self.known_secrets.contains(name) => {
                self.problems.push(Problem::UnknownSecret(name.to_owned()));
            }
            Some(name) => {
                self.secrets.insert(name.to_owned());
                self.mentioned.insert(SECRETS.to_owned());
            }
        }
        Term::Path(Box::new(Term::Var(SECRETS)), path)
    }

    fn index(&mut self, index: Term<&'s str>) -> Term<&'s str> {
        if is_constant(&index) {
            return self.term(index);
        }
        pipe(self.term(index), call(meter::KEY))
    }

    fn pattern(&mut self, pattern: Pattern<&'s str>) -> Pattern<&'s str> {
        match pattern {
            Pattern::Var(_) => pattern,
            Pattern::Arr(inner) => {
                Pattern::Arr(inner.into_iter().map(|inner| self.pattern(inner)).collect())
            }
            Pattern::Obj(inner) => Pattern::Obj(
                inner
                    .into_iter()
                    .map(|(key, inner)| (self.index(key), self.pattern(inner)))
                    .collect(),
            ),
        }
    }

    /// Brings the pattern's variables into scope; gives the length to cut the scope to afterwards.
    fn bind(&mut self, pattern: &Pattern<&'s str>) -> usize {
        fn names<'s>(pattern: &Pattern<&'s str>, found: &mut Vec<&'s str>) {
            match pattern {
                Pattern::Var(name) => found.push(name),
                Pattern::Arr(inner) => inner.iter().for_each(|inner| names(inner, found)),
                Pattern::Obj(inner) => inner.iter().for_each(|(_, inner)| names(inner, found)),
            }
        }
        let before = self.variables.len();
        names(pattern, &mut self.variables);
        before
    }

    fn variable(&mut self, name: &'s str) {
        if self.variables.contains(&name) || (self.in_library && self.parameters.contains(&name)) {
            return;
        }
        if self.is_secrets(name) {
            self.problems.push(WHOLE_SECRETS);
        } else if self.allowed.contains(name) {
            self.mentioned.insert(name.to_owned());
        } else if name == SECRETS {
            self.problems.push(Problem::Withheld(
                "`$secrets` is not available here",
                "only the arguments of a step may hold secrets, so that no event ever holds one",
            ));
        } else if name == "$authorization" {
            self.problems.push(Problem::Withheld(
                "`$authorization` is not available",
                "the worker resolves it, and the engine never sees it; a worker may answer with what it used",
            ));
        } else if matches!(name, "$ENV" | "$__loc__" | "$__prog_args") {
            self.problems.push(Problem::Unsupported(format!("`{name}` is not available")));
        } else {
            self.problems.push(Problem::UnknownVariable(name.to_owned()));
        }
    }

    fn call(&mut self, name: &'s str, arguments: Vec<Term<&'s str>>) -> Term<&'s str> {
        let signature = (name, arguments.len());
        if self.in_library && arguments.is_empty() && self.parameters.contains(&name) {
            return Term::Call(name, arguments);
        }
        match signature {
            ("first" | "last", 1) => {
                return Term::Call(name, arguments.into_iter().map(|a| self.term(a)).collect());
            }
            ("limit" | "skip", 2) => {
                return Term::Call(name, arguments.into_iter().map(|a| self.term(a)).collect());
            }
            ("range", 3) => {
                let range =
                    Term::Call(name, arguments.into_iter().map(|a| self.charged(a)).collect());
                return pipe(range, call(meter::STEP));
            }
            ("path" | "path_value", 1) if name == "path" || self.in_library => {
                let price = arguments.first().map_or_else(|| call(meter::CHARGE), price);
                let places = arguments.into_iter().map(|a| self.assigned(a)).collect();
                return pipe(pipe(price, Term::Call(name, places)), call(meter::CHARGE));
            }
            ("add", 1) => {
                let items = Term::Arr(arguments.into_iter().next().map(Box::new));
                return self.term(pipe(items, call("add")));
            }
            ("contains" | "indices", 1) => return self.guarded(name, arguments, meter::PRODUCT),
            ("matches" | "split_matches" | "split_", 2) if self.in_library => {
                return self.guarded(name, arguments, meter::PATTERN);
            }
            ("explode", 0) => return pipe(call(meter::BYTES), Term::Call(name, arguments)),
            (meter::CHARGE | meter::STEP, 0) if self.in_library => {
                return Term::Call(name, arguments);
            }
            _ => {}
        }
        if has(EACH, signature) {
            let arguments =
                arguments.into_iter().map(|argument| pipe(self.term(argument), call(meter::SORT)));
            let arguments = arguments.collect();
            return pipe(call(meter::SORT), Term::Call(name, arguments));
        }
        if signature == ("sort", 0) {
            return pipe(call(meter::SORT), Term::Call(name, arguments));
        }
        if has(NATIVE, signature) {
            let arguments = arguments.into_iter().map(|argument| self.charged(argument)).collect();
            return pipe(call(meter::CHARGE), Term::Call(name, arguments));
        }
        if has(DEFINED, signature) {
            self.define(signature);
            if name == "del" {
                let price = arguments.first().map_or_else(|| call(meter::CHARGE), price);
                let places = arguments.into_iter().map(|argument| self.assigned(argument));
                return pipe(price, Term::Call(name, places.collect()));
            }
            let arguments = arguments.into_iter().map(|argument| self.term(argument)).collect();
            return Term::Call(name, arguments);
        }
        let problem = if is_refused(name) {
            Problem::Unsupported(format!("`{name}` is not available"))
        } else {
            Problem::UnknownFunction(format!("{name}/{}", arguments.len()))
        };
        self.problems.push(problem);
        Term::Id
    }

    /// `f(a; b)` as `a as $x | b as $y | guard($x) | f($x; $y)`.
    fn guarded(
        &mut self,
        name: &'s str,
        arguments: Vec<Term<&'s str>>,
        guard: &'s str,
    ) -> Term<&'s str> {
        const NAMES: [&str; 2] = ["$%first", "$%second"];
        let values =
            || NAMES.iter().take(arguments.len()).map(|name| Term::Var(*name)).collect::<Vec<_>>();
        let guarded =
            pipe(Term::Call(guard, vec![Term::Var(NAMES[0])]), Term::Call(name, values()));
        let guarded = pipe(pipe(call(meter::BYTES), guarded), call(meter::CHARGE));
        let mut whole = guarded;
        for (argument, variable) in arguments.into_iter().zip(NAMES).rev() {
            let argument = self.charged(argument);
            whole = binary(argument, BinaryOp::Pipe(Some(Pattern::Var(variable))), whole);
        }
        whole
    }

    /// Takes a definition of the library along, and those that it uses.
    fn define(&mut self, (name, arity): (&str, usize)) {
        let found = LIBRARY
            .iter()
            .enumerate()
            .rev()
            .find(|(_, def)| def.name == name && def.args.len() == arity);
        let Some((place, definition)) = found else {
            self.problems.push(Problem::UnknownFunction(format!("{name}/{arity}")));
            return;
        };
        if self.definitions.contains_key(&place) {
            return;
        }
        // Held against definitions that use each other; none of those allowed does.
        self.definitions
            .insert(place, Def { name: definition.name, args: Vec::new(), body: Term::Id });
        let variables = std::mem::take(&mut self.variables);
        let parameters = std::mem::replace(&mut self.parameters, definition.args.clone());
        // A parameter `$x` may be used as `x` as well.
        let filters: Vec<&str> =
            definition.args.iter().filter_map(|name| name.strip_prefix('$')).collect();
        self.parameters.extend(filters);
        let in_library = std::mem::replace(&mut self.in_library, true);
        let body = self.term(definition.body.clone());
        self.in_library = in_library;
        self.parameters = parameters;
        self.variables = variables;
        self.definitions
            .insert(place, Def { name: definition.name, args: definition.args.clone(), body });
    }
}

/// Pays for an assignment, before it: one that goes through collections looks at each of their parts.
fn price<'s>(left: &Term<&'s str>) -> Term<&'s str> {
    let passes = iterations(left).saturating_mul(places(left));
    if passes == 0 {
        return call(meter::CHARGE);
    }
    let known = PASSES.iter().find(|(count, _)| *count >= passes);
    let (_, number) = known.unwrap_or(&PASSES[PASSES.len() - 1]);
    Term::Call(meter::ASSIGN, vec![Term::Num(number)])
}

/// Numbers as expressions spell them.
const PASSES: [(usize, &str); 6] =
    [(1, "1"), (2, "2"), (4, "4"), (16, "16"), (64, "64"), (usize::MAX, "1024")];

fn call<'s>(name: &'static str) -> Term<&'s str> {
    Term::Call(name, Vec::new())
}

fn pipe<'s>(left: Term<&'s str>, right: Term<&'s str>) -> Term<&'s str> {
    binary(left, BinaryOp::Pipe(None), right)
}

fn binary<'s>(left: Term<&'s str>, op: BinaryOp<&'s str>, right: Term<&'s str>) -> Term<&'s str> {
    Term::BinOp(Box::new(left), op, Box::new(right))
}
