//! Sends one HTTP request to where it may go, and reads its answer up to a bound.

use std::sync::Arc;

use baton_worker::{Failure, Outcome};
use bytes::Bytes;
use reqwest::{
    Method, StatusCode, Url,
    dns::{Addrs, Name, Resolve, Resolving},
    header::HeaderMap,
    redirect::Policy,
};

use crate::{
    Lookup, Settings,
    fault::Fault,
    guard::{Guard, refusal},
    hosts::Reach,
    limits::{IDLE_CONNECTIONS_MAX, IDLE_TIMEOUT},
};

pub(crate) struct Client {
    guard: Guard,
    /// Connects to public addresses only.
    public: reqwest::Client,
    /// For hosts that the settings name. Two clients, so that neither uses the other's connections.
    anywhere: reqwest::Client,
}

#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<Bytes>,
}

pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Client {
    pub(crate) fn new(settings: &Settings) -> Result<Self, reqwest::Error> {
        // There may be one already: then that one serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let guard = Guard::new(settings.hosts.clone(), settings.lookup.clone());
        let client = |reach| {
            reqwest::Client::builder()
                .dns_resolver(Arc::new(Resolver { lookup: guard.lookup(), reach }))
                .redirect(Policy::none())
                .connect_timeout(settings.connect_timeout)
                .pool_idle_timeout(IDLE_TIMEOUT)
                .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
                .user_agent(concat!("baton-standard/", env!("CARGO_PKG_VERSION")))
                // What the environment says of proxies would lead around the guard.
                .no_proxy()
                .build()
        };
        let (public, anywhere) = (client(Reach::Public)?, client(Reach::Anywhere)?);
        Ok(Self { guard, public, anywhere })
    }

    pub(crate) fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Every answer is one, whatever its status.
    pub(crate) async fn send(&self, request: &Request, bytes_max: usize) -> Outcome<Response> {
        let client = match self.reach(&request.url)? {
            Reach::Public => &self.public,
            Reach::Anywhere => &self.anywhere,
        };
        let mut builder = client
            .request(request.method.clone(), request.url.clone())
            .headers(request.headers.clone());
        if let Some(body) = &request.body {
            builder = builder.body(body.clone());
        }
        let mut response = builder.send().await.map_err(failure)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let too_large = || {
            Fault::ResponseTooLarge
                .because(format_args!("the answer has more than {bytes_max} bytes"))
        };
        let announced = response.content_length().unwrap_or(0);
        // A HEAD announces what a GET would bring.
        if request.method != Method::HEAD
            && usize::try_from(announced).map_or(true, |announced| announced > bytes_max)
        {
            return Err(too_large());
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failure)? {
            if body.len() + chunk.len() > bytes_max {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Response { status, headers, body })
    }

    fn reach(&self, url: &Url) -> Outcome<Reach> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Fault::SchemeRefused
                .because(format_args!("only http and https can be called, not {}", url.scheme())));
        }
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return Err(Fault::Input.because("the URI has no host"));
        };
        self.guard.admit(&host, port).map_err(|refused| Fault::AddressRefused.because(refused))
    }
}

/// Without the URL: it may hold secrets.
fn failure(error: reqwest::Error) -> Failure {
    let error = error.without_url();
    if let Some(refused) = refusal(&error) {
        return Fault::AddressRefused.because(refused);
    }
    let fault = if error.is_timeout() {
        Fault::TimedOut
    } else if error.is_builder() {
        Fault::Input
    } else {
        Fault::Unreachable
    };
    fault.because(chain(&error))
}

/// An error and all that led to it.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

struct Resolver {
    lookup: Lookup,
    reach: Reach,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (lookup, reach) = (self.lookup.clone(), self.reach);
        Box::pin(async move {
            let addresses = lookup.addresses(name.as_str().to_owned(), reach).await?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}
