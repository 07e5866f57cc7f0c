//! Who calls the API: proved by a JSON Web Token, or believed in development mode.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Instant,
};

use baton_policy::question::Principal;
use jsonwebtoken::{
    Algorithm, DecodingKey, Validation, decode, decode_header,
    jwk::{Jwk, JwkSet},
};
use serde::Deserialize;
use serde_json::Value;
use tonic::metadata::MetadataMap;

use crate::{error::Refusal, limits};

/// Only in development mode: who the caller says that it is.
pub const AS: &str = "baton-as";

/// Who calls in development mode and does not say who it is.
pub const DEVELOPER: &str = "developer";

/// Of keys that are public: whoever can check a token must not be able to make one.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::EdDSA,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

/// Tells callers from each other.
pub enum Identity {
    /// Everybody is who they say they are.
    Development,
    /// Only tokens that one of these keys has signed count.
    Tokens(Tokens),
    /// Nobody is known.
    Nobody,
}

/// Whose tokens are believed.
pub struct Tokens {
    /// A JSON Web Key Set.
    file: PathBuf,
    issuer: String,
    audience: String,
    keys: Mutex<Keys>,
}

struct Keys {
    set: JwkSet,
    read_at: Instant,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read {}: {source}", file.display())]
    Read { file: PathBuf, source: std::io::Error },
    #[error("{} is no JSON Web Key Set: {source}", file.display())]
    Parse { file: PathBuf, source: serde_json::Error },
    #[error("{} must hold public keys only, and a key id for each", .0.display())]
    Keys(PathBuf),
}

/// What a token says.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    #[serde(default)]
    groups: Vec<String>,
    /// `service` for programs; people need not say what they are.
    #[serde(default)]
    baton_kind: Option<String>,
}

impl Tokens {
    /// # Errors
    /// When the file holds no keys that may be used.
    pub fn open(file: &Path, issuer: &str, audience: &str) -> Result<Self, Error> {
        let keys = Keys { set: read(file)?, read_at: Instant::now() };
        Ok(Self {
            file: file.to_owned(),
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
            keys: Mutex::new(keys),
        })
    }

    fn principal(&self, token: &str) -> Result<Principal, String> {
        if token.len() > limits::TOKEN_BYTES_MAX {
            return Err("the token is too long".into());
        }
        let header = decode_header(token).map_err(|_| "the token cannot be read")?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err("the token is not signed with a key pair".into());
        }
        let kid = header.kid.ok_or("the token does not name its key")?;
        let key = self.key(&kid).ok_or("the token's key is not known")?;
        let mut validation = Validation::new(header.alg);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.validate_nbf = true;
        let claims = decode::<Claims>(token, &key, &validation);
        let Claims { sub, groups, baton_kind } =
            claims.map_err(|error| format!("the token does not count: {error}"))?.claims;
        let plain = groups.len() <= limits::GROUPS_MAX && groups.iter().all(|name| is_name(name));
        if !is_name(&sub) || !plain {
            return Err("the token names nobody, or too many groups".into());
        }
        match baton_kind.as_deref() {
            None | Some("person") => Ok(Principal::Person { person: sub, groups }),
            Some("service") => Ok(Principal::Service { service: sub, groups }),
            Some(_) => Err("the token is neither a person's nor a service's".into()),
        }
    }

    /// Looks into the file again now and then: a key may have come, or may have been taken out.
    fn key(&self, kid: &str) -> Option<DecodingKey> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let known_for = keys.read_at.elapsed();
        let unknown = keys.set.find(kid).is_none() && known_for > limits::KEYS_AGAIN;
        if unknown || known_for > limits::KEYS_BELIEVED {
            match read(&self.file) {
                Ok(set) => keys.set = set,
                Err(error @ Error::Keys(_)) => {
                    tracing::error!(%error, "No key of callers is left: nobody is believed");
                    keys.set = JwkSet { keys: Vec::new() };
                }
                Err(error) => tracing::error!(%error, "The keys of callers cannot be read again"),
            }
            keys.read_at = Instant::now();
        }
        DecodingKey::from_jwk(keys.set.find(kid)?).ok()
    }
}

/// It is shown to people and stands in logs: what looks like another name, or like more than a name, is none.
fn is_name(text: &str) -> bool {
    (1..=limits::PRINCIPAL_BYTES_MAX).contains(&text.len())
        && text.trim() == text
        && !text.chars().any(char::is_control)
}

fn read(file: &Path) -> Result<JwkSet, Error> {
    let text = std::fs::read_to_string(file)
        .map_err(|source| Error::Read { file: file.to_owned(), source })?;
    let parse = |source| Error::Parse { file: file.to_owned(), source };
    let all: Value = serde_json::from_str(&text).map_err(parse)?;
    let all = all["keys"].as_array().cloned().unwrap_or_default();
    // The private half of a key, or a shared secret, has no business here.
    if all.iter().any(|key| key.get("d").is_some() || key["kty"] == "oct") {
        return Err(Error::Keys(file.to_owned()));
    }
    // Providers publish keys for other purposes, too.
    let keys = all.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
    let usable = |key: &Jwk| key.common.key_id.is_some() && DecodingKey::from_jwk(key).is_ok();
    let set = JwkSet { keys: keys.filter(usable).collect() };
    if set.keys.is_empty() { Err(Error::Keys(file.to_owned())) } else { Ok(set) }
}

impl Identity {
    /// # Errors
    /// [`Refusal::Unauthenticated`] when that cannot be told.
    pub fn caller(&self, metadata: &MetadataMap) -> Result<Principal, Refusal> {
        let text = |name: &str| metadata.get(name).and_then(|value| value.to_str().ok());
        let unknown = |what: &str| Refusal::Unauthenticated(what.to_owned());
        match self {
            Self::Development => {
                let person = text(AS).unwrap_or(DEVELOPER);
                if !is_name(person) {
                    return Err(unknown("baton-as names nobody"));
                }
                Ok(Principal::Person { person: person.to_owned(), groups: Vec::new() })
            }
            Self::Tokens(tokens) => {
                let header = text("authorization").ok_or_else(|| unknown("a token is missing"))?;
                let token = header
                    .get(..7)
                    .filter(|scheme| scheme.eq_ignore_ascii_case("bearer "))
                    .and_then(|_| header.get(7..))
                    .ok_or_else(|| unknown("`authorization` must be `Bearer` and a token"))?;
                tokens.principal(token.trim()).map_err(|what| unknown(&what))
            }
            Self::Nobody => Err(unknown(
                "this engine knows no callers: start it with --identity-keys, or with --dev",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{EncodingKey, Header, encode};
    use serde_json::json;

    use super::*;

    const ISSUER: &str = "https://login.example";

    /// A key pair, whose public half stands in a file under this id.
    struct Authority {
        key: EncodingKey,
        tokens: Tokens,
        _folder: tempfile::TempDir,
    }

    impl Authority {
        fn new() -> Self {
            let key = generated();
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("keys.json");
            std::fs::write(&file, public(&key, "one").to_string()).unwrap();
            let tokens = Tokens::open(&file, ISSUER, "baton").unwrap();
            Self { key, tokens, _folder: folder }
        }

        fn token(&self, kid: &str, claims: &Value) -> String {
            let header = Header { kid: Some(kid.into()), ..Header::new(Algorithm::EdDSA) };
            encode(&header, claims, &self.key).unwrap()
        }

        fn refuses(&self, token: &str, why: &str) {
            let refused = self.tokens.principal(token).unwrap_err();
            assert!(refused.contains(why), "{refused}");
        }
    }

    /// An Ed25519 key in PKCS #8: the fixed bytes of RFC 8410 before 32 random ones.
    fn generated() -> EncodingKey {
        let mut der = vec![0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
        der.extend(rand::random::<[u8; 32]>());
        EncodingKey::from_ed_der(&der)
    }

    fn public(key: &EncodingKey, kid: &str) -> Value {
        let mut jwk = Jwk::from_encoding_key(key, Algorithm::EdDSA).unwrap();
        jwk.common.key_id = Some(kid.into());
        json!({ "keys": [jwk] })
    }

    fn claims(changes: &Value) -> Value {
        let now = crate::clock::now().0 / 1_000;
        let mut claims = json!({
            "sub": "alice", "iss": ISSUER, "aud": "baton", "exp": now + 300, "groups": ["finance"],
        });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
    }

    #[test]
    fn a_token_tells_a_person_or_a_service_and_its_groups() {
        let authority = Authority::new();
        let person = authority.tokens.principal(&authority.token("one", &claims(&json!({}))));
        let groups = vec!["finance".to_owned()];
        assert_eq!(
            person,
            Ok(Principal::Person { person: "alice".into(), groups: groups.clone() })
        );
        let service = claims(&json!({ "sub": "ci", "baton_kind": "service" }));
        let service = authority.tokens.principal(&authority.token("one", &service));
        assert_eq!(service, Ok(Principal::Service { service: "ci".into(), groups }));
    }

    #[test]
    fn a_token_that_is_not_for_us_or_not_now_counts_for_nothing() {
        let authority = Authority::new();
        let now = crate::clock::now().0 / 1_000;
        for (changes, why) in [
            (json!({ "exp": now - 300 }), "ExpiredSignature"),
            (json!({ "nbf": now + 300 }), "ImmatureSignature"),
            (json!({ "iss": "https://elsewhere.example" }), "InvalidIssuer"),
            (json!({ "aud": "another" }), "InvalidAudience"),
            (json!({ "sub": "" }), "nobody"),
            (json!({ "sub": "alice\n" }), "nobody"),
            (json!({ "sub": "al\u{1b}[2Kice" }), "nobody"),
            (json!({ "groups": ["finance", " "] }), "nobody"),
            (json!({ "baton_kind": "root" }), "neither"),
        ] {
            authority.refuses(&authority.token("one", &claims(&changes)), why);
        }
        let mut nameless = claims(&json!({}));
        nameless.as_object_mut().unwrap().remove("aud");
        authority.refuses(&authority.token("one", &nameless), "aud");
        authority.refuses("x.y.z", "cannot be read");
        authority.refuses(&"x".repeat(100_000), "too long");
    }

    #[test]
    fn a_forged_token_counts_for_nothing() {
        let (authority, other) = (Authority::new(), Authority::new());
        authority.refuses(&other.token("one", &claims(&json!({}))), "InvalidSignature");
        authority.refuses(&authority.token("two", &claims(&json!({}))), "not known");
        // Signed with what everybody knows: the public key taken as a secret.
        let header = Header { kid: Some("one".into()), ..Header::new(Algorithm::HS256) };
        let secret = EncodingKey::from_secret(public(&authority.key, "one").to_string().as_bytes());
        let token = encode(&header, &claims(&json!({})), &secret).unwrap();
        authority.refuses(&token, "key pair");
    }

    #[test]
    fn secret_keys_are_not_taken_for_public_ones() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys.json");
        for keys in [
            json!({ "keys": [] }),
            json!({ "keys": [{ "kty": "oct", "kid": "one", "k": "c2VjcmV0" }] }),
            json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "one", "x": "AA", "d": "AA" }] }),
            json!({ "keys": [{ "kty": "new", "kid": "one" }] }),
        ] {
            std::fs::write(&file, keys.to_string()).unwrap();
            assert!(matches!(Tokens::open(&file, ISSUER, "baton"), Err(Error::Keys(_))), "{keys}");
        }
    }
}
