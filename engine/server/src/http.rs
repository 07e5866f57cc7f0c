//! `/metrics`, `/healthz` and `/readyz`.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};

use crate::{Engine, clock};

pub fn routes(engine: Arc<Engine>) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(engine)
}

async fn ready(State(engine): State<Arc<Engine>>) -> impl IntoResponse {
    match engine.readiness() {
        Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
        Err(because) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {because}\n")),
    }
}

async fn metrics(State(engine): State<Arc<Engine>>) -> impl IntoResponse {
    let text = engine.metrics.text(engine.partitions(), &engine.counts(), clock::now().0);
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
}
