//! Plain HTTP calls: what is sent, what comes back, and what is an error.

use std::time::Duration;

use axum::{
    Router,
    body::Body,
    http::StatusCode,
    response::{IntoResponse, Redirect},
    routing::{any, get},
};
use baton_worker::testing;
use serde_json::{Value, json};

use super::{
    call, failure,
    service::{Service, echoing},
    settings, told, worker, worker_with,
};

#[tokio::test]
async fn arguments_become_the_request_that_they_say() {
    let service = Service::start(echoing()).await;
    let worker = worker(&[&service.host()]);
    let input = json!({
        "method": "post",
        "endpoint": {"uri": service.url("/echo/a?x=1")},
        "headers": {"X-Number": 5, "X-Many": ["a", "b"], "X-Nothing": null},
        "query": {"ids": [1, 2], "name": "a b&c", "none": null, "ok": true},
        "body": {"amount": 1.5},
    });
    let came = call(&worker, "http", input).await;
    assert_eq!(came["method"], "POST");
    assert_eq!(came["uri"], "/echo/a?x=1&ids=1&ids=2&name=a+b%26c&ok=true");
    assert_eq!(came["headers"]["x-number"], "5");
    assert!(came["headers"].get("x-nothing").is_none());
    assert_eq!(came["headers"]["content-type"], "application/json");
    assert_eq!(came["body"], r#"{"amount":1.5}"#);
}

#[tokio::test]
async fn a_body_is_written_as_its_content_type_says() {
    let service = Service::start(echoing()).await;
    let worker = worker(&[&service.host()]);
    for (body, content_type, wanted, wanted_type) in [
        (json!("plain"), None, "plain", "text/plain; charset=utf-8"),
        (json!("<a/>"), Some("application/xml"), "<a/>", "application/xml"),
        (
            json!({"a": "x y", "b": [1, 2]}),
            Some("application/x-www-form-urlencoded"),
            "a=x+y&b=1&b=2",
            "application/x-www-form-urlencoded",
        ),
        (
            json!({"a": 1}),
            Some("application/vnd.pet+json"),
            r#"{"a":1}"#,
            "application/vnd.pet+json",
        ),
        (json!([1, false]), None, "[1,false]", "application/json"),
    ] {
        let mut input = json!({"method": "PUT", "endpoint": service.url("/echo/b"), "body": body});
        if let Some(content_type) = content_type {
            input["headers"] = json!({ "Content-Type": content_type });
        }
        let came = call(&worker, "http", input).await;
        assert_eq!(
            (came["body"].as_str(), came["headers"]["content-type"].as_str()),
            (Some(wanted), Some(wanted_type))
        );
    }
}

#[tokio::test]
async fn an_unsafe_call_carries_the_key_of_its_step_and_every_call_its_trace() {
    let service = Service::start(echoing()).await;
    let worker = worker(&[&service.host()]);
    let traceparent = "00-0193b0c47a007000800000000000000a-1a3025621a0d5a6f-01";
    for (method, key) in [("POST", Some("00000000-0000-0000-0000-000000000000/7")), ("GET", None)] {
        let step = testing::Call {
            step: 7,
            traceparent: Some(traceparent.into()),
            ..testing::Call::new("http")
        };
        let input = json!({"method": method, "endpoint": {"uri": service.url("/echo/c")}});
        let came = step.run(&worker, input).await.outcome.unwrap();
        assert_eq!(came["headers"].get("idempotency-key").and_then(Value::as_str), key);
        assert_eq!(came["headers"]["traceparent"], traceparent);
    }
    let own = json!({"method": "POST", "endpoint": {"uri": service.url("/echo/c")}, "headers": {"Idempotency-Key": "mine"}});
    assert_eq!(call(&worker, "http", own).await["headers"]["idempotency-key"], "mine");
}

#[tokio::test]
async fn headers_of_the_client_itself_cannot_be_set() {
    let service = Service::start(echoing()).await;
    let worker = worker(&[&service.host()]);
    for (name, value) in
        [("Host", "v4lue"), ("Content-Length", "17"), ("X", "v4lue\r\nY: b"), ("a b", "v4lue")]
    {
        let input = json!({"method": "GET", "endpoint": {"uri": service.url("/echo/d")}, "headers": {name: value}});
        let failure = failure(&worker, "http", input).await;
        assert_eq!(told(&failure), ("validation", "invalid-input", 400, false), "{name}");
        assert!(!failure.detail.contains(value));
    }
    assert_eq!(service.requests(), 0);
}

#[tokio::test]
async fn an_answer_is_given_back_in_the_form_that_is_asked_for() {
    let pet = || async {
        ([("content-type", "application/json"), ("x-a", "1"), ("x-a", "2")], r#"{"name":"milou"}"#)
    };
    let router = Router::new()
        .route("/pet", any(pet))
        .route("/text", get(|| async { "hello" }))
        .route("/bytes", get(|| async { vec![0_u8, 255] }))
        .route("/broken", get(|| async { ([("content-type", "application/json")], "<html>") }))
        .route("/nothing", get(|| async { StatusCode::NO_CONTENT }));
    let service = Service::start(router).await;
    let worker = worker(&[&service.host()]);
    let input = |path: &str, output: Option<&str>| json!({"method": "get", "endpoint": {"uri": service.url(path)}, "output": output, "query": {"q": 1}});
    assert_eq!(call(&worker, "http", input("/pet", None)).await, json!({"name": "milou"}));
    assert_eq!(
        call(&worker, "http", input("/pet", Some("raw"))).await,
        json!("eyJuYW1lIjoibWlsb3UifQ==")
    );
    assert_eq!(call(&worker, "http", input("/text", Some("content"))).await, json!("hello"));
    assert_eq!(call(&worker, "http", input("/bytes", None)).await, json!("AP8="));
    assert_eq!(call(&worker, "http", input("/nothing", None)).await, Value::Null);
    let response = call(&worker, "http", input("/pet", Some("response"))).await;
    assert_eq!(response["request"]["method"], "GET");
    assert_eq!(response["request"]["uri"], service.url("/pet?q=1"));
    assert!(response["request"]["headers"].is_object());
    assert_eq!(
        (&response["statusCode"], &response["content"]),
        (&json!(200), &json!({"name": "milou"}))
    );
    assert_eq!(response["headers"]["content-type"], "application/json");
    let failure = failure(&worker, "http", input("/broken", None)).await;
    assert_eq!(told(&failure), ("communication", "invalid-response", 500, false));
    let head = json!({"method": "head", "endpoint": {"uri": service.url("/pet")}});
    assert_eq!(call(&worker, "http", head).await, Value::Null);
}

#[tokio::test]
async fn a_status_outside_of_success_is_an_error_and_says_whether_to_try_again() {
    let router = Router::new().route(
        "/status/{code}",
        get(|axum::extract::Path(code): axum::extract::Path<u16>| async move {
            (StatusCode::from_u16(code).unwrap(), "no such pet")
        }),
    );
    let service = Service::start(router).await;
    let worker = worker(&[&service.host()]);
    for (status, retryable) in [
        (302_u16, false),
        (400, false),
        (401, false),
        (404, false),
        (429, true),
        (500, false),
        (502, true),
        (503, true),
        (504, true),
    ] {
        let input = json!({"method": "get", "endpoint": {"uri": service.url(&format!("/status/{status}"))}});
        let failure = failure(&worker, "http", input).await;
        assert_eq!(told(&failure), ("communication", "http-status", status.into(), retryable));
        assert!(failure.detail.ends_with(": no such pet"), "{}", failure.detail);
    }
    // With redirect, a redirection that leads nowhere is a success.
    let input =
        json!({"method": "get", "endpoint": {"uri": service.url("/status/304")}, "redirect": true});
    assert_eq!(call(&worker, "http", input).await, Value::Null);
}

fn redirecting(other: &Service) -> Router {
    let elsewhere = other.url("/echo/elsewhere");
    echoing()
        .route("/found", any(|| async { (StatusCode::FOUND, [("location", "/echo/found")]) }))
        .route("/see-other", any(|| async { Redirect::to("/echo/seen") }))
        .route("/temporary", any(|| async { Redirect::temporary("/echo/kept") }))
        .route("/loop", any(|| async { Redirect::temporary("/loop") }))
        .route("/file", any(|| async { Redirect::temporary("file:///etc/passwd") }))
        .route("/metadata", any(|| async { Redirect::temporary("http://169.254.169.254/latest/") }))
        .route("/elsewhere", any(move || async move { Redirect::temporary(&elsewhere) }))
}

#[tokio::test]
async fn redirects_are_followed_only_when_asked_for() {
    let other = Service::start(echoing()).await;
    let service = Service::start(redirecting(&other)).await;
    let worker = worker(&[&service.host(), &other.host()]);
    let input = |path: &str, redirect: bool| {
        json!({"method": "POST", "endpoint": {"uri": service.url(path), "authentication": {"bearer": {"token": "t0ken"}}},
               "body": {"a": 1}, "redirect": redirect})
    };
    let refused = failure(&worker, "http", input("/temporary", false)).await;
    assert_eq!(told(&refused), ("communication", "http-status", 307, false));
    for (path, method, uri, body) in [
        ("/found", "GET", "/echo/found", ""),
        ("/see-other", "GET", "/echo/seen", ""),
        ("/temporary", "POST", "/echo/kept", r#"{"a":1}"#),
    ] {
        let came = call(&worker, "http", input(path, true)).await;
        assert_eq!(
            (&came["method"], &came["uri"], &came["body"]),
            (&json!(method), &json!(uri), &json!(body))
        );
        assert_eq!(came["headers"]["authorization"], "Bearer t0ken");
    }
    let elsewhere = call(&worker, "http", input("/elsewhere", true)).await;
    assert!(
        elsewhere["headers"].get("authorization").is_none(),
        "another service gets no credentials"
    );
    let looped = failure(&worker, "http", input("/loop", true)).await;
    assert_eq!(told(&looped), ("communication", "too-many-redirects", 500, false));
}

#[tokio::test]
async fn a_redirect_leads_nowhere_that_a_call_may_not_go() {
    let other = Service::start(echoing()).await;
    let service = Service::start(redirecting(&other)).await;
    let worker = worker(&[&service.host()]);
    for (path, code) in [
        ("/elsewhere", "address-refused"),
        ("/metadata", "address-refused"),
        ("/file", "scheme-refused"),
    ] {
        let input =
            json!({"method": "get", "endpoint": {"uri": service.url(path)}, "redirect": true});
        assert_eq!(failure(&worker, "http", input).await.title, code, "{path}");
    }
    assert_eq!(other.requests(), 0);
}

#[tokio::test]
async fn an_answer_has_bounds_in_size_and_time() {
    let chunks = || async {
        let chunks =
            futures::stream::iter((0..100).map(|_| Ok::<_, std::io::Error>(vec![b'x'; 100])));
        Body::from_stream(chunks).into_response()
    };
    let router = Router::new()
        .route("/announced", get(|| async { "x".repeat(2000) }))
        .route("/streamed", get(chunks))
        .route("/fits", get(|| async { "x".repeat(1000) }))
        .route("/slow", get(|| async { tokio::time::sleep(Duration::from_secs(60)).await }))
        .route(
            "/stalls",
            get(|| async {
                Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>())
            }),
        );
    let service = Service::start(router).await;
    let mut settings = settings(&[&service.host()]);
    settings.response_bytes_max = 1000;
    settings.timeout = Duration::from_millis(300);
    let worker = worker_with(settings);
    let input = |path: &str| json!({"method": "get", "endpoint": {"uri": service.url(path)}});
    assert_eq!(call(&worker, "http", input("/fits")).await.as_str().map(str::len), Some(1000));
    for path in ["/announced", "/streamed"] {
        let failure = failure(&worker, "http", input(path)).await;
        assert_eq!(told(&failure), ("communication", "response-too-large", 500, false));
    }
    for path in ["/slow", "/stalls"] {
        let failure = failure(&worker, "http", input(path)).await;
        assert_eq!(told(&failure), ("timeout", "timed-out", 408, true));
    }
    let cancelled = testing::Call::new("http");
    cancelled.cancellation.cancel();
    let cancelled = cancelled.run(&worker, input("/fits")).await.outcome.unwrap_err();
    assert_eq!(cancelled.title, "cancelled");
}

#[tokio::test]
async fn a_service_that_is_not_there_may_come_back() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    drop(listener);
    let input = json!({"method": "get", "endpoint": {"uri": format!("http://{host}/?key=k3y")}});
    let failure = failure(&worker(&[&host]), "http", input).await;
    assert_eq!(told(&failure), ("communication", "unreachable", 500, true));
    assert!(!failure.detail.contains("k3y"), "{}", failure.detail);
}

#[tokio::test]
async fn a_service_must_prove_who_it_is_when_it_is_called_by_https() {
    let service = Service::start(echoing()).await;
    let uri = service.url("/echo/x").replace("http://", "https://");
    let input = json!({"method": "get", "endpoint": {"uri": uri}});
    let failure = failure(&worker(&[&service.host()]), "http", input).await;
    assert_eq!(told(&failure), ("communication", "unreachable", 500, true));
    assert_eq!(service.requests(), 0);
}

#[tokio::test]
async fn what_cannot_be_a_request_is_refused_before_it_is_sent() {
    let worker = worker(&["127.0.0.1:1"]);
    let endpoint = json!({"uri": "http://127.0.0.1:1/"});
    for input in [
        json!({"method": "get"}),
        json!({"method": "get", "endpoint": 5}),
        json!({"method": "get", "endpoint": {"uri": "not a uri"}}),
        json!({"method": "connect", "endpoint": endpoint}),
        json!({"method": "g t", "endpoint": endpoint}),
        json!({"method": "get", "endpoint": endpoint, "query": {"a": {"b": 1}}}),
        json!({"method": "get", "endpoint": endpoint, "output": "xml"}),
        json!({"method": "get", "endpoint": {"uri": "http://127.0.0.1:1/", "authentication": {"use": "name"}}}),
        json!({"method": "get", "endpoint": {"uri": "http://127.0.0.1:1/", "authentication": {"basic": {"username": "u"}}}}),
    ] {
        let failure = failure(&worker, "http", input.clone()).await;
        assert_eq!(told(&failure), ("validation", "invalid-input", 400, false), "{input}");
    }
}
