//! A service on this machine that the worker calls.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    body::Bytes,
    extract::{Request, State},
    http::{HeaderMap, Method, Uri},
    middleware::{self, Next},
    response::Response,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    requests: AtomicUsize,
    paths: Mutex<Vec<String>>,
}

impl Service {
    /// Serves until the test's runtime ends.
    pub(crate) async fn start(router: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let router = router.layer(middleware::from_fn_with_state(seen.clone(), count));
        tokio::spawn(axum::serve(listener, router).into_future());
        Self { address, seen }
    }

    /// `HOST:PORT`, as settings name it.
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn requests(&self) -> usize {
        self.seen.requests.load(Ordering::Relaxed)
    }

    pub(crate) fn paths(&self) -> Vec<String> {
        self.seen.paths.lock().unwrap().clone()
    }
}

async fn count(State(seen): State<Arc<Seen>>, request: Request, next: Next) -> Response {
    seen.requests.fetch_add(1, Ordering::Relaxed);
    seen.paths.lock().unwrap().push(request.uri().to_string());
    next.run(request).await
}

/// What came, as JSON.
fn echo(method: &Method, uri: &Uri, headers: &HeaderMap, body: &Bytes) -> String {
    let headers = headers.iter().map(|(name, value)| {
        (name.to_string(), Value::from(String::from_utf8_lossy(value.as_bytes())))
    });
    let headers = Value::Object(headers.collect());
    let body = String::from_utf8_lossy(body);
    json!({"method": method.as_str(), "uri": uri.to_string(), "headers": headers, "body": body})
        .to_string()
}

/// With the echo at /echo.
pub(crate) fn echoing() -> Router {
    let json = [("content-type", "application/json")];
    Router::new().route(
        "/echo/{*rest}",
        axum::routing::any(
            async move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
                (json, echo(&method, &uri, &headers, &body))
            },
        ),
    )
}
