//! How a call proves who makes it.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use baton_worker::{Context, Outcome};
use http_auth::{PasswordClient, PasswordParams};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{
    Net,
    client::{Request, Response},
    fault::Fault,
    oauth2::{Kind, Policy},
};

pub(crate) enum Authentication {
    Basic(Login),
    Bearer(Bearer),
    Digest(Login),
    Token(Kind, Box<Policy>),
}

#[derive(Deserialize)]
pub(crate) struct Login {
    username: String,
    password: String,
}

#[derive(Deserialize)]
pub(crate) struct Bearer {
    token: String,
}

impl Authentication {
    /// None: nobody asks for proof.
    pub(crate) fn read(policy: Option<&Value>, context: &Context) -> Outcome<Option<Self>> {
        let Some(policy) = policy.filter(|policy| !policy.is_null()) else { return Ok(None) };
        let schemes = ["basic", "bearer", "digest", "oauth2", "oidc"];
        let found = schemes.iter().filter_map(|scheme| Some((*scheme, policy.get(*scheme)?)));
        let mut found = found.collect::<Vec<_>>();
        let (Some((scheme, body)), true) = (found.pop(), found.is_empty()) else {
            return Err(Fault::Input.because(
                "an authentication policy must have one of basic, bearer, digest, oauth2 and oidc",
            ));
        };
        let body = body_of(scheme, body, context)?;
        Ok(Some(match scheme {
            "basic" => Self::Basic(parse(scheme, body)?),
            "bearer" => Self::Bearer(parse(scheme, body)?),
            "digest" => Self::Digest(parse(scheme, body)?),
            "oauth2" => Self::Token(Kind::Oauth2, Box::new(parse(scheme, body)?)),
            _ => Self::Token(Kind::Oidc, Box::new(parse(scheme, body)?)),
        }))
    }

    /// Adds the proof to a first request. Digest has none before the service has asked.
    pub(crate) async fn prove(&self, net: &Net, headers: &mut HeaderMap) -> Outcome<()> {
        if let Some(proof) = self.proof(net).await? {
            headers.insert(AUTHORIZATION, secret_header(&proof)?);
        }
        Ok(())
    }

    /// The text of an Authorization header.
    pub(crate) async fn proof(&self, net: &Net) -> Outcome<Option<String>> {
        match self {
            Self::Basic(Login { username, password }) => {
                let pair = BASE64_STANDARD.encode(format!("{username}:{password}"));
                Ok(Some(format!("Basic {pair}")))
            }
            Self::Bearer(Bearer { token }) => Ok(Some(format!("Bearer {token}"))),
            Self::Digest(_) => Ok(None),
            Self::Token(kind, policy) => {
                let token = net.tokens.token(net, *kind, policy).await?;
                Ok(Some(format!("Bearer {token}")))
            }
        }
    }

    /// The service wants another proof: false when there is none to give.
    pub(crate) async fn answer(
        &self,
        net: &Net,
        request: &mut Request,
        response: &Response,
    ) -> Outcome<bool> {
        match self {
            Self::Basic(_) | Self::Bearer(_) => Ok(false),
            Self::Token(kind, policy) => {
                // The token may have been revoked, so a kept one gets a second chance as a new one.
                if net.tokens.forget(*kind, policy) {
                    self.prove(net, &mut request.headers).await?;
                    return Ok(true);
                }
                Ok(false)
            }
            Self::Digest(login) => {
                let proof = digest(login, request, response)?;
                request.headers.insert(AUTHORIZATION, secret_header(&proof)?);
                Ok(true)
            }
        }
    }
}

/// Either the policy itself, or the name of a secret that holds it.
fn body_of(scheme: &str, body: &Value, context: &Context) -> Outcome<Map<String, Value>> {
    let unusable =
        |what| Fault::Input.because(format_args!("{what} of {scheme} must be an object"));
    let Value::Object(body) = body else { return Err(unusable("the policy")) };
    let Some(Value::String(name)) = body.get("use") else { return Ok(body.clone()) };
    // What does not parse is not shown.
    match serde_json::from_str(context.secret(name)?) {
        Ok(Value::Object(body)) => Ok(body),
        Ok(_) | Err(_) => Err(unusable("the secret")),
    }
}

fn parse<T: DeserializeOwned>(scheme: &str, body: Map<String, Value>) -> Outcome<T> {
    serde_json::from_value(Value::Object(texts(body))).map_err(|_| {
        // The error would show what it could not read.
        Fault::Input.because(format_args!(
            "the policy of {scheme} lacks a member, or has one of another type"
        ))
    })
}

/// Passwords like 1234 come from YAML as numbers.
fn texts(body: Map<String, Value>) -> Map<String, Value> {
    let text = |name: String, value: Value| match value {
        Value::Number(number) => (name, Value::String(number.to_string())),
        other @ (Value::Null
        | Value::Bool(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_)) => (name, other),
    };
    body.into_iter().map(|(name, value)| text(name, value)).collect()
}

/// Marked, so that nothing shows it when it shows the headers.
fn secret_header(proof: &str) -> Outcome<HeaderValue> {
    let header = HeaderValue::from_str(proof);
    let mut header =
        header.map_err(|_| Fault::Input.because("the credentials cannot be sent in a header"))?;
    header.set_sensitive(true);
    Ok(header)
}

/// RFC 7616.
fn digest(login: &Login, request: &Request, response: &Response) -> Outcome<String> {
    let mut builder = PasswordClient::builder();
    for challenge in response.headers.get_all(WWW_AUTHENTICATE) {
        if let Ok(challenge) = challenge.to_str() {
            builder = builder.challenges(challenge);
        }
    }
    let refused = |error: String| {
        Fault::Token.because(format_args!("the service's challenge cannot be answered: {error}"))
    };
    let target = match request.url.query() {
        Some(query) => format!("{}?{query}", request.url.path()),
        None => request.url.path().to_owned(),
    };
    let parameters = |body| PasswordParams {
        username: &login.username,
        password: &login.password,
        uri: &target,
        method: request.method.as_str(),
        body,
    };
    let mut client = builder.build().map_err(refused)?;
    // What also protects the body (auth-int) is seldom done right, so it is for those who take nothing else.
    let body = request.body.as_deref().unwrap_or_default();
    let proof = client.respond(&parameters(None));
    proof.or_else(|_| client.respond(&parameters(Some(body)))).map_err(refused)
}
