//! `metadata.once`, of a task: the key of what must not happen twice, whoever asks for it.

use baton_core::workflow::{Kind, Once};

use crate::{builder::Members, tasks::Tasks};

impl<'n> Tasks<'n> {
    pub(crate) fn once(&mut self, kind: &mut Kind, members: &Members<'n>) {
        let node = members.get("metadata").and_then(|metadata| metadata.get("once"));
        let Some(node) = node else { return };
        let Kind::Step { once, .. } = kind else {
            let message = "only what a worker does can be held to happen once";
            let hint = "say it at the task that calls";
            self.builder.sink.error_hint("once-without-step", node.place, message, hint);
            return;
        };
        let Some(own) = self.builder.members(node, "`once`", &["key", "again"], &[]) else {
            return;
        };
        let Some(key) = self.builder.required(&own, "key") else { return };
        let key = self.builder.template(key);
        let attach = match own.get("again").map(|node| (node.as_str(), node.place)) {
            None | Some((Some("refuse"), _)) => false,
            Some((Some("attach"), _)) => true,
            Some((_, place)) => {
                let message = "`again` is refuse or attach";
                self.builder.sink.error("invalid-value", place, message);
                false
            }
        };
        *once = Some(Once { key, attach });
    }
}
