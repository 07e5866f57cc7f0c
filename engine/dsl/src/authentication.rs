//! Authentication policies, written into the arguments of the step that uses them.

use crate::{
    builder::{Members, append},
    forms::{Field, Form, needed, optional},
    json,
    program::Segment,
    tasks::Tasks,
    tree::{Node, Value},
};

const SCHEMES: [(&str, &[Field]); 5] = [
    ("basic", CREDENTIALS),
    ("bearer", BEARER),
    ("digest", CREDENTIALS),
    ("oauth2", OAUTH2),
    ("oidc", OIDC),
];

const CREDENTIALS: &[Field] = &[needed("username", Form::Text), needed("password", Form::Text)];

const BEARER: &[Field] = &[needed("token", Form::Text)];

const AUTHORITY: Field = needed("authority", Form::Uri);
const GRANT: Field = needed("grant", Form::Word(GRANTS));
const CLIENT: Field = optional("client", Form::Object(OAUTH2_CLIENT));
const REQUEST: Field = optional("request", Form::Object(OAUTH2_REQUEST));
const ISSUERS: Field = optional("issuers", Form::List(&Form::Text));
const SCOPES: Field = optional("scopes", Form::List(&Form::Text));
const AUDIENCES: Field = optional("audiences", Form::List(&Form::Text));
const USERNAME: Field = optional("username", Form::Text);
const PASSWORD: Field = optional("password", Form::Text);
const SUBJECT: Field = optional("subject", Form::Object(OAUTH2_TOKEN));
const ACTOR: Field = optional("actor", Form::Object(OAUTH2_TOKEN));

const OAUTH2: &[Field] = &[
    AUTHORITY,
    GRANT,
    CLIENT,
    REQUEST,
    ISSUERS,
    SCOPES,
    AUDIENCES,
    USERNAME,
    PASSWORD,
    SUBJECT,
    ACTOR,
    optional("endpoints", Form::Object(OAUTH2_ENDPOINTS)),
];

/// Its endpoints are found under the authority.
const OIDC: &[Field] = &[
    AUTHORITY, GRANT, CLIENT, REQUEST, ISSUERS, SCOPES, AUDIENCES, USERNAME, PASSWORD, SUBJECT,
    ACTOR,
];

const GRANTS: &[&str] = &[
    "authorization_code",
    "client_credentials",
    "password",
    "refresh_token",
    "urn:ietf:params:oauth:grant-type:token-exchange",
];

const OAUTH2_CLIENT: &[Field] = &[
    optional("id", Form::Text),
    optional("secret", Form::Text),
    optional("assertion", Form::Text),
    optional(
        "authentication",
        Form::Word(&[
            "client_secret_basic",
            "client_secret_post",
            "client_secret_jwt",
            "private_key_jwt",
            "none",
        ]),
    ),
];

const OAUTH2_REQUEST: &[Field] =
    &[optional("encoding", Form::Word(&["application/x-www-form-urlencoded", "application/json"]))];

const OAUTH2_TOKEN: &[Field] = &[needed("token", Form::Text), needed("type", Form::Text)];

const OAUTH2_ENDPOINTS: &[Field] = &[
    optional("token", Form::Uri),
    optional("revocation", Form::Uri),
    optional("introspection", Form::Uri),
];

impl<'n> Tasks<'n> {
    /// Where a policy is used: inline, `{use: name}`, or a name.
    pub(crate) fn authentication(&mut self, node: &'n Node, out: &mut Vec<Segment>) {
        let named = match &node.value {
            Value::String(_) => Some(node),
            Value::Object(_) if node.get("use").is_some() => {
                let members = self.builder.members(node, "`authentication`", &["use"], &[]);
                members.and_then(|members| members.get("use"))
            }
            Value::Object(_)
            | Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_) => None,
        };
        let Some(named) = named else { return self.policy(node, out) };
        let Some(name) = self.builder.string(named, "`use`") else { return };
        let reusable = self.reusable;
        let Some((name, (policy, _))) = reusable.authentications.get_key_value(name) else {
            let known = reusable.authentications.keys().copied().collect();
            self.unknown_part("authentication", name, named.place, known);
            return;
        };
        self.used.authentications.insert(name);
        self.policy(policy, out);
    }

    /// An object of one scheme.
    pub(crate) fn policy(&mut self, node: &'n Node, out: &mut Vec<Segment>) {
        let schemes = SCHEMES.map(|(scheme, _)| scheme);
        let Some(members) = self.builder.members(node, "an authentication policy", &schemes, &[])
        else {
            return;
        };
        let Some(scheme) = self.one_of(&members, &schemes) else { return };
        let Some(body) = members.get(scheme) else { return };
        append(out, &format!("{{\"{scheme}\":"));
        if body.get("use").is_some() {
            self.secret_body(scheme, body, out);
        } else if let Some((_, fields)) = SCHEMES.iter().find(|(known, _)| *known == scheme) {
            self.object(&format!("`{scheme}`"), body, fields, out);
            if let Some(client) = body.get("client") {
                self.client(client);
            }
        }
        append(out, "}");
    }

    /// The whole body is in a secret: the worker takes it from there.
    fn secret_body(&mut self, scheme: &str, body: &'n Node, out: &mut Vec<Segment>) {
        let Some(members) = self.builder.members(body, &format!("`{scheme}`"), &["use"], &[])
        else {
            return;
        };
        let Some(used) = members.get("use") else { return };
        let Some(name) = self.builder.string(used, "`use`") else { return };
        if !self.builder.any_secret && !self.builder.secrets.contains(name) {
            self.builder.unknown_secret(name, used.place);
            return;
        }
        self.builder.secret(name.to_owned());
        append(out, &format!("{{\"use\":{}}}", json::string(name)));
    }

    /// What a client must have depends on how it shows who it is.
    fn client(&mut self, client: &'n Node) {
        let Value::Object(own) = &client.value else { return };
        let own = Members { members: own, place: client.place };
        match own.get("authentication").and_then(Node::as_str) {
            Some("none") => {}
            Some("private_key_jwt") => {
                self.builder.required(&own, "id");
                self.builder.required(&own, "assertion");
            }
            Some(_) | None => {
                self.builder.required(&own, "id");
            }
        }
    }
}
