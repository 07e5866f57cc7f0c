//! The calls that the language defines itself: each is a step, whose arguments have one shape whatever the author's was.

use std::sync::Arc;

use baton_core::workflow::{Function, Kind};

use crate::{
    builder::Members,
    forms::{Field, Form, needed, optional},
    program::Segment,
    tasks::Tasks,
    tree::{Node, Value},
};

/// The function's name, and its arguments.
const PROTOCOLS: [(&str, &[Field]); 6] = [
    ("http", HTTP),
    ("openapi", OPENAPI),
    ("grpc", GRPC),
    ("asyncapi", ASYNCAPI),
    ("a2a", A2A),
    ("mcp", MCP),
];

const OUTPUT: Form = Form::Word(&["raw", "content", "response"]);

const HTTP: &[Field] = &[
    needed("method", Form::Text),
    needed("endpoint", Form::Endpoint),
    optional("headers", Form::MapOrExpression(&Form::Text)),
    // The schema has strings, the text has anything: what can stand in a URI is taken.
    optional("query", Form::MapOrExpression(&Form::Scalar)),
    optional("body", Form::Any),
    optional("output", OUTPUT),
    optional("redirect", Form::Flag),
];

const OPENAPI: &[Field] = &[
    needed("document", Form::Resource),
    needed("operationId", Form::Text),
    optional("parameters", Form::Map(&Form::Any)),
    optional("authentication", Form::Authentication),
    optional("output", OUTPUT),
    optional("redirect", Form::Flag),
];

const GRPC: &[Field] = &[
    needed("proto", Form::Resource),
    needed("service", Form::Object(GRPC_SERVICE)),
    needed("method", Form::Text),
    optional("arguments", Form::Map(&Form::Any)),
];

const GRPC_SERVICE: &[Field] = &[
    needed("name", Form::Text),
    needed("host", Form::Host),
    optional("port", Form::Whole(0, 65_535)),
    optional("authentication", Form::Authentication),
];

const ASYNCAPI: &[Field] = &[
    needed("document", Form::Resource),
    optional("channel", Form::Text),
    optional("operation", Form::Text),
    optional("server", Form::Object(ASYNCAPI_SERVER)),
    optional("protocol", Form::Word(ASYNCAPI_PROTOCOLS)),
    optional("message", Form::Object(ASYNCAPI_MESSAGE)),
    optional("subscription", Form::Object(ASYNCAPI_SUBSCRIPTION)),
    optional("authentication", Form::Authentication),
];

const ASYNCAPI_SERVER: &[Field] =
    &[needed("name", Form::Text), optional("variables", Form::Map(&Form::Any))];

const ASYNCAPI_PROTOCOLS: &[&str] = &[
    "amqp",
    "amqp1",
    "anypointmq",
    "googlepubsub",
    "http",
    "ibmmq",
    "jms",
    "kafka",
    "mercure",
    "mqtt",
    "mqtt5",
    "nats",
    "pulsar",
    "redis",
    "sns",
    "solace",
    "sqs",
    "stomp",
    "ws",
];

const ASYNCAPI_MESSAGE: &[Field] =
    &[optional("payload", Form::Map(&Form::Any)), optional("headers", Form::Map(&Form::Any))];

const ASYNCAPI_SUBSCRIPTION: &[Field] = &[
    optional("filter", Form::Predicate),
    needed("consume", Form::Object(ASYNCAPI_CONSUME)),
    optional(
        "foreach",
        Form::Refused("the output is a list of the messages: loop over it with `for`"),
    ),
];

const ASYNCAPI_CONSUME: &[Field] = &[
    optional("amount", Form::Whole(1, 1_000_000)),
    optional("while", Form::Predicate),
    optional("until", Form::Predicate),
    optional("for", Form::Duration),
];

const A2A: &[Field] = &[
    optional("agentCard", Form::Resource),
    optional("server", Form::Endpoint),
    needed("method", Form::Word(A2A_METHODS)),
    optional("parameters", Form::MapOrExpression(&Form::Any)),
];

const A2A_METHODS: &[&str] = &[
    "message/send",
    "message/stream",
    "tasks/get",
    "tasks/list",
    "tasks/cancel",
    "tasks/resubscribe",
    "tasks/pushNotificationConfig/set",
    "tasks/pushNotificationConfig/get",
    "tasks/pushNotificationConfig/list",
    "tasks/pushNotificationConfig/delete",
    "agent/getAuthenticatedExtendedCard",
];

const MCP: &[Field] = &[
    optional("protocolVersion", Form::Text),
    needed("method", Form::Word(MCP_METHODS)),
    optional("parameters", Form::MapOrExpression(&Form::Any)),
    optional("timeout", Form::Duration),
    needed("transport", Form::Object(MCP_TRANSPORT)),
    optional("client", Form::Object(MCP_CLIENT)),
];

const MCP_METHODS: &[&str] = &[
    "tools/list",
    "tools/call",
    "prompts/list",
    "prompts/get",
    "resources/list",
    "resources/read",
    "resources/templates/list",
];

const MCP_TRANSPORT: &[Field] = &[
    optional("http", Form::Object(MCP_HTTP)),
    optional("stdio", Form::Object(MCP_STDIO)),
    optional("options", Form::Map(&Form::Text)),
];

const MCP_HTTP: &[Field] =
    &[needed("endpoint", Form::Endpoint), optional("headers", Form::Map(&Form::Text))];

const MCP_STDIO: &[Field] = &[
    needed("command", Form::Text),
    optional("arguments", Form::List(&Form::Text)),
    optional("environment", Form::Map(&Form::Text)),
];

const MCP_CLIENT: &[Field] = &[needed("name", Form::Text), needed("version", Form::Text)];

/// What a call of the language takes; `None` for any other name.
pub(crate) fn protocol(name: &str) -> Option<&'static [Field]> {
    PROTOCOLS.iter().find(|(known, _)| *known == name).map(|(_, fields)| *fields)
}

impl<'n> Tasks<'n> {
    /// `call: http` and its like.
    pub(crate) fn protocol(
        &mut self,
        name: &str,
        fields: &'static [Field],
        members: &Members<'n>,
        attempts_max: u32,
    ) -> Option<Kind> {
        let with = self.builder.required(members, "with")?;
        let mut out = self.begin_step();
        let given = self.object(&format!("`with` of a `call: {name}`"), with, fields, &mut out);
        if let Some(given) = given {
            self.choices(name, &given);
        }
        Some(self.own_step(name, attempts_max, true, out))
    }

    pub(crate) fn begin_step(&mut self) -> Vec<Segment> {
        self.builder.step_secrets = Some(std::collections::BTreeSet::new());
        vec![Segment::Text(String::new())]
    }

    /// A step of one of the language's own functions, in the workflow's department.
    pub(crate) fn own_step(
        &mut self,
        name: &str,
        attempts_max: u32,
        awaits: bool,
        arguments: Vec<Segment>,
    ) -> Kind {
        let arguments = self.builder.finish(arguments);
        Kind::Step {
            function: Function {
                department: Arc::from(self.namespace.as_str()),
                name: Arc::from(name),
            },
            arguments: Some(arguments),
            attempts_max,
            secrets: self.builder.end_of_step(),
            awaits,
            facts: None,
            once: None,
        }
    }

    /// What the fields cannot say each for itself.
    fn choices(&mut self, name: &str, with: &Members<'n>) {
        match name {
            "asyncapi" => {
                self.one_of(with, &["operation", "channel"]);
                self.one_of(with, &["message", "subscription"]);
                if let Some(consume) = with.get("subscription").and_then(|of| of.get("consume")) {
                    self.one_of_node(consume, &["amount", "while", "until"]);
                }
            }
            "a2a" => {
                if with.get("agentCard").is_none() && with.get("server").is_none() {
                    let message = "one of the keys `agentCard` and `server` is missing";
                    self.builder.sink.error("missing-key", with.place, message);
                }
                let empty =
                    |node: &Node| matches!(&node.value, Value::Object(own) if own.is_empty());
                if let Some(parameters) = with.get("parameters").filter(|node| empty(node)) {
                    let message = "`parameters` must have at least one key";
                    self.builder.sink.error("invalid-value", parameters.place, message);
                }
            }
            "mcp" => {
                if let Some(transport) = with.get("transport") {
                    self.one_of_node(transport, &["http", "stdio"]);
                }
            }
            _ => {}
        }
    }

    fn one_of_node(&mut self, node: &'n Node, keys: &[&str]) {
        if let Value::Object(members) = &node.value {
            self.one_of(&Members { members, place: node.place }, keys);
        }
    }

    /// Exactly one of the keys is there; gives it.
    pub(crate) fn one_of<'k>(
        &mut self,
        members: &Members<'n>,
        keys: &[&'k str],
    ) -> Option<&'k str> {
        let mut found = keys.iter().filter(|key| members.get(key).is_some());
        match (found.next(), found.next()) {
            (Some(key), None) => Some(key),
            (None, _) => {
                let message = format!("one of the keys {} is missing", listed(keys));
                self.builder.sink.error("missing-key", members.place, message);
                None
            }
            (Some(_), Some(_)) => {
                let second =
                    members.members.iter().filter(|m| keys.contains(&m.key.as_str())).nth(1);
                let place = second.map_or(members.place, |member| member.place);
                let message = format!("only one of the keys {} may be there", listed(keys));
                self.builder.sink.error("invalid-value", place, message);
                None
            }
        }
    }
}

fn listed(keys: &[&str]) -> String {
    keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
}
