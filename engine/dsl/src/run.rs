//! Processes that a task runs: each is a step, as a call is.

use baton_core::workflow::Kind;

use crate::{
    builder::{Members, append},
    forms::{Field, Form, needed, optional},
    tasks::Tasks,
    tree::{Node, Value},
};

/// The function's name, and what stands under it.
const PROCESSES: [(&str, &[Field]); 3] =
    [("container", CONTAINER), ("script", SCRIPT), ("shell", SHELL)];

const ARGUMENTS: Form = Form::List(&Form::Text);

const CONTAINER: &[Field] = &[
    needed("image", Form::Text),
    optional("name", Form::Text),
    optional("command", Form::Text),
    optional("ports", Form::Map(&Form::Any)),
    optional("volumes", Form::Map(&Form::Any)),
    optional("environment", Form::Map(&Form::Scalar)),
    optional("stdin", Form::Text),
    optional("arguments", ARGUMENTS),
    optional("lifetime", Form::Object(LIFETIME)),
    optional("pullPolicy", Form::Word(&["ifNotPresent", "always", "never"])),
];

const LIFETIME: &[Field] = &[
    needed("cleanup", Form::Word(&["always", "never", "eventually"])),
    optional("after", Form::Duration),
];

const SCRIPT: &[Field] = &[
    needed("language", Form::Word(&["js", "python"])),
    optional("code", Form::Text),
    optional("source", Form::Resource),
    optional("stdin", Form::Text),
    optional("arguments", ARGUMENTS),
    optional("environment", Form::Map(&Form::Scalar)),
];

const SHELL: &[Field] = &[
    needed("command", Form::Text),
    optional("stdin", Form::Text),
    optional("arguments", ARGUMENTS),
    optional("environment", Form::Map(&Form::Scalar)),
];

/// Beside the process itself.
const SETTINGS: &[Field] = &[
    optional("await", Form::Flag),
    optional("return", Form::Word(&["stdout", "stderr", "code", "all", "none"])),
];

impl<'n> Tasks<'n> {
    /// `run`.
    pub(crate) fn run(&mut self, node: &'n Node, attempts_max: u32) -> Option<Kind> {
        let known = ["container", "script", "shell", "workflow", "await", "return"];
        let members = self.builder.members(node, "`run`", &known, &[])?;
        let name = self.one_of(&members, &["container", "script", "shell", "workflow"])?;
        let awaits = self.awaits(&members);
        if name == "workflow" {
            if let Some(wanted) = members.get("return") {
                let message = "`return` is for processes; a workflow gives its output";
                self.builder.sink.error("invalid-value", wanted.place, message);
            }
            return self.run_workflow(members.get(name)?, awaits);
        }
        let (_, fields) = PROCESSES.iter().find(|(known, _)| *known == name)?;
        let process = members.get(name)?;
        let keys: Vec<&str> = fields.iter().map(|field| field.key).collect();
        let own = self.builder.members(process, &format!("`{name}`"), &keys, &[])?;
        let mut out = self.begin_step();
        append(&mut out, "{");
        if self.fields(&own, fields, &mut out) {
            let others = members.get("await").or(members.get("return"));
            append(&mut out, if others.is_some() { "," } else { "" });
        }
        self.fields(&members, SETTINGS, &mut out);
        append(&mut out, "}");
        match name {
            "container" => self.lifetime(&own),
            "script" => {
                self.one_of(&own, &["code", "source"]);
            }
            _ => {}
        }
        Some(self.own_step(name, attempts_max, awaits, out))
    }

    fn awaits(&mut self, run: &Members<'n>) -> bool {
        match run.get("await").map(|node| (&node.value, node.place)) {
            Some((Value::Bool(awaits), _)) => *awaits,
            Some((_, place)) if run.get("workflow").is_some() => {
                self.builder.sink.error("invalid-type", place, "`await` must be true or false");
                true
            }
            Some(_) | None => true,
        }
    }

    /// `after` stands with `eventually` and with nothing else.
    fn lifetime(&mut self, container: &Members<'n>) {
        let Some(lifetime) = container.get("lifetime") else { return };
        let eventually =
            lifetime.get("cleanup").and_then(Node::as_str).is_some_and(|word| word == "eventually");
        match lifetime.get("after") {
            None if eventually => {
                let message = "the key `after` is missing";
                self.builder.sink.error("missing-key", lifetime.place, message);
            }
            Some(after) if !eventually => {
                let message = "`after` is for `cleanup: eventually` alone";
                self.builder.sink.error("invalid-value", after.place, message);
            }
            Some(_) | None => {}
        }
    }
}
