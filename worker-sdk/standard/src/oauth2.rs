//! Tokens of OAuth 2.0 and OpenID Connect.

use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use baton_worker::Outcome;
use reqwest::{
    Method, Url,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::{
    Net,
    cache::Cache,
    client::{Request, Response},
    fault::Fault,
    limits::{DOCUMENT_AGE_MAX, TOKEN_AGE_MAX, TOKEN_BYTES_MAX, TOKEN_MARGIN},
};

/// How the place of the tokens is found.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// Below the authority.
    Oauth2,
    /// In the authority's discovery document.
    Oidc,
}

#[derive(Deserialize, Serialize)]
pub(crate) struct Policy {
    authority: String,
    grant: String,
    #[serde(default)]
    endpoints: Endpoints,
    #[serde(default)]
    client: Client,
    #[serde(default)]
    request: Encoding,
    #[serde(default)]
    issuers: Vec<String>,
    #[serde(default)]
    scopes: Vec<String>,
    #[serde(default)]
    audiences: Vec<String>,
    username: Option<String>,
    password: Option<String>,
    subject: Option<Exchanged>,
    actor: Option<Exchanged>,
}

#[derive(Default, Deserialize, Serialize)]
struct Endpoints {
    token: Option<String>,
}

#[derive(Default, Deserialize, Serialize)]
struct Client {
    id: Option<String>,
    secret: Option<String>,
    assertion: Option<String>,
    authentication: Option<String>,
}

#[derive(Default, Deserialize, Serialize)]
struct Encoding {
    encoding: Option<String>,
}

/// A token that stands for somebody.
#[derive(Deserialize, Serialize)]
struct Exchanged {
    token: String,
    #[serde(rename = "type")]
    kind: String,
}

/// What an authority answers.
#[derive(Deserialize)]
struct Granted {
    access_token: String,
    token_type: Option<String>,
    expires_in: Option<Value>,
}

/// Tokens by the hash of the policy that they came by, and places by discovery document.
#[derive(Default)]
pub(crate) struct Tokens {
    tokens: Cache<[u8; 32], String>,
    places: Cache<String, String>,
}

const DISCOVERY: &str = "/.well-known/openid-configuration";
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

impl Tokens {
    pub(crate) async fn token(&self, net: &Net, kind: Kind, policy: &Policy) -> Outcome<String> {
        let key = key(kind, policy);
        if let Some(token) = self.tokens.get(&key) {
            return Ok(token);
        }
        let place = match kind {
            Kind::Oauth2 => url(&below(&policy.authority, policy.endpoints.token.as_deref()))?,
            Kind::Oidc => self.discovered(net, &policy.authority).await?,
        };
        let response = net.client.send(&request(policy, place)?, TOKEN_BYTES_MAX).await?;
        let granted = granted(&response)?;
        check_issuer(policy, &granted.access_token)?;
        // Without a term nobody knows for how long it is good.
        let seconds = granted.expires_in.as_ref().and_then(seconds).unwrap_or(0);
        let age = std::time::Duration::from_secs(seconds).saturating_sub(TOKEN_MARGIN);
        if !age.is_zero() {
            self.tokens.keep(key, granted.access_token.clone(), age.min(TOKEN_AGE_MAX));
        }
        Ok(granted.access_token)
    }

    /// False: none was kept.
    pub(crate) fn forget(&self, kind: Kind, policy: &Policy) -> bool {
        let key = key(kind, policy);
        let kept = self.tokens.get(&key).is_some();
        self.tokens.forget(&key);
        kept
    }

    async fn discovered(&self, net: &Net, authority: &str) -> Outcome<Url> {
        let authority = authority.trim_end_matches('/');
        let document = if authority.ends_with(DISCOVERY) {
            authority.to_owned()
        } else {
            format!("{authority}{DISCOVERY}")
        };
        if let Some(place) = self.places.get(&document) {
            return url(&place);
        }
        let request = Request {
            method: Method::GET,
            url: url(&document)?,
            headers: HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/json"))]),
            body: None,
        };
        let response = net.client.send(&request, TOKEN_BYTES_MAX).await?;
        check_reached(&response, "the discovery document")?;
        let found: Option<Value> = serde_json::from_slice(&response.body).ok();
        let place = found.as_ref().and_then(|found| found.get("token_endpoint")?.as_str());
        let place = place.ok_or_else(|| {
            Fault::Response.because("the discovery document names no token endpoint")
        })?;
        self.places.keep(document, place.to_owned(), DOCUMENT_AGE_MAX);
        url(place)
    }
}

/// A place below the authority, although it begins with a slash: it is told as relative to an authority with a path.
fn below(authority: &str, place: Option<&str>) -> String {
    let place = place.unwrap_or("/oauth2/token");
    if place.contains("://") {
        return place.to_owned();
    }
    format!("{}/{}", authority.trim_end_matches('/'), place.trim_start_matches('/'))
}

fn url(text: &str) -> Outcome<Url> {
    Url::parse(text).map_err(|error| {
        Fault::Input.because(format_args!("the authority's URI cannot be used: {error}"))
    })
}

/// Of everything that the token depends on.
fn key(kind: Kind, policy: &Policy) -> [u8; 32] {
    let policy = serde_json::to_vec(policy).unwrap_or_default();
    Sha256::new().chain_update([kind as u8]).chain_update(policy).finalize().into()
}

fn request(policy: &Policy, url: Url) -> Outcome<Request> {
    let mut headers =
        HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/json"))]);
    let mut form = grant(policy)?;
    identify(&policy.client, &mut form, &mut headers)?;
    let encoding = policy.request.encoding.as_deref();
    let body = match encoding.unwrap_or(FORM) {
        FORM => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(FORM));
            url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish()
        }
        "application/json" => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            let members = form.into_iter().map(|(name, value)| (name.to_owned(), value.into()));
            Value::Object(members.collect::<Map<_, _>>()).to_string()
        }
        other => return Err(unsupported("encoding of token requests", other)),
    };
    Ok(Request { method: Method::POST, url, headers, body: Some(body.into()) })
}

const FORM: &str = "application/x-www-form-urlencoded";

fn unsupported(what: &str, found: &str) -> baton_worker::Failure {
    Fault::Unsupported.because(format_args!("{what} {found:?} is not supported here"))
}

/// What is asked for, and on whose behalf.
fn grant(policy: &Policy) -> Outcome<Vec<(&'static str, String)>> {
    let needed = |what: &str, value: &Option<String>| {
        value.clone().ok_or_else(|| {
            Fault::Input.because(format_args!("grant {:?} needs {what}", policy.grant))
        })
    };
    let mut form = vec![("grant_type", policy.grant.clone())];
    match policy.grant.as_str() {
        "client_credentials" => {}
        "password" => {
            form.push(("username", needed("a username", &policy.username)?));
            form.push(("password", needed("a password", &policy.password)?));
        }
        EXCHANGE => {
            let subject = policy.subject.as_ref();
            let subject =
                subject.ok_or_else(|| Fault::Input.because("a token exchange needs a subject"))?;
            form.push(("subject_token", subject.token.clone()));
            form.push(("subject_token_type", subject.kind.clone()));
            if let Some(actor) = &policy.actor {
                form.push(("actor_token", actor.token.clone()));
                form.push(("actor_token_type", actor.kind.clone()));
            }
        }
        // Both need what only a person's visit to the authority brings.
        other => return Err(unsupported("grant", other)),
    }
    if !policy.scopes.is_empty() {
        form.push(("scope", policy.scopes.join(" ")));
    }
    form.extend(policy.audiences.iter().map(|audience| ("audience", audience.clone())));
    Ok(form)
}

/// Which client asks, and its proof.
fn identify(
    client: &Client,
    form: &mut Vec<(&'static str, String)>,
    headers: &mut HeaderMap,
) -> Outcome<()> {
    let method = client.authentication.as_deref().unwrap_or("client_secret_post");
    let needed = |what: &str, value: &Option<String>| {
        value.clone().ok_or_else(|| {
            Fault::Input.because(format_args!("client authentication {method:?} needs {what}"))
        })
    };
    match method {
        "client_secret_post" => {
            form.push(("client_id", needed("an id", &client.id)?));
            form.extend(client.secret.iter().map(|secret| ("client_secret", secret.clone())));
        }
        "client_secret_basic" => {
            // RFC 6749, 2.3.1: both are encoded as in a form first.
            let encode = |text: String| {
                url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>()
            };
            let (id, secret) = (needed("an id", &client.id)?, needed("a secret", &client.secret)?);
            let pair = BASE64_STANDARD.encode(format!("{}:{}", encode(id), encode(secret)));
            let mut proof = HeaderValue::from_str(&format!("Basic {pair}"))
                .map_err(|error| Fault::Input.because(error))?;
            proof.set_sensitive(true);
            headers.insert(AUTHORIZATION, proof);
        }
        "client_secret_jwt" | "private_key_jwt" => {
            let assertion = needed("an assertion", &client.assertion)?;
            form.extend(client.id.iter().map(|id| ("client_id", id.clone())));
            form.push(("client_assertion_type", ASSERTION.to_owned()));
            form.push(("client_assertion", assertion));
        }
        "none" => form.extend(client.id.iter().map(|id| ("client_id", id.clone()))),
        other => return Err(unsupported("client authentication", other)),
    }
    Ok(())
}

fn granted(response: &Response) -> Outcome<Granted> {
    if !response.status.is_success() && response.status.is_client_error() {
        // RFC 6749, 5.2: a word that says why. The rest may repeat what was sent.
        let body: Option<Value> = serde_json::from_slice(&response.body).ok();
        let word = body.as_ref().and_then(|body| body.get("error")?.as_str()).unwrap_or_default();
        let word = word.chars().filter(char::is_ascii_graphic).take(100).collect::<String>();
        return Err(Fault::Token
            .because(format_args!("the authority gives no token: {} {word}", response.status)));
    }
    check_reached(response, "the authority")?;
    // The error would show what it could not read.
    let granted: Granted = serde_json::from_slice(&response.body)
        .map_err(|_| Fault::Response.because("the authority's answer holds no token"))?;
    let kind = granted.token_type.as_deref().unwrap_or("Bearer");
    if !kind.eq_ignore_ascii_case("bearer") {
        return Err(unsupported("type of token", kind));
    }
    Ok(granted)
}

fn check_reached(response: &Response, what: &str) -> Outcome<()> {
    if response.status.is_success() {
        return Ok(());
    }
    let status = response.status;
    Err(Fault::Status(status.as_u16()).because(format_args!("{what} answered {status}")))
}

/// Some authorities give the term as a text.
fn seconds(term: &Value) -> Option<u64> {
    term.as_u64().or_else(|| term.as_str()?.parse().ok())
}

/// The issuer stands in the token itself, when it is a JWT. Its signature is for the service to check.
fn check_issuer(policy: &Policy, token: &str) -> Outcome<()> {
    if policy.issuers.is_empty() {
        return Ok(());
    }
    let claims = token.split('.').nth(1).and_then(|part| BASE64_URL_SAFE_NO_PAD.decode(part).ok());
    let claims: Option<Value> = claims.and_then(|claims| serde_json::from_slice(&claims).ok());
    let issuer = claims.as_ref().and_then(|claims| claims.get("iss")?.as_str());
    if issuer.is_some_and(|issuer| policy.issuers.iter().any(|known| known == issuer)) {
        return Ok(());
    }
    Err(Fault::Token.because("the token does not come from one of the issuers"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_tokens_is_below_an_authority_with_a_path() {
        for (authority, place, wanted) in [
            ("http://a/realms/r", None, "http://a/realms/r/oauth2/token"),
            ("http://a/realms/r/", Some("/token"), "http://a/realms/r/token"),
            ("http://a", Some("token"), "http://a/token"),
            ("http://a", Some("https://b/token"), "https://b/token"),
        ] {
            assert_eq!(below(authority, place), wanted);
        }
    }
}
