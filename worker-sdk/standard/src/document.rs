//! Documents that calls are made by: fetched, and kept for a while.

use std::{any::Any, sync::Arc};

use baton_worker::{Context, Outcome};
use reqwest::{Method, Url, header::HeaderMap};
use sha2::{Digest, Sha256};

use crate::{
    Net,
    auth::Authentication,
    cache::Cache,
    client::Request,
    exchange::{Call, exchange},
    fault::Fault,
    input::Endpoint,
    limits::{DOCUMENT_AGE_MAX, DOCUMENT_BYTES_MAX},
};

/// What was read out of documents, by the hash of where they are and who may see them.
#[derive(Default)]
pub(crate) struct Documents(Cache<[u8; 32], Arc<dyn Any + Send + Sync>>);

impl Documents {
    pub(crate) fn get<T: Send + Sync + 'static>(&self, key: &[u8; 32]) -> Option<Arc<T>> {
        self.0.get(key)?.downcast().ok()
    }

    pub(crate) fn keep<T: Send + Sync + 'static>(&self, key: [u8; 32], document: Arc<T>) {
        self.0.keep(key, document, DOCUMENT_AGE_MAX);
    }
}

/// Nobody gets a document from the cache who could not fetch it.
pub(crate) fn key(what: &str, endpoint: &Endpoint, context: &Context) -> [u8; 32] {
    let policy = endpoint.authentication.as_ref().map(ToString::to_string).unwrap_or_default();
    // A policy that is named by its secret is as good as what the secret says.
    let scheme = endpoint.authentication.as_ref().and_then(|policy| policy.as_object());
    let names = scheme.into_iter().flat_map(|schemes| schemes.values());
    let names = names.filter_map(|body| body.get("use")?.as_str());
    let secrets = names.filter_map(|name| context.secret(name).ok());
    let mut hash = Sha256::new();
    for part in [what, &endpoint.uri, &policy].into_iter().chain(secrets) {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

pub(crate) async fn fetch(
    net: &Net,
    context: &Context,
    url: Url,
    authentication: Option<Authentication>,
) -> Outcome<String> {
    let request = Request { method: Method::GET, url, headers: HeaderMap::new(), body: None };
    let call =
        Call { request, shown: None, authentication, follow: true, bytes_max: DOCUMENT_BYTES_MAX };
    let answer = exchange(net, context, call).await?;
    String::from_utf8(answer.response.body)
        .map_err(|_| Fault::Document.because("the document is no UTF-8"))
}
