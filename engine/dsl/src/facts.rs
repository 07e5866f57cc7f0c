//! `metadata.facts`, of a task and of the document: what a step shows of itself to policies.

use baton_core::workflow::Kind;

use crate::{
    builder::Members,
    tasks::Tasks,
    tree::{Member, Node, Value},
};

/// What an author may declare of a step, as `policies/baton.cedarschema` has it. All else the engine itself knows.
pub const DECLARED_FACTS: [&str; 7] =
    ["amount", "customer", "evidence", "marks", "destination", "classes", "confidence"];

impl<'n> Tasks<'n> {
    /// Reads those of the document, which hold for every step that does not say otherwise.
    pub(crate) fn facts_of_document(&mut self, metadata: Option<&'n Node>) {
        if let Some(node) = metadata.and_then(|metadata| metadata.get("facts")) {
            self.facts = self.declared(node).unwrap_or_default();
        }
    }

    /// Reads those of a task into its kind.
    pub(crate) fn facts(&mut self, kind: &mut Kind, members: &Members<'n>) {
        let node = members.get("metadata").and_then(|metadata| metadata.get("facts"));
        let own = node.and_then(|node| self.declared(node)).unwrap_or_default();
        let Kind::Step { facts, .. } = kind else {
            if let Some(node) = node {
                let message = "facts are of what a worker does, and no worker does this task";
                let hint =
                    "declare them at the tasks that call, or for all of them at the document";
                self.builder.sink.error_hint("facts-without-step", node.place, message, hint);
            }
            return;
        };
        let around = self.facts.iter().filter(|fact| own.iter().all(|own| own.key != fact.key));
        let all: Vec<Member> = around.chain(own).cloned().collect();
        if let Some(place) = all.first().map(|fact| fact.place) {
            *facts = Some(self.builder.template(&Node { value: Value::Object(all), place }));
        }
    }

    fn declared(&mut self, node: &'n Node) -> Option<&'n [Member]> {
        self.builder.members(node, "`facts`", &DECLARED_FACTS, &[])?;
        if let Value::Object(members) = &node.value { Some(members) } else { None }
    }
}
