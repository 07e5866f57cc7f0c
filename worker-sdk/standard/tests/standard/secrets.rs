//! Secrets reach the service and come back in nothing.

use axum::{
    Router,
    http::{HeaderMap, StatusCode},
    routing::get,
};
use baton_worker::{Worker, testing};
use serde_json::{Value, json};

use super::{
    service::{Service, echoing},
    settings, told, worker_with_secrets,
};

const KEY: &str = "k3y of/ours";

fn naming(function: &str) -> testing::Call {
    let secrets =
        [("%KEY%".to_owned(), "api-key".to_owned()), ("%LOGIN%".to_owned(), "login".to_owned())];
    testing::Call { secrets: secrets.into(), ..testing::Call::new(function) }
}

fn knowing(service: &Service) -> Worker {
    let login = r#"{"username":"admin","password":"hunter22"}"#;
    worker_with_secrets(settings(&[&service.host()]), &[("api-key", KEY), ("login", login)])
}

#[tokio::test]
async fn a_secret_is_sent_wherever_its_placeholder_stands_and_never_given_back() {
    let heard = |headers: HeaderMap| async move {
        let key = headers.get("x-key").unwrap().to_str().unwrap().to_owned();
        assert_eq!(key, format!("key={KEY};"));
        key
    };
    let service = Service::start(echoing().route("/heard", get(heard))).await;
    let worker = knowing(&service);
    let input = json!({
        "method": "get",
        "endpoint": {"uri": service.url("/heard")},
        "headers": {"X-Key": "key=%KEY%;"},
        "query": {"key": "%KEY%"},
        "output": "response",
    });
    let response = naming("http").run(&worker, input).await.outcome.unwrap();
    assert_eq!(service.paths(), ["/heard?key=k3y+of%2Fours"]);
    assert_eq!(response["content"], "key=***;");
    assert_eq!(response["request"]["headers"]["x-key"], "key=***;");
    assert_eq!(response["request"]["uri"], service.url("/heard?key=***"));
    let raw = json!({"method": "get", "endpoint": {"uri": service.url("/heard")}, "headers": {"X-Key": "key=%KEY%;"}, "output": "raw"});
    assert_eq!(naming("http").run(&worker, raw).await.outcome, Ok(json!("a2V5PSoqKjs=")));
}

#[tokio::test]
async fn a_policy_may_be_a_secret_as_a_whole() {
    let service = Service::start(echoing()).await;
    let worker = knowing(&service);
    let input = |name: &str| {
        json!({"method": "get", "output": "response",
               "endpoint": {"uri": service.url("/echo/x"), "authentication": {"basic": {"use": name}}}})
    };
    let response = naming("http").run(&worker, input("login")).await.outcome.unwrap();
    assert_eq!(response["content"]["headers"]["authorization"], "Basic YWRtaW46aHVudGVyMjI=");
    assert_eq!(response["request"]["headers"]["authorization"], "***");
    let unnamed = naming("http").run(&worker, input("other")).await.outcome.unwrap_err();
    assert_eq!(told(&unnamed), ("authorization", "secret-missing", 403, false));
    let no_object = naming("http").run(&worker, input("api-key")).await.outcome.unwrap_err();
    assert_eq!(told(&no_object), ("validation", "invalid-input", 400, false));
    assert!(!no_object.detail.contains(KEY));
}

#[tokio::test]
async fn errors_do_not_show_secrets() {
    let complaint =
        || async { (StatusCode::BAD_REQUEST, format!("{} {KEY} is wrong", "x".repeat(1015))) };
    let service = Service::start(Router::new().route("/", get(complaint))).await;
    let worker = knowing(&service);
    let input = json!({"method": "get", "endpoint": {"uri": service.url("/?k=%KEY%")}});
    let failure = naming("http").run(&worker, input).await.outcome.unwrap_err();
    assert_eq!(failure.status, 400);
    assert!(
        failure.detail.contains("***") && !failure.detail.contains("k3y"),
        "{}",
        failure.detail
    );
    let script = json!({"command": "echo \"$KEY\" >&2; exit 3", "environment": {"KEY": "%KEY%"}});
    let failure = naming("shell").run(&worker, script).await.outcome.unwrap_err();
    assert_eq!(failure.detail, "the program ended with code 3: ***");
    let uri: Value = json!({"method": "get", "endpoint": {"uri": "http://[%KEY%/"}});
    let failure = naming("http").run(&worker, uri).await.outcome.unwrap_err();
    assert!(!failure.detail.contains("k3y"), "{}", failure.detail);
}
