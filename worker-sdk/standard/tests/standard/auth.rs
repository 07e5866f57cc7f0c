//! Proof of who calls: basic, bearer, OAuth 2.0 and OpenID Connect.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::Bytes,
    http::{HeaderMap, StatusCode},
    response::IntoResponse,
    routing::{any, get, post},
};
use serde_json::{Value, json};

use super::{
    call, failure,
    service::{Service, echoing},
    told, worker,
};

/// Token requests: the Authorization header and the body.
type Asked = Arc<Mutex<Vec<(Option<String>, String)>>>;

fn as_json(value: &Value) -> ([(&'static str, &'static str); 1], String) {
    ([("content-type", "application/json")], value.to_string())
}

/// An authority under /realms/r that gives token-1, token-2 and so on, and a service at /guarded that takes the newest.
fn authority(expires_in: Value) -> (Router, Asked) {
    let asked = Asked::default();
    let (asked_for, newest) = (asked.clone(), asked.clone());
    let give = move |headers: HeaderMap, body: Bytes| async move {
        let body = String::from_utf8(body.to_vec()).unwrap();
        let header = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
        let mut asked = asked_for.lock().unwrap();
        asked.push((header, body.clone()));
        if body.contains("wrong") {
            let refusal = json!({"error": "invalid_client", "error_description": body});
            return (StatusCode::UNAUTHORIZED, as_json(&refusal));
        }
        let token = format!("token-{}", asked.len());
        let answer =
            json!({"access_token": token, "token_type": "bearer", "expires_in": expires_in});
        (StatusCode::OK, as_json(&answer))
    };
    let guarded = move |headers: HeaderMap| async move {
        let wanted = format!("Bearer token-{}", newest.lock().unwrap().len());
        let given = headers.get("authorization").and_then(|value| value.to_str().ok());
        if given == Some(wanted.as_str()) {
            wanted.into_response()
        } else {
            StatusCode::UNAUTHORIZED.into_response()
        }
    };
    let router = Router::new()
        .route("/realms/r/oauth2/token", post(give.clone()))
        .route("/realms/r/elsewhere", post(give))
        .route("/guarded", get(guarded));
    (router, asked)
}

fn input(service: &Service, scheme: &str, policy: &Value) -> Value {
    json!({"method": "get", "endpoint": {"uri": service.url("/guarded"), "authentication": {scheme: policy}}})
}

#[tokio::test]
async fn basic_and_bearer_are_sent_at_once() {
    let service = Service::start(echoing()).await;
    let worker = worker(&[&service.host()]);
    for (policy, wanted) in [
        (
            json!({"basic": {"username": "Aladdin", "password": "open sesame"}}),
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
        ),
        (json!({"basic": {"username": "admin", "password": 1234}}), "Basic YWRtaW46MTIzNA=="),
        (json!({"bearer": {"token": "mF_9.B5f-4.1JqM"}}), "Bearer mF_9.B5f-4.1JqM"),
    ] {
        let input = json!({"method": "get", "endpoint": {"uri": service.url("/echo/x"), "authentication": policy}});
        assert_eq!(call(&worker, "http", input).await["headers"]["authorization"], wanted);
    }
    assert_eq!(service.requests(), 3);
}

#[tokio::test]
async fn a_token_is_asked_for_once_and_again_when_it_is_refused() {
    let (router, asked) = authority(json!(3600));
    let service = Service::start(router).await;
    let worker = worker(&[&service.host()]);
    let policy = json!({
        "authority": service.url("/realms/r"), "grant": "client_credentials",
        "client": {"id": "runtime", "secret": "s e"}, "scopes": ["a", "b"], "audiences": ["x", "y"],
    });
    for _ in 0..2 {
        assert_eq!(
            call(&worker, "http", input(&service, "oauth2", &policy)).await,
            json!("Bearer token-1")
        );
    }
    let wanted = "grant_type=client_credentials&scope=a+b&audience=x&audience=y&client_id=runtime&client_secret=s+e";
    assert_eq!(*asked.lock().unwrap(), [(None, wanted.to_owned())]);
    // Somebody else asks, and the first token is good no longer.
    asked.lock().unwrap().push((None, String::new()));
    assert_eq!(
        call(&worker, "http", input(&service, "oauth2", &policy)).await,
        json!("Bearer token-3")
    );
}

#[tokio::test]
async fn a_token_without_a_term_is_not_kept() {
    let (router, asked) = authority(Value::Null);
    let service = Service::start(router).await;
    let worker = worker(&[&service.host()]);
    let policy = json!({"authority": service.url("/realms/r"), "grant": "client_credentials", "client": {"id": "i"}});
    for number in 1..=2 {
        assert_eq!(
            call(&worker, "http", input(&service, "oauth2", &policy)).await,
            json!(format!("Bearer token-{number}"))
        );
    }
    assert_eq!(asked.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn clients_and_grants_are_told_as_the_policy_says() {
    let (router, asked) = authority(Value::Null);
    let service = Service::start(router).await;
    let worker = worker(&[&service.host()]);
    let basic = Some("Basic aWQlMkI6c2UrYw==".to_owned());
    for (mut policy, header, body) in [
        (
            json!({"grant": "client_credentials", "client": {"id": "id+", "secret": "se c", "authentication": "client_secret_basic"}}),
            basic,
            "grant_type=client_credentials",
        ),
        (
            json!({"grant": "password", "username": "u", "password": "p", "client": {"id": "i", "authentication": "none"}, "endpoints": {"token": "/elsewhere"}}),
            None,
            "grant_type=password&username=u&password=p&client_id=i",
        ),
        (
            json!({"grant": "client_credentials", "client": {"id": "i", "secret": "s"}, "request": {"encoding": "application/json"}}),
            None,
            r#"{"client_id":"i","client_secret":"s","grant_type":"client_credentials"}"#,
        ),
        (
            json!({"grant": "client_credentials", "client": {"id": "i", "assertion": "a.b.c", "authentication": "private_key_jwt"}}),
            None,
            "grant_type=client_credentials&client_id=i&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion=a.b.c",
        ),
        (
            json!({"grant": "urn:ietf:params:oauth:grant-type:token-exchange", "subject": {"token": "t", "type": "y"}, "client": {"authentication": "none"}}),
            None,
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token=t&subject_token_type=y",
        ),
    ] {
        policy["authority"] = service.url("/realms/r").into();
        call(&worker, "http", input(&service, "oauth2", &policy)).await;
        let (given_header, given) = asked.lock().unwrap().last().unwrap().clone();
        assert_eq!((given_header, form(&given)), (header, form(body)));
    }
}

/// The order of members says nothing.
fn form(body: &str) -> Value {
    serde_json::from_str(body).unwrap_or_else(|_| Value::from(body))
}

#[tokio::test]
async fn an_authority_that_refuses_is_an_authentication_error() {
    let (router, _) = authority(json!(3600));
    let service = Service::start(router).await;
    let worker = worker(&[&service.host()]);
    let authority = service.url("/realms/r");
    let client = json!({"id": "i", "secret": "wrong"});
    let refused = json!({"authority": authority, "grant": "client_credentials", "client": client});
    let refused = failure(&worker, "http", input(&service, "oauth2", &refused)).await;
    assert_eq!(told(&refused), ("authentication", "token-refused", 401, false));
    assert_eq!(refused.detail, "the authority gives no token: 401 Unauthorized invalid_client");
    let issued = json!({"authority": authority, "grant": "client_credentials", "client": {"id": "i"}, "issuers": ["https://a"]});
    let issued = failure(&worker, "http", input(&service, "oauth2", &issued)).await;
    assert_eq!(told(&issued), ("authentication", "token-refused", 401, false));
    let code =
        json!({"authority": authority, "grant": "authorization_code", "client": {"id": "i"}});
    let code = failure(&worker, "http", input(&service, "oauth2", &code)).await;
    assert_eq!(told(&code), ("configuration", "unsupported-here", 400, false));
    let elsewhere = json!({"authority": "http://127.0.0.1:1", "grant": "client_credentials", "client": {"id": "i"}});
    let elsewhere = failure(&worker, "http", input(&service, "oauth2", &elsewhere)).await;
    assert_eq!(told(&elsewhere), ("authorization", "address-refused", 403, false));
}

#[tokio::test]
async fn openid_connect_finds_the_place_of_tokens_by_discovery() {
    let (router, asked) = authority(Value::Null);
    let place = Arc::new(Mutex::new(String::new()));
    let told_place = place.clone();
    let discovery =
        move || async move { as_json(&json!({"token_endpoint": *told_place.lock().unwrap()})) };
    let router = router.route("/issuer/.well-known/openid-configuration", any(discovery));
    let service = Service::start(router).await;
    *place.lock().unwrap() = service.url("/realms/r/elsewhere");
    let worker = worker(&[&service.host()]);
    for authority in ["/issuer", "/issuer/", "/issuer/.well-known/openid-configuration"] {
        let policy = json!({"authority": service.url(authority), "grant": "client_credentials", "client": {"id": "i", "secret": "s"}});
        call(&worker, "http", input(&service, "oidc", &policy)).await;
    }
    assert_eq!(asked.lock().unwrap().len(), 3);
    let discoveries = service.paths().iter().filter(|path| path.contains("well-known")).count();
    assert_eq!(discoveries, 1, "the place is kept");
}
