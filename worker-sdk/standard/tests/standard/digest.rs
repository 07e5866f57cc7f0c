//! The other side of RFC 7616: checks a client's answer.

use std::{collections::BTreeMap, fmt::Write as _};

use axum::{
    Router,
    http::{HeaderMap, Method, StatusCode, Uri},
    response::IntoResponse,
    routing::any,
};
use md5::Md5;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::{call, failure, service::Service, told, worker};

const NONCE: &str = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v";
const OPAQUE: &str = "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS";
const REALM: &str = "http-auth@example.org";
const PASSWORD: &str = "Circle of Life";

fn hash(algorithm: &str, text: &str) -> String {
    let bytes = match algorithm {
        "MD5" => Md5::digest(text).to_vec(),
        _ => Sha256::digest(text).to_vec(),
    };
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn response(algorithm: &str, method: &str, uri: &str, nc: &str, cnonce: &str) -> String {
    let who = hash(algorithm, &format!("Mufasa:{REALM}:{PASSWORD}"));
    let what = hash(algorithm, &format!("{method}:{uri}"));
    hash(algorithm, &format!("{who}:{NONCE}:{nc}:{cnonce}:auth:{what}"))
}

#[test]
fn the_check_agrees_with_the_example_of_the_rfc() {
    let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
    for (algorithm, wanted) in [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ] {
        assert_eq!(response(algorithm, "GET", "/dir/index.html", "00000001", cnonce), wanted);
    }
}

/// Lets in who answers the RFC's challenge.
fn guarded(algorithm: &'static str) -> Router {
    Router::new().fallback(any(move |method: Method, uri: Uri, headers: HeaderMap| async move {
        let challenge = format!(
            "Digest realm=\"{REALM}\", qop=\"auth, auth-int\", algorithm={algorithm}, nonce=\"{NONCE}\", opaque=\"{OPAQUE}\""
        );
        let refused = (StatusCode::UNAUTHORIZED, [("www-authenticate", challenge)]).into_response();
        let Some(answer) = headers.get("authorization").and_then(|value| value.to_str().ok()) else { return refused };
        let members = answer.strip_prefix("Digest ").unwrap().split(", ");
        let members = members.filter_map(|member| member.split_once('='));
        let members = members.map(|(name, value)| (name.trim(), value.trim_matches('"'))).collect::<BTreeMap<_, _>>();
        let uri = uri.to_string();
        let wanted = response(algorithm, method.as_str(), &uri, members["nc"], members["cnonce"]);
        let fits = members["uri"] == uri
            && (members["username"], members["realm"], members["nonce"]) == ("Mufasa", REALM, NONCE)
            && (members["opaque"], members["qop"], members["algorithm"]) == (OPAQUE, "auth", algorithm);
        if fits && members["response"] == wanted { "let in".into_response() } else { refused }
    }))
}

#[tokio::test]
async fn a_digest_challenge_is_answered_with_either_algorithm() {
    for algorithm in ["MD5", "SHA-256"] {
        let service = Service::start(guarded(algorithm)).await;
        let worker = worker(&[&service.host()]);
        let input = |password: &str| {
            let policy = json!({"digest": {"username": "Mufasa", "password": password}});
            json!({"method": "post", "body": "x", "endpoint": {"uri": service.url("/dir/index.html?a=b"), "authentication": policy}})
        };
        assert_eq!(call(&worker, "http", input(PASSWORD)).await, json!("let in"));
        assert_eq!(service.requests(), 2, "one to be asked, one to answer");
        let refused = failure(&worker, "http", input("wrong")).await;
        assert_eq!(told(&refused), ("communication", "http-status", 401, false));
        assert_eq!(service.requests(), 4, "nobody is asked for ever");
    }
}

#[tokio::test]
async fn a_challenge_that_digest_cannot_answer_is_an_authentication_error() {
    let basic =
        || async { (StatusCode::UNAUTHORIZED, [("www-authenticate", "Basic realm=\"x\"")]) };
    let service = Service::start(Router::new().fallback(any(basic))).await;
    let policy = json!({"digest": {"username": "u", "password": "p4ssword"}});
    let input =
        json!({"method": "get", "endpoint": {"uri": service.url("/"), "authentication": policy}});
    let refused = failure(&worker(&[&service.host()]), "http", input).await;
    assert_eq!(told(&refused), ("authentication", "token-refused", 401, false));
}
