//! Gives a stable code to what gRPC refuses before the API sees it: a message that cannot be decoded or is too long,
//! a method that there is not.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use tonic::{
    Code, Status,
    body::Body,
    codegen::{BoxFuture, Service, http},
    server::NamedService,
};

use crate::{Engine, error::CODE_TRAILER};

/// A gRPC service whose every refusal carries a code.
#[derive(Clone)]
pub struct Coded<S> {
    service: S,
    engine: Arc<Engine>,
}

impl<S> Coded<S> {
    pub fn new(service: S, engine: &Arc<Engine>) -> Self {
        Self { service, engine: Arc::clone(engine) }
    }
}

impl<S: NamedService> NamedService for Coded<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for Coded<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let answered = self.service.call(request);
        let engine = Arc::clone(&self.engine);
        Box::pin(async move {
            let mut response = answered.await?;
            // A refusal without an answer is all in the headers.
            let headers = response.headers_mut();
            if !headers.contains_key(CODE_TRAILER)
                && let Some(status) = headers.get(Status::GRPC_STATUS)
                && let Some(code) = code_of(Code::from_bytes(status.as_bytes()))
            {
                engine.metrics.request_refused(code);
                headers.insert(CODE_TRAILER, http::HeaderValue::from_static(code));
                headers
                    .entry(Status::GRPC_MESSAGE)
                    .or_insert(http::HeaderValue::from_static("there is no such method"));
            }
            Ok(response)
        })
    }
}

/// What tonic itself refuses with. `None`: nothing was refused.
fn code_of(status: Code) -> Option<&'static str> {
    match status {
        Code::Ok => None,
        Code::OutOfRange | Code::ResourceExhausted => Some("too-large"),
        Code::Unimplemented => Some("unknown-method"),
        Code::Cancelled
        | Code::Unknown
        | Code::InvalidArgument
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss
        | Code::Unauthenticated => Some("malformed-request"),
    }
}
