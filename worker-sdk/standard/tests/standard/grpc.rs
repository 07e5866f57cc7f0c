//! gRPC calls against a real server.

use std::{convert::Infallible, net::SocketAddr, pin::Pin, task};

use axum::{Router, http, routing::get};
use baton_standard::{GrpcTls, Lookup, Settings};
use futures::future::BoxFuture;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_stream::{Stream, wrappers::TcpListenerStream};
use tonic::{Code, Request, Response, Status, body::Body, server};
use tonic_prost::ProstCodec;

use super::{call, failure, service::Service, settings, told, worker, worker_with};

const PROTO: &str = r#"
syntax = "proto3";
package test.v1;
import "common/mood.proto";
import "google/protobuf/timestamp.proto";
message HelloRequest { string name = 1; double factor = 2; common.Mood mood = 3; google.protobuf.Timestamp at = 4; uint32 code = 5; }
message HelloReply { string text = 1; int64 count = 2; common.Mood mood = 3; string authorization = 4; string key = 5; }
service Greeter {
  rpc Hello(HelloRequest) returns (HelloReply);
  rpc Many(HelloRequest) returns (stream HelloReply);
  rpc Gather(stream HelloRequest) returns (HelloReply);
}
"#;
const MOOD: &str = "syntax = \"proto3\"; package common; enum Mood { CALM = 0; GLAD = 1; }";

#[derive(Clone, PartialEq, prost::Message)]
struct HelloRequest {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(double, tag = "2")]
    factor: f64,
    #[prost(int32, tag = "3")]
    mood: i32,
    #[prost(uint32, tag = "5")]
    code: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct HelloReply {
    #[prost(string, tag = "1")]
    text: String,
    #[prost(int64, tag = "2")]
    count: i64,
    #[prost(int32, tag = "3")]
    mood: i32,
    #[prost(string, tag = "4")]
    authorization: String,
    #[prost(string, tag = "5")]
    key: String,
}

#[derive(Clone)]
struct Greeter;

impl server::NamedService for Greeter {
    const NAME: &'static str = "test.v1.Greeter";
}

impl tower::Service<http::Request<Body>> for Greeter {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> task::Poll<Result<(), Infallible>> {
        task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let mut grpc = server::Grpc::new(ProstCodec::default());
        Box::pin(async move {
            if request.uri().path() == "/test.v1.Greeter/Many" {
                return Ok(grpc.server_streaming(tower::service_fn(many), request).await);
            }
            Ok(grpc.unary(tower::service_fn(hello), request).await)
        })
    }
}

async fn hello(request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
    let metadata = |name| {
        request
            .metadata()
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned()
    };
    let (authorization, key) = (metadata("authorization"), metadata("idempotency-key"));
    let HelloRequest { name, factor, mood, code } = request.into_inner();
    if code != 0 {
        return Err(Status::new(Code::from(i32::try_from(code).unwrap()), "as asked"));
    }
    Ok(Response::new(HelloReply {
        text: format!("{name} {factor}"),
        count: 0,
        mood,
        authorization,
        key,
    }))
}

type Replies = Pin<Box<dyn Stream<Item = Result<HelloReply, Status>> + Send>>;

async fn many(request: Request<HelloRequest>) -> Result<Response<Replies>, Status> {
    let HelloRequest { name, code, .. } = request.into_inner();
    let replies = (0..code).map(move |count| {
        Ok(HelloReply { text: name.clone(), count: count.into(), ..HelloReply::default() })
    });
    Ok(Response::new(Box::pin(tokio_stream::iter(replies))))
}

async fn greeter() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tonic::transport::Server::builder().add_service(Greeter);
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    address
}

async fn documents() -> Service {
    let router = Router::new()
        .route("/protos/greet.proto", get(|| async { PROTO }))
        .route("/protos/common/mood.proto", get(|| async { MOOD }))
        .route("/protos/broken.proto", get(|| async { "message {" }));
    Service::start(router).await
}

fn input(documents: &Service, at: SocketAddr, method: &str, arguments: &Value) -> Value {
    json!({
        "proto": {"endpoint": {"uri": documents.url("/protos/greet.proto")}},
        "service": {"name": "test.v1.Greeter", "host": "127.0.0.1", "port": at.port()},
        "method": method,
        "arguments": arguments,
    })
}

#[tokio::test]
async fn a_method_is_called_by_its_description() {
    let (documents, at) = (documents().await, greeter().await);
    let worker = worker(&[&documents.host(), &at.to_string()]);
    let arguments =
        json!({"name": "Ada", "factor": 1.50, "mood": "GLAD", "at": "2026-01-02T03:04:05Z"});
    let mut greeting = input(&documents, at, "Hello", &arguments);
    greeting["service"]["authentication"] = json!({"bearer": {"token": "t0ken"}});
    let key = "00000000-0000-0000-0000-000000000000/1";
    let wanted = json!({"text": "Ada 1.5", "count": "0", "mood": "GLAD", "authorization": "Bearer t0ken", "key": key});
    assert_eq!(call(&worker, "grpc", greeting.clone()).await, wanted);
    greeting["service"]["name"] = "Greeter".into();
    assert_eq!(call(&worker, "grpc", greeting).await, wanted);
    assert_eq!(documents.requests(), 2, "the description and its import are kept");
}

#[tokio::test]
async fn a_stream_of_answers_becomes_a_list() {
    let (documents, at) = (documents().await, greeter().await);
    let worker = worker(&[&documents.host(), &at.to_string()]);
    let list =
        call(&worker, "grpc", input(&documents, at, "Many", &json!({"name": "x", "code": 3})))
            .await;
    let counts = list.as_array().unwrap().iter().map(|reply| reply["count"].as_str().unwrap());
    assert_eq!(counts.collect::<Vec<_>>(), ["0", "1", "2"]);
    let endless = input(&documents, at, "Many", &json!({"name": "x".repeat(1000), "code": 2000}));
    let endless = failure(&worker, "grpc", endless).await;
    assert_eq!(told(&endless), ("communication", "response-too-large", 500, false));
}

#[tokio::test]
async fn status_codes_become_errors_of_the_language() {
    let (documents, at) = (documents().await, greeter().await);
    let worker = worker(&[&documents.host(), &at.to_string()]);
    for (code, wanted) in [
        (Code::Unauthenticated, ("authentication", 401, false)),
        (Code::PermissionDenied, ("authorization", 403, false)),
        (Code::DeadlineExceeded, ("timeout", 408, true)),
        (Code::InvalidArgument, ("validation", 400, false)),
        (Code::NotFound, ("communication", 404, false)),
        (Code::ResourceExhausted, ("communication", 429, true)),
        (Code::Unavailable, ("communication", 503, true)),
        (Code::Unimplemented, ("communication", 501, false)),
        (Code::Internal, ("communication", 500, false)),
    ] {
        let failure =
            failure(&worker, "grpc", input(&documents, at, "Hello", &json!({"code": code as i32})))
                .await;
        let (kind, title, status, retryable) = told(&failure);
        assert_eq!((kind, status, retryable, title), (wanted.0, wanted.1, wanted.2, "grpc-status"));
        assert_eq!(failure.detail, format!("{code:?}: as asked"));
    }
}

#[tokio::test]
async fn what_the_description_does_not_have_is_refused() {
    let (documents, at) = (documents().await, greeter().await);
    let worker = worker(&[&documents.host(), &at.to_string()]);
    let good = input(&documents, at, "Hello", &json!({}));
    for (pointer, value, wanted) in [
        ("/method", json!("Bye"), ("configuration", "unknown-operation")),
        ("/service/name", json!("Other"), ("configuration", "unknown-operation")),
        ("/arguments", json!({"nme": "x"}), ("validation", "invalid-input")),
        ("/arguments", json!({"name": 5}), ("validation", "invalid-input")),
        ("/method", json!("Gather"), ("configuration", "unsupported-here")),
        (
            "/proto/endpoint/uri",
            json!(documents.url("/protos/broken.proto")),
            ("configuration", "invalid-document"),
        ),
        ("/service/port", json!(1), ("authorization", "address-refused")),
        ("/service/host", json!("a b"), ("validation", "invalid-input")),
    ] {
        let mut input = good.clone();
        *input.pointer_mut(pointer).unwrap() = value;
        let failure = failure(&worker, "grpc", input).await;
        let (kind, title, ..) = told(&failure);
        assert_eq!((kind, title), wanted, "{pointer}: {}", failure.detail);
    }
}

#[tokio::test]
async fn a_service_is_where_the_settings_say() {
    let (documents, at) = (documents().await, greeter().await);
    let known = format!("greeter.test={at}").parse().unwrap();
    let lookup = Lookup::system().with([known]);
    let hosts = [&*documents.host(), "greeter.test"];
    let worker = worker_with(Settings { lookup, grpc_tls: GrpcTls::Never, ..settings(&hosts) });
    let mut call_of = input(&documents, at, "Hello", &json!({"name": "Ann"}));
    call_of["service"] = json!({"name": "test.v1.Greeter", "host": "greeter.test"});
    assert_eq!(call(&worker, "grpc", call_of.clone()).await["text"], "Ann 0");
    // A port that the workflow says is the one; there is nobody at this one, and the connection above is not taken for it.
    call_of["service"]["port"] = json!(443);
    assert_eq!(failure(&worker, "grpc", call_of).await.title, "unreachable");
}
