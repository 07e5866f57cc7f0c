//! One jq expression: compiled once, at deploy, and run against what it can see.

use std::{
    borrow::Cow,
    collections::BTreeSet,
    fmt::{self, Write as _},
    panic::{AssertUnwindSafe, catch_unwind},
};

use baton_core::Json;
use jaq_core::{
    Compiler, Ctx, Filter, Vars,
    load::{
        self, Arena, File, Lexer, Loader, Parser,
        parse::{Def, Term},
    },
    path::{Opt, Part},
    unwrap_valr,
};
use jaq_json::{Num, Val};

pub(crate) use crate::refine::Problem;
use crate::{
    json::{self, Shape},
    limits,
    measure::depth,
    meter::{Metered, Run, natives},
    pieces::{Pieces, take_apart},
    refine::{Refiner, SECRETS},
    view::View,
};

pub(crate) struct Jq {
    code: Code,
    /// What errors call it.
    source: String,
}

enum Code {
    /// A path of plain keys is read from the text.
    Path(Source),
    /// Its members are written one after the other. Each key is there as JSON.
    Object(Vec<(String, Code)>),
    Filter {
        filter: Box<Filter<Metered>>,
        variables: Vec<Source>,
        /// It sees `.` and not only its variables.
        whole: bool,
    },
}

/// A plain path.
#[derive(Clone, Debug)]
struct Source {
    root: Root,
    keys: Vec<String>,
}

/// What a path or a variable begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Root {
    /// `.`
    Value,
    Variable {
        name: String,
        /// Whether the `definition` of `$workflow` or `$task` may be looked at.
        definition: bool,
    },
}

/// What came out, as JSON text.
pub(crate) enum Output<'a> {
    /// A value as it came in.
    Whole(&'a Json),
    /// A part of one.
    Part(Cow<'a, str>),
    /// A new one, compact.
    New(String),
}

impl Output<'_> {
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Whole(json) => json,
            Self::Part(text) => text,
            Self::New(text) => text,
        }
    }

    /// Compact.
    pub(crate) fn write_into(&self, out: &mut String) {
        match self {
            Self::New(text) => out.push_str(text),
            Self::Whole(json) => json::write_compact(json, out),
            Self::Part(text) => json::write_compact(text, out),
        }
    }

    pub(crate) fn into_json(self) -> Json {
        match self {
            Self::Whole(json) => json.clone(),
            Self::Part(text) => {
                let mut compact = String::with_capacity(text.len());
                json::write_compact(&text, &mut compact);
                Json::from_text(compact)
            }
            Self::New(text) => Json::from_text(text),
        }
    }
}

/// What an expression may mention.
pub(crate) struct Known<'k> {
    /// With their `$`.
    pub variables: &'k BTreeSet<String>,
    pub secrets: &'k BTreeSet<String>,
}

/// Compiles an expression; gives the secrets that it mentions, too.
pub(crate) fn compile<'s>(
    source: &'s str,
    Known { variables, secrets }: Known<'_>,
) -> Result<(Jq, BTreeSet<String>), Vec<Problem>> {
    let source = source.trim();
    if source.len() > limits::EXPRESSION_BYTES_MAX {
        let bound = limits::EXPRESSION_BYTES_MAX;
        return Err(vec![Problem::Unsupported(format!(
            "an expression of more than {bound} bytes is not available"
        ))]);
    }
    let term = parse(source).map_err(|problem| vec![problem])?;
    if depth(&term) > limits::TERM_DEPTH_MAX {
        return Err(vec![Problem::Unsupported(
            "an expression that is so deeply nested is not available".into(),
        )]);
    }
    let name: String = source.chars().take(60).collect();
    let known = |term: &Term<&'s str>| known_path(term, variables);
    if let Some(pieces) = take_apart(&term, &known) {
        let code = put_together(pieces, source)?;
        return Ok((Jq { code, source: name }, BTreeSet::new()));
    }
    let Refined { filter, mentioned, secrets } = refine(term, variables, secrets)?;
    let variables = mentioned.iter().map(|name| to_source(name, &[], source)).collect();
    let code = Code::Filter { filter, variables, whole: true };
    Ok((Jq { code, source: name }, secrets))
}

struct Refined {
    filter: Box<Filter<Metered>>,
    /// The variables of the filter.
    mentioned: BTreeSet<String>,
    secrets: BTreeSet<String>,
}

fn refine(
    term: Term<&str>,
    variables: &BTreeSet<String>,
    secrets: &BTreeSet<String>,
) -> Result<Refined, Vec<Problem>> {
    let mut refiner = Refiner::new(variables, secrets);
    let term = refiner.term(term);
    if !refiner.problems.is_empty() {
        return Err(refiner.problems);
    }
    let Refiner { mentioned, definitions, secrets, .. } = refiner;
    let filter = Box::new(build(term, definitions.into_values(), &mentioned)?);
    Ok(Refined { filter, mentioned, secrets })
}

fn put_together<'s>(pieces: Pieces<'s>, source: &'s str) -> Result<Code, Vec<Problem>> {
    match pieces {
        Pieces::Path((root, keys)) => Ok(Code::Path(to_source(root, &keys, source))),
        Pieces::Object(members) => {
            let members = members
                .into_iter()
                .map(|(key, pieces)| Ok((json::string(key), put_together(pieces, source)?)));
            Ok(Code::Object(members.collect::<Result<_, Vec<Problem>>>()?))
        }
        Pieces::Filter { term, variables } => {
            let names: BTreeSet<String> =
                variables.iter().map(|(name, _)| (*name).to_owned()).collect();
            let Refined { filter, mentioned, .. } = refine(term, &names, &BTreeSet::new())?;
            let of = |name: &String| variables.iter().find(|(variable, _)| variable == name);
            let sources = mentioned.iter().filter_map(of);
            let variables =
                sources.map(|(_, (root, keys))| to_source(root, keys, source)).collect();
            Ok(Code::Filter { filter, variables, whole: false })
        }
    }
}

/// A plain path whose beginning is known.
fn known_path<'t>(
    term: &Term<&'t str>,
    variables: &BTreeSet<String>,
) -> Option<(&'t str, Vec<&'t str>)> {
    plain_path(term)
        .filter(|(root, _)| *root == "." || variables.contains(*root) && *root != SECRETS)
}

fn parse(source: &str) -> Result<Term<&str>, Problem> {
    let tokens = Lexer::new(source).lex().map_err(|errors| {
        let (wanted, rest) =
            errors.first().map_or(("token", ""), |(wanted, rest)| (wanted.as_str(), *rest));
        Problem::Syntax(format!(
            "{wanted} wanted before `{}`",
            rest.chars().take(20).collect::<String>()
        ))
    })?;
    Parser::new(&tokens).parse(Parser::term).map_err(|errors| {
        let (wanted, found) =
            errors.first().map_or(("term", None), |(wanted, found)| (wanted.as_str(), *found));
        match found {
            Some(token) => Problem::Syntax(format!(
                "{wanted} wanted, but `{}` found",
                token.0.chars().take(20).collect::<String>()
            )),
            None => Problem::Syntax(format!("{wanted} wanted at the end")),
        }
    })
}

const MAIN: &str = "baton_main";

fn build<'s>(
    term: Term<&'s str>,
    definitions: impl Iterator<Item = Def<&'s str>>,
    variables: &'s BTreeSet<String>,
) -> Result<Filter<Metered>, Vec<Problem>> {
    let main = Def { name: MAIN, args: Vec::new(), body: term };
    let arena = Arena::default();
    let unexpected = |what: String| vec![Problem::Unsupported(what)];
    let modules = Loader::new(definitions.chain([main]))
        .load(&arena, File { code: MAIN, path: () })
        .map_err(|errors| unexpected(load_error(&errors)))?;
    Compiler::default()
        .with_funs(natives())
        .with_global_vars(variables.iter().map(String::as_str))
        .compile(modules)
        .map_err(|errors| {
            let undefined = errors.iter().flat_map(|(_, undefined)| undefined);
            undefined
                .map(|(name, _)| Problem::Unsupported(format!("`{name}` is not available")))
                .collect()
        })
}

fn load_error(errors: &load::Errors<&str, ()>) -> String {
    format!("an expression with {} errors is not available", errors.len())
}

/// `.a.b` or `$x.a."b c"`.
#[expect(clippy::wildcard_enum_match_arm, reason = "the other terms of jq are no plain paths")]
fn plain_path<'t>(term: &Term<&'t str>) -> Option<(&'t str, Vec<&'t str>)> {
    match term {
        Term::Id => Some((".", Vec::new())),
        Term::Var(name) => Some((name, Vec::new())),
        Term::Path(head, path) => {
            let (root, mut keys) = plain_path(head)?;
            for part in &path.0 {
                let (Part::Index(Term::Str(None, parts)), Opt::Essential) = part else {
                    return None;
                };
                match parts.as_slice() {
                    [load::lex::StrPart::Str(key)] => keys.push(*key),
                    _ => return None,
                }
            }
            Some((root, keys))
        }
        _ => None,
    }
}

fn to_source(root: &str, keys: &[&str], source: &str) -> Source {
    let keys = keys.iter().map(|key| (*key).to_owned()).collect();
    Source { root: to_root(root, source), keys }
}

fn to_root(name: &str, source: &str) -> Root {
    match name.strip_prefix('$') {
        None => Root::Value,
        Some(name) => {
            Root::Variable { name: name.to_owned(), definition: may_see_definition(name, source) }
        }
    }
}

/// Whether `$name` stands anywhere without a key that is not `definition` right behind it.
fn may_see_definition(name: &str, source: &str) -> bool {
    source.split(&format!("${name}")).skip(1).any(|after| {
        let key: String = after
            .strip_prefix('.')
            .map(|key| key.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect())
            .unwrap_or_default();
        key.is_empty() || key == "definition"
    })
}

impl Jq {
    pub(crate) fn sees_only_its_value(&self) -> bool {
        self.code.sources().iter().all(|source| source.root == Root::Value)
    }

    /// The names of the variables that it mentions, without their `$`, and whether it may look at their `definition`.
    pub(crate) fn mentions(&self) -> Vec<(&str, bool)> {
        let names = self.code.sources().into_iter().filter_map(|source| match &source.root {
            Root::Value => None,
            Root::Variable { name, definition } => Some((name.as_str(), *definition)),
        });
        names.collect()
    }

    pub(crate) fn run<'a>(&self, view: &View<'a>) -> Result<Output<'a>, String> {
        let result = self.code.run(view);
        result.map_err(|problem| format!("`{}`: {}", self.source, shorten(&problem)))
    }
}

impl Code {
    fn sources(&self) -> Vec<&Source> {
        match self {
            Self::Path(source) => vec![source],
            Self::Object(members) => members.iter().flat_map(|(_, code)| code.sources()).collect(),
            Self::Filter { variables, .. } => variables.iter().collect(),
        }
    }

    fn run<'a>(&self, view: &View<'a>) -> Result<Output<'a>, String> {
        match self {
            Self::Path(source) => follow(source, view),
            Self::Object(members) => {
                let mut out = String::new();
                write_object(members, view, &mut out)?;
                if json::is_too_deep(&out) {
                    return Err(too_deep());
                }
                Ok(Output::New(out))
            }
            // jq's library is not ours: what panics in it must not end a partition.
            Self::Filter { filter, variables, whole } => {
                let run = || interpret(filter, variables, *whole, view);
                catch_unwind(AssertUnwindSafe(run))
                    .unwrap_or_else(|_| Err("the expression cannot be evaluated".into()))
                    .map(Output::New)
            }
        }
    }
}

fn write_object(
    members: &[(String, Code)],
    view: &View<'_>,
    out: &mut String,
) -> Result<(), String> {
    out.push('{');
    for (i, (key, code)) in members.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        out.push_str(key);
        out.push(':');
        match code {
            Code::Object(members) => write_object(members, view, out)?,
            Code::Path(_) | Code::Filter { .. } => code.run(view)?.write_into(out),
        }
        if out.len() > limits::RESULT_BYTES_MAX {
            return Err(too_large());
        }
    }
    out.push('}');
    Ok(())
}

pub(crate) fn too_large() -> String {
    format!("the result is over {} bytes", limits::RESULT_BYTES_MAX)
}

pub(crate) fn too_deep() -> String {
    format!("the result is nested more than {} deep", limits::JSON_DEPTH_MAX)
}

/// Its own words may quote data.
fn shorten(text: &str) -> &str {
    json::cut(text, limits::DETAIL_BYTES_MAX)
}

/// Takes as much of a text as a detail may hold, and stops whoever writes more.
struct Short(String);

impl fmt::Write for Short {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = limits::DETAIL_BYTES_MAX - self.0.len();
        self.0.push_str(json::cut(text, room));
        if text.len() > room { Err(fmt::Error) } else { Ok(()) }
    }
}

fn follow<'a>(Source { root, keys }: &Source, view: &View<'a>) -> Result<Output<'a>, String> {
    let whole = view.text(root);
    let bytes = whole.as_ref().map_or_else(|built| built.len(), |json| json.len());
    if !view.meter.pay(1 + bytes as u64 / 16) {
        return Err("the expression takes too much work".into());
    }
    if keys.is_empty() {
        return Ok(match whole {
            Ok(json) => Output::Whole(json),
            Err(built) => Output::Part(built),
        });
    }
    let mut at: Cow<'a, str> = match whole {
        Ok(json) => Cow::Borrowed(json.as_str()),
        Err(built) => built,
    };
    for key in keys {
        let kind = match json::shape(&at) {
            Shape::Object => {
                at = match at {
                    Cow::Borrowed(text) => Cow::Borrowed(json::member(text, key).unwrap_or("null")),
                    Cow::Owned(text) => {
                        Cow::Owned(json::member(&text, key).unwrap_or("null").to_owned())
                    }
                };
                continue;
            }
            Shape::Null => return Ok(Output::Part(Cow::Borrowed("null"))),
            Shape::False => "boolean",
            Shape::Array => "array",
            Shape::Other(kind) => kind,
        };
        return Err(format!("cannot index {kind} with {}", json::string(key)));
    }
    Ok(Output::Part(at))
}

fn interpret(
    filter: &Filter<Metered>,
    variables: &[Source],
    whole: bool,
    view: &View<'_>,
) -> Result<String, String> {
    let meter = view.meter;
    let values = variables.iter().map(|source| {
        if source.keys.is_empty() {
            return view.value(&source.root);
        }
        view.read(follow(source, view)?.text())
    });
    let values = values.collect::<Result<Vec<_>, _>>()?;
    let context = Ctx::<Metered>::new(Run { lut: &filter.lut, meter }, Vars::new(values));
    let input = if whole { view.value(&Root::Value)? } else { Val::Null };
    let mut outputs = filter.id.run((context, input)).map(unwrap_valr);
    let first = outputs.next();
    let more = first.is_some() && outputs.next().is_some();
    if meter.empty.get() {
        return Err("the expression takes too much work".into());
    }
    match first {
        Some(Err(error)) => {
            let mut words = Short(String::new());
            // It fails when the words are cut short, which is the point.
            let _cut = write!(words, "{error}");
            Err(words.0)
        }
        Some(Ok(_)) if more => {
            Err("the expression gives more than one value; put [ ] around it".into())
        }
        Some(Ok(value)) => {
            let mut text = String::new();
            write(&value, 0, &mut text)?;
            Ok(text)
        }
        None => Ok("null".into()),
    }
}

fn write(value: &Val, depth: usize, out: &mut String) -> Result<(), String> {
    if depth > limits::JSON_DEPTH_MAX {
        return Err(too_deep());
    }
    match value {
        Val::Null => out.push_str("null"),
        Val::Bool(true) => out.push_str("true"),
        Val::Bool(false) => out.push_str("false"),
        Val::Num(Num::Float(number)) => write_float(*number, out)?,
        Val::Num(number) => {
            let text = number.to_string();
            if text.len() > limits::NUMBER_CHARS_MAX {
                return Err(format!(
                    "the result has a number of more than {} characters",
                    limits::NUMBER_CHARS_MAX
                ));
            }
            out.push_str(&text);
        }
        Val::TStr(text) => {
            let text = str::from_utf8(text).map_err(|_| "the result has text that is not UTF-8")?;
            json::write_string(text, out);
        }
        Val::BStr(_) => return Err("the result has a byte string, which JSON cannot say".into()),
        Val::Arr(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write(item, depth + 1, out)?;
            }
            out.push(']');
        }
        Val::Obj(members) => {
            out.push('{');
            for (i, (key, item)) in members.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                if !matches!(key, Val::TStr(_)) {
                    return Err("the result has a key that is not a string".into());
                }
                write(key, depth + 1, out)?;
                out.push(':');
                write(item, depth + 1, out)?;
            }
            out.push('}');
        }
    }
    if out.len() > limits::RESULT_BYTES_MAX {
        return Err(too_large());
    }
    Ok(())
}

/// Whole numbers without a fraction, as jq writes them: `10 / 2` is 5.
fn write_float(number: f64, out: &mut String) -> Result<(), String> {
    if !number.is_finite() {
        return Err("the result has a number that is not finite, which JSON cannot say".into());
    }
    let text = Val::Num(Num::Float(number)).to_string();
    out.push_str(text.strip_suffix(".0").unwrap_or(&text));
    Ok(())
}
