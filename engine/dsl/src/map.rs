//! `call: map`: a task list for each item of an array, some at a time.

use std::sync::Arc;

use baton_core::{TaskId, limits, workflow::Kind};

use crate::{
    builder::Members,
    tasks::{Tasks, index},
};

impl<'n> Tasks<'n> {
    /// `do` is data for the language's schema, and a task list for us.
    pub(crate) fn map_call(
        &mut self,
        id: TaskId,
        members: &Members<'n>,
        pointer: &str,
    ) -> Option<Kind> {
        let with = self.builder.required(members, "with")?;
        let known = ["in", "each", "at", "concurrency", "do", "onError"];
        let own = self.builder.members(with, "`with` of a `call: map`", &known, &[])?;
        let names = self.builder.item_variables(&own, "each");
        let items = self.builder.required(&own, "in").map(|node| self.builder.transformation(node));
        let concurrency = own
            .get("concurrency")
            .and_then(|node| {
                let most = limits::MAP_CONCURRENCY_MAX;
                self.builder.number(node, "`concurrency`", 1, most)
            })
            .unwrap_or(limits::MAP_CONCURRENCY);
        let collect = match own.get("onError").map(|node| (node.as_str(), node.place)) {
            None | Some((Some("fail"), _)) => false,
            Some((Some("collect"), _)) => true,
            Some((_, place)) => {
                let message = "`onError` is fail or collect";
                self.builder.sink.error("invalid-value", place, message);
                false
            }
        };
        let list = self.builder.required(&own, "do");
        let ((each, at), items, list) = (names?, items?, list?);
        // Each item has a passage of its own through this list.
        let pointer = format!("{pointer}/with/do");
        let name = Arc::clone(&self.drafts[index(id)].task.name);
        let body = self.made(&name, &pointer, list.place);
        self.builder.variables.extend([each.clone(), at.clone()]);
        let first = self.list(list, &pointer, false);
        self.builder.variables.truncate(self.builder.variables.len() - 2);
        self.drafts[index(body)].task.kind = Kind::Do { first };
        Some(Kind::Map { each: each.into(), at: at.into(), items, body, concurrency, collect })
    }
}
