//! What each kind of task holds.

use std::sync::Arc;

use baton_core::{
    TaskId, limits as core_limits,
    workflow::{Case, Catch, Expression, Filter, Function, Kind, Then},
};

use crate::{
    builder::{Members, inside},
    calls, functions, limits,
    tasks::{Slot, Tasks},
    tree::{Node, Value},
};

impl<'n> Tasks<'n> {
    /// The task's own part; its children get the next numbers.
    pub(crate) fn kind(
        &mut self,
        id: TaskId,
        kind: &str,
        members: &Members<'n>,
        pointer: &str,
    ) -> Option<Kind> {
        let node = members.get(kind)?;
        match kind {
            "call" => self.call(id, node, members, pointer),
            "do" => Some(Kind::Do { first: self.list(node, &format!("{pointer}/do"), false) }),
            "set" => self.set(node),
            "switch" => Some(self.switch(id, node)),
            "for" => self.each(node, members, pointer),
            "fork" => self.fork(node, pointer),
            "try" => self.attempt(id, node, members, pointer),
            "raise" => self.raise(node),
            "wait" => Some(Kind::Wait { duration: self.builder.duration(node) }),
            "emit" => self.emit(node),
            "listen" => self.listen(node, members, pointer),
            "run" => {
                let attempts_max = self.attempts(members);
                self.run(node, attempts_max)
            }
            _ => None,
        }
    }

    fn call(
        &mut self,
        id: TaskId,
        node: &'n Node,
        members: &Members<'n>,
        pointer: &str,
    ) -> Option<Kind> {
        let name = self.builder.string(node, "`call`")?;
        if name == "map" {
            return self.map_call(id, members, pointer);
        }
        let attempts_max = self.attempts(members);
        if let Some(fields) = calls::protocol(name) {
            return self.protocol(name, fields, members, attempts_max);
        }
        let with = members.get("with");
        if let Some(with) = with.filter(|with| !matches!(with.value, Value::Object(_))) {
            let message = format!("`with` must be an object, not {}", with.what());
            self.builder.sink.error("invalid-type", with.place, message);
        }
        if let Some(reference) = functions::reference(name) {
            let arguments = with.map(|with| self.builder.template(with));
            return self.call_reference(id, node, &reference, arguments);
        }
        if let Some((name, _)) = self.reusable.functions.get_key_value(name) {
            let arguments = with.map(|with| self.builder.template(with));
            self.used.functions.insert(name);
            self.calls.push((id, name, self.extending));
            return Some(Kind::Function { body: TaskId::ROOT, arguments });
        }
        let (department, function) = match name.split_once('.') {
            Some((department, function)) => (department, function),
            None => (self.namespace.as_str(), name),
        };
        if !is_token(function) || (name.contains('.') && !is_token(department)) {
            let message = format!("`{name}` is not a function's name");
            let hint = "department.function, each of up to 63 letters, digits, - and _";
            self.builder.sink.error_hint("invalid-value", node.place, message, hint);
            return None;
        }
        let function = Function { department: Arc::from(department), name: Arc::from(function) };
        let (arguments, secrets) = with.map(|with| self.builder.step_arguments(with)).unzip();
        let secrets = secrets.unwrap_or_default();
        Some(Kind::Step {
            function,
            arguments,
            attempts_max,
            secrets,
            awaits: true,
            facts: None,
            once: None,
        })
    }

    /// `metadata.attempts`.
    fn attempts(&mut self, members: &Members<'n>) -> u32 {
        let node = members.get("metadata").and_then(|metadata| metadata.get("attempts"));
        node.and_then(|node| self.builder.number(node, "`attempts`", 1, limits::ATTEMPTS_MAX))
            .unwrap_or(core_limits::STEP_ATTEMPTS)
    }

    fn set(&mut self, node: &Node) -> Option<Kind> {
        let good = match &node.value {
            Value::Object(members) => !members.is_empty(),
            Value::String(text) => self.builder.loose || inside(text).is_some(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => false,
        };
        if !good {
            let message = "`set` must be an object with at least one key, or an expression";
            self.builder.sink.error_hint(
                "invalid-type",
                node.place,
                message,
                "write an expression as ${ … }",
            );
            return None;
        }
        Some(Kind::Set { value: self.builder.template(node) })
    }

    fn switch(&mut self, id: TaskId, node: &'n Node) -> Kind {
        let items = self.builder.list(node, "`switch`");
        if items.is_empty() {
            self.builder.sink.error(
                "invalid-value",
                node.place,
                "`switch` needs at least one case",
            );
        }
        let mut cases: Vec<Case> = Vec::new();
        let mut default_seen = false;
        for item in items {
            let Some(member) = item.single() else {
                let message = "a case must be an object with one key, the case's name";
                self.builder.sink.error("invalid-type", item.place, message);
                continue;
            };
            let Some(case) = self.builder.members(&member.value, "a case", &["when", "then"], &[])
            else {
                continue;
            };
            let when = case.get("when").map(|node| self.builder.expression(node));
            if when.is_none() {
                if default_seen {
                    let message = "only one case may be without `when`";
                    self.builder.sink.error("duplicate-default", member.place, message);
                }
                default_seen = true;
            } else if default_seen {
                let message = "no case after the one without `when` is looked at";
                let hint = "put the case without `when` last";
                self.builder.sink.warn("unreachable-case", member.place, message, hint);
            }
            if cases.iter().any(|known| *known.name == *member.key) {
                let message = format!("this switch has another case `{}`", member.key);
                self.builder.sink.error("duplicate-case", member.place, message);
            }
            let slot = Slot::Case(cases.len());
            let then = match self.builder.required(&case, "then") {
                Some(then) => self.then(id, slot, then),
                None => Then::Continue,
            };
            cases.push(Case { name: Arc::from(member.key.as_str()), when, then });
        }
        Kind::Switch { cases }
    }

    fn each(&mut self, node: &'n Node, members: &Members<'n>, pointer: &str) -> Option<Kind> {
        let own = self.builder.members(node, "`for`", &["each", "in", "at"], &[])?;
        let (each, at) = self.builder.item_variables(&own, "each")?;
        let node = self.builder.required(&own, "in")?;
        if !matches!(node.value, Value::String(_) | Value::Array(_)) {
            let message = format!("`in` must be an expression or a list, not {}", node.what());
            self.builder.sink.error("invalid-type", node.place, message);
        }
        let items = self.builder.transformation(node);
        self.builder.variables.extend([each.clone(), at.clone()]);
        let condition = members.get("while").map(|node| self.builder.expression(node));
        let body = self.builder.required(members, "do");
        let first = body.and_then(|body| self.list(body, &format!("{pointer}/do"), false));
        self.builder.variables.truncate(self.builder.variables.len() - 2);
        Some(Kind::For { each: each.into(), at: at.into(), items, condition, first })
    }

    fn fork(&mut self, node: &'n Node, pointer: &str) -> Option<Kind> {
        let own = self.builder.members(node, "`fork`", &["branches", "compete"], &[])?;
        let compete = match own.get("compete").map(|node| (&node.value, node.place)) {
            None => false,
            Some((Value::Bool(compete), _)) => *compete,
            Some((_, place)) => {
                self.builder.sink.error("invalid-type", place, "`compete` must be true or false");
                false
            }
        };
        let list = self.builder.required(&own, "branches")?;
        let branches = self.ids(list, &format!("{pointer}/fork/branches"), true);
        Some(Kind::Fork { branches, compete })
    }

    fn attempt(
        &mut self,
        id: TaskId,
        node: &'n Node,
        members: &Members<'n>,
        pointer: &str,
    ) -> Option<Kind> {
        let first = self.list(node, &format!("{pointer}/try"), false);
        let node = self.builder.required(members, "catch")?;
        let known = ["errors", "as", "when", "exceptWhen", "retry", "do", "then"];
        let own = self.builder.members(node, "`catch`", &known, &[])?;
        let filter = own.get("errors").map(|node| self.filter(node)).unwrap_or_default();
        let variable = own
            .get("as")
            .map_or(Some("error".into()), |node| self.builder.variable(node, "`as`"))?;
        self.builder.variables.push(variable.clone());
        let when = own.get("when").map(|node| self.builder.expression(node));
        let except_when = own.get("exceptWhen").map(|node| self.builder.expression(node));
        let retry = own.get("retry").and_then(|node| self.retry(node));
        let handler =
            own.get("do").and_then(|node| self.list(node, &format!("{pointer}/catch/do"), false));
        self.builder.variables.pop();
        let then = own.get("then").map(|node| self.then(id, Slot::Catch, node));
        let variable = Arc::from(variable);
        Some(Kind::Try {
            first,
            catch: Catch { filter, when, except_when, variable, retry, first: handler, then },
        })
    }

    /// `catch.errors`.
    fn filter(&mut self, node: &Node) -> Filter {
        let with = self
            .builder
            .members(node, "`errors`", &["with"], &[])
            .and_then(|errors| errors.get("with"));
        let known = ["type", "status", "instance", "title", "detail", "details"];
        let Some(with) = with.and_then(|with| self.builder.members(with, "`with`", &known, &[]))
        else {
            return Filter::default();
        };
        if with.members.is_empty() {
            let message = "`with` needs at least one field of an error";
            let hint = "leave `errors` out to take every error";
            self.builder.sink.error_hint("invalid-value", with.place, message, hint);
        }
        let mut text = |key: &str| {
            with.get(key)
                .and_then(|node| self.builder.string(node, &format!("`{key}`")))
                .map(Arc::from)
        };
        let (kind, instance, title) = (text("type"), text("instance"), text("title"));
        // The schema of before spelt it with an s.
        let detail = text("detail").or_else(|| text("details"));
        let status =
            with.get("status").and_then(|node| self.builder.number(node, "`status`", 100, 599));
        Filter {
            kind,
            status: status.and_then(|status| u16::try_from(status).ok()),
            instance,
            title,
            detail,
        }
    }

    fn raise(&mut self, node: &'n Node) -> Option<Kind> {
        let own = self.builder.members(node, "`raise`", &["error"], &[])?;
        let error = self.builder.required(&own, "error")?;
        let Some(name) = error.as_str() else {
            return Some(Kind::Raise { error: self.error(error) });
        };
        let Some((name, (defined, _))) = self.reusable.errors.get_key_value(name) else {
            self.unknown_part(
                "error",
                name,
                error.place,
                self.reusable.errors.keys().copied().collect(),
            );
            return None;
        };
        self.used.errors.insert(name);
        Some(Kind::Raise { error: self.error(defined) })
    }

    /// An error's definition: literals or expressions.
    pub(crate) fn error(&mut self, node: &Node) -> Expression {
        let known = ["type", "status", "title", "detail", "instance"];
        if let Some(own) = self.builder.members(node, "an error", &known, &[]) {
            self.builder.required(&own, "type");
            self.builder.required(&own, "status");
            for member in own.members {
                let is_expression =
                    member.value.as_str().is_some_and(|text| inside(text).is_some());
                let what = format!("`{}`", member.key);
                match member.key.as_str() {
                    "status" if !is_expression => {
                        self.builder.number(&member.value, &what, 100, 599);
                    }
                    "type" => self.builder.uri(&member.value, &what),
                    _ => {
                        self.builder.string(&member.value, &what);
                    }
                }
            }
        }
        self.builder.template(node)
    }
}

/// A part of a subject of the broker.
fn is_token(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        && text.as_bytes()[0].is_ascii_alphanumeric()
}
