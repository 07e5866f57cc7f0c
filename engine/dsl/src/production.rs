//! What a document must say before it runs where it matters: who answers for it.

use crate::{diagnostic::Sink, tree::Node};

/// Each as a text in `document.metadata`.
pub(crate) fn check(tree: &Node, sink: &mut Sink) {
    let document = tree.get("document");
    let metadata = document.and_then(|document| document.get("metadata"));
    let place = metadata.or(document).unwrap_or(tree).place;
    let says = |key: &str| {
        let text = metadata.and_then(|metadata| metadata.get(key)).and_then(Node::as_str);
        text.is_some_and(|text| !text.trim().is_empty())
    };
    if !says("owner") {
        let message = "nobody is said to own it";
        sink.error_hint("missing-owner", place, message, "add document.metadata.owner: a team");
    }
    if !says("onCall") {
        let message = "nobody is said to be called when it fails";
        let hint = "add document.metadata.onCall: whom to reach, at any hour";
        sink.error_hint("missing-on-call", place, message, hint);
    }
    if !says("risk") {
        let message = "its class of risk is not said";
        let hint = "add document.metadata.risk, as policies name it: low, high, …";
        sink.error_hint("missing-risk", place, message, hint);
    }
}
