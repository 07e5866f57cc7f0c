//! Retry policies.

use baton_core::workflow::{Backoff, Expression, Retry};

use crate::{
    tasks::Tasks,
    tree::{Node, Value},
};

impl<'n> Tasks<'n> {
    /// Inline, or a name of `use.retries`.
    pub(crate) fn retry(&mut self, node: &'n Node) -> Option<Retry> {
        let Some(name) = node.as_str() else { return self.retry_inline(node) };
        let Some((name, (defined, _))) = self.reusable.retries.get_key_value(name) else {
            self.unknown_part(
                "retry",
                name,
                node.place,
                self.reusable.retries.keys().copied().collect(),
            );
            return None;
        };
        self.used.retries.insert(name);
        self.retry_inline(defined)
    }

    pub(crate) fn retry_inline(&mut self, node: &Node) -> Option<Retry> {
        let known = ["when", "exceptWhen", "delay", "backoff", "jitter", "limit"];
        let own = self.builder.members(node, "a retry policy", &known, &[])?;
        let when = own.get("when").map(|node| self.builder.expression(node));
        let except_when = own.get("exceptWhen").map(|node| self.builder.expression(node));
        let delay = own.get("delay").map(|node| self.builder.duration(node));
        let backoff = own.get("backoff").map_or(Backoff::Constant, |node| self.backoff(node));
        let jitter = own.get("jitter").and_then(|node| self.jitter(node));
        let (attempts_max, duration_max) =
            own.get("limit").map(|node| self.limit(node)).unwrap_or_default();
        Some(Retry { when, except_when, delay, backoff, jitter, attempts_max, duration_max })
    }

    fn backoff(&mut self, node: &Node) -> Backoff {
        let Some(own) =
            self.builder.members(node, "`backoff`", &["constant", "linear", "exponential"], &[])
        else {
            return Backoff::Constant;
        };
        if own.members.len() != 1 {
            let message = "`backoff` must be one of constant, linear and exponential";
            self.builder.sink.error("invalid-value", node.place, message);
        }
        for member in own.members {
            if let Value::Object(settings) = &member.value.value
                && let Some(setting) = settings.first()
            {
                let message = format!("`{}` of a backoff is not supported", setting.key);
                self.builder.sink.error("unsupported", setting.place, message);
            } else if !matches!(&member.value.value, Value::Object(_)) {
                self.builder.sink.error(
                    "invalid-type",
                    member.value.place,
                    "a backoff must be an empty object",
                );
            }
        }
        match own.members.first().map(|member| member.key.as_str()) {
            Some("linear") => Backoff::Linear,
            Some("exponential") => Backoff::Exponential,
            _ => Backoff::Constant,
        }
    }

    fn jitter(&mut self, node: &Node) -> Option<(Expression, Expression)> {
        let own = self.builder.members(node, "`jitter`", &["from", "to"], &[])?;
        let from = self.builder.required(&own, "from").map(|node| self.builder.duration(node));
        let to = self.builder.required(&own, "to").map(|node| self.builder.duration(node));
        from.zip(to)
    }

    fn limit(&mut self, node: &Node) -> (Option<u32>, Option<Expression>) {
        let Some(own) = self.builder.members(node, "`limit`", &["attempt", "duration"], &[]) else {
            return (None, None);
        };
        let attempt = own.get("attempt").and_then(|node| {
            // The schema and the reference disagree on what `limit.attempt.duration` bounds.
            self.builder.members(node, "`limit.attempt`", &["count"], &["duration"])
        });
        let count = attempt
            .and_then(|attempt| attempt.get("count"))
            .and_then(|node| self.builder.number(node, "`count`", 1, 1_000_000));
        (count, own.get("duration").map(|node| self.builder.duration(node)))
    }
}
