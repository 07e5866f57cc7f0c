//! The public services that scenarios call, answered here: a pet store and an echo.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::serve::Listener as _;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Map, Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::tls::TlsListener;

/// The hosts that it stands for: those of the language's conformance kit.
const HOSTS: [&str; 2] = ["petstore.swagger.io", "httpbin.org"];

/// Hosts that scenarios call and that are away.
const AWAY: [&str; 2] = ["nobody.example.com", "login.example.com"];

/// A server on loopback.
#[derive(Debug)]
pub(crate) struct Web {
    address: SocketAddr,
    /// Whoever signed its certificate.
    authority: PathBuf,
    stop: CancellationToken,
    task: JoinHandle<std::io::Result<()>>,
}

impl Web {
    pub(crate) async fn open(folder: &Path) -> Result<Self> {
        let (listener, authority) = TlsListener::bind(&HOSTS, folder).await?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let served = axum::serve(listener, Router::new().fallback(answer));
        let task = served.with_graceful_shutdown(stop.clone().cancelled_owned());
        Ok(Self { address, authority, stop, task: tokio::spawn(task.into_future()) })
    }

    /// Settings with which a standard worker finds the hosts here, believes that it is them, and calls no others.
    pub(crate) fn for_worker(&self) -> [(&'static str, String); 5] {
        let here = HOSTS.iter().map(|host| format!("{host}={}", self.address));
        // Nobody listens on the port that is reserved for multiplexing.
        let away = AWAY.iter().map(|host| format!("{host}=127.0.0.1:1"));
        [
            ("BATON_DEPARTMENT", "default".to_owned()),
            ("BATON_STANDARD_SERVE", "http,openapi".to_owned()),
            ("BATON_STANDARD_ALLOW_HOST", [HOSTS, AWAY].concat().join(",")),
            ("BATON_STANDARD_RESOLVE", here.chain(away).collect::<Vec<_>>().join(",")),
            ("SSL_CERT_FILE", self.authority.display().to_string()),
        ]
    }

    pub(crate) async fn close(self) -> Result<()> {
        self.stop.cancel();
        self.task.await.context("the services' task")?.context("the services")
    }
}

async fn answer(method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let path = uri.path().trim_matches('/').split('/').collect::<Vec<_>>();
    match path.as_slice() {
        ["v2", "swagger.json"] => json_answer(&pet_store()),
        ["v2", "pet", "findByStatus"] => {
            let wanted = query(&uri).remove("status").unwrap_or(Value::Null);
            let pets = (1..=3).map(|id| pet(id, &wanted)).collect::<Vec<_>>();
            json_answer(&json!(pets))
        }
        ["v2", "pet", id] => match id.parse() {
            Ok(id) => json_answer(&pet(id, &json!("available"))),
            Err(_) => missing(),
        },
        ["basic-auth", user, password] => {
            let wanted = format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")));
            if text(&headers, header::AUTHORIZATION.as_str()) == wanted {
                json_answer(&json!({ "authenticated": true, "user": user }))
            } else {
                StatusCode::UNAUTHORIZED.into_response()
            }
        }
        ["status", code] => {
            let code = code.parse().ok().and_then(|code| StatusCode::from_u16(code).ok());
            code.unwrap_or(StatusCode::BAD_REQUEST).into_response()
        }
        ["text"] => "plain text".into_response(),
        ["anything", ..] => json_answer(&echo(&method, &uri, &headers, &body)),
        _ => missing(),
    }
}

/// What came in.
fn echo(method: &Method, uri: &Uri, headers: &HeaderMap, body: &Bytes) -> Value {
    let headers = headers.keys().map(|name| {
        let name = name.as_str();
        (name.to_owned(), Value::from(text(headers, name)))
    });
    json!({
        "method": method.as_str(),
        "path": uri.path(),
        "query": query(uri),
        "headers": headers.collect::<Map<_, _>>(),
        "body": serde_json::from_slice::<Value>(body).unwrap_or(Value::Null),
    })
}

fn query(uri: &Uri) -> Map<String, Value> {
    let pairs = uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), Value::from(value))).collect()
}

fn text(headers: &HeaderMap, name: &str) -> String {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_owned()
}

fn pet(id: u32, status: &Value) -> Value {
    json!({ "id": id, "name": format!("pet {id}"), "status": status })
}

fn missing() -> Response {
    StatusCode::NOT_FOUND.into_response()
}

fn json_answer(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

/// The two operations that scenarios call, as the public pet store describes them.
fn pet_store() -> Value {
    let parameter =
        |name: &str, place: &str| json!({ "name": name, "in": place, "required": true });
    json!({
        "swagger": "2.0",
        "info": { "title": "Pet store", "version": "1.0.0" },
        "host": "petstore.swagger.io",
        "basePath": "/v2",
        "schemes": ["https"],
        "paths": {
            "/pet/findByStatus": { "get": {
                "operationId": "findPetsByStatus",
                "parameters": [parameter("status", "query")],
            } },
            "/pet/{petId}": { "get": {
                "operationId": "getPetById",
                "parameters": [parameter("petId", "path")],
            } },
        },
    })
}
