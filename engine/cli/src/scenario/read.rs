//! Reads parts of a scenario file, and gathers what is wrong with them.

use baton_core::Duration;
use baton_dsl::{Member, Node, Place, Value};

use crate::finding::{Finding, Severity};

#[derive(Default)]
pub(super) struct Reader {
    pub(super) findings: Vec<Finding>,
}

impl Reader {
    pub(super) fn problem(&mut self, code: &str, at: Place, message: String, hint: &str) {
        self.findings.push(Finding {
            severity: Severity::Error,
            code: code.to_owned(),
            message,
            line: at.line,
            column: at.column,
            pointer: String::new(),
            hint: hint.to_owned(),
        });
    }

    /// The members of an object, whatever their keys.
    pub(super) fn members<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Member] {
        if let Value::Object(members) = &node.value {
            return members;
        }
        self.wrong_type(node, what, "an object");
        &[]
    }

    /// Complains about keys that do not belong there.
    pub(super) fn object(&mut self, node: &Node, what: &str, known: &[&str]) {
        for member in self.members(node, what) {
            if !known.contains(&member.key.as_str()) {
                let message = format!("{what} has no key `{}`", member.key);
                let hint = format!("known here: {}", known.join(", "));
                self.problem("unknown-key", member.place, message, &hint);
            }
        }
    }

    pub(super) fn required<'n>(&mut self, node: &'n Node, key: &str) -> Option<&'n Node> {
        let found = node.get(key);
        if found.is_none() && matches!(node.value, Value::Object(_)) {
            let message = format!("the key `{key}` is missing");
            self.problem("missing-key", node.place, message, "docs/testing.md shows the form");
        }
        found
    }

    pub(super) fn list<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Node] {
        if let Value::Array(items) = &node.value {
            return items;
        }
        self.wrong_type(node, what, "a list");
        &[]
    }

    pub(super) fn text<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n str> {
        let text = node.as_str();
        if text.is_none() {
            self.wrong_type(node, what, "a string");
        }
        text
    }

    pub(super) fn truth(&mut self, node: &Node, what: &str) -> bool {
        if let Value::Bool(truth) = node.value {
            return truth;
        }
        self.wrong_type(node, what, "true or false");
        false
    }

    /// The same of a key that is there to be true: what is neither was meant so, and is complained about once.
    pub(super) fn flag(&mut self, node: &Node, what: &str) -> bool {
        self.truth(node, what) || !matches!(node.value, Value::Bool(_))
    }

    /// As an HTTP status.
    pub(super) fn status(&mut self, node: &Node) -> Option<u16> {
        let Value::Number(text) = &node.value else {
            self.wrong_type(node, "`status`", "a number");
            return None;
        };
        let status = text.parse().ok().filter(|status| (100..600).contains(status));
        if status.is_none() {
            let message = "`status` must be a whole number from 100 to 599".into();
            self.problem("invalid-value", node.place, message, "as HTTP has them");
        }
        status
    }

    pub(super) fn duration(&mut self, node: &Node) -> Duration {
        baton_dsl::duration(node).unwrap_or_else(|problem| {
            self.problem("invalid-duration", node.place, problem, "write PT5M or { minutes: 5 }");
            Duration(0)
        })
    }

    fn wrong_type(&mut self, node: &Node, what: &str, wanted: &str) {
        let message = format!("{what} must be {wanted}, not {}", node.what());
        self.problem("invalid-type", node.place, message, "docs/testing.md shows the form");
    }
}
