//! A request and its answer, with proof of who asks, and redirects.

use baton_worker::{Context, Outcome};
use reqwest::{
    Method, StatusCode, Url,
    header::{
        AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HeaderMap,
        HeaderName, HeaderValue, LOCATION, PROXY_AUTHORIZATION,
    },
};

use crate::{
    Net,
    answer::excerpt,
    auth::Authentication,
    client::{Request, Response},
    fault::Fault,
    limits::REDIRECTS_MAX,
};

/// What is to be sent, and how.
pub(crate) struct Call {
    pub(crate) request: Request,
    /// The request's URL as it may be shown.
    pub(crate) shown: Option<Url>,
    pub(crate) authentication: Option<Authentication>,
    pub(crate) follow: bool,
    /// Bytes of the answer.
    pub(crate) bytes_max: usize,
}

/// A success, and the last request that was sent for it.
pub(crate) struct Answer {
    pub(crate) response: Response,
    pub(crate) request: Request,
    pub(crate) shown: Option<Url>,
}

pub(crate) async fn exchange(net: &Net, context: &Context, call: Call) -> Outcome<Answer> {
    let Call { mut request, mut shown, authentication, follow, bytes_max } = call;
    add_ours(context, &mut request)?;
    if let Some(authentication) = &authentication {
        authentication.prove(net, &mut request.headers).await?;
    }
    let mut trusted = authentication;
    let mut challenged = false;
    let mut redirects = 0;
    loop {
        let response = net.client.send(&request, bytes_max).await?;
        if response.status == StatusCode::UNAUTHORIZED
            && !challenged
            && let Some(authentication) = &trusted
        {
            challenged = true;
            if authentication.answer(net, &mut request, &response).await? {
                continue;
            }
        }
        if follow && let Some(target) = target(&request.url, &response)? {
            if redirects == REDIRECTS_MAX {
                return Err(Fault::TooManyRedirects
                    .because(format_args!("more than {REDIRECTS_MAX} redirects")));
            }
            redirects += 1;
            if target.origin() != request.url.origin() {
                // Who it is stays between the two that agreed on it.
                trusted = None;
                for name in [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION] {
                    request.headers.remove(name);
                }
            } else if let Some(Authentication::Digest(_)) = trusted {
                // The proof was for the other path.
                challenged = false;
                request.headers.remove(AUTHORIZATION);
            }
            shown = Url::parse(&context.scrub(target.as_str())).ok();
            redirect(&mut request, response.status, target);
            continue;
        }
        let status = response.status;
        if status.is_success() || (follow && status.is_redirection()) {
            return Ok(Answer { response, request, shown });
        }
        let excerpt = excerpt(context, &response);
        return Err(Fault::Status(status.as_u16()).because(format_args!("{status}{excerpt}")));
    }
}

/// The trace goes on at the service, and what must happen once can be recognised there.
fn add_ours(context: &Context, request: &mut Request) -> Outcome<()> {
    let unsafe_method =
        !matches!(request.method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE);
    let key = unsafe_method.then(|| context.idempotency_key());
    let ours = [("idempotency-key", key), ("traceparent", context.traceparent())];
    for (name, value) in ours {
        let Some(value) = value else { continue };
        let value = HeaderValue::from_str(value).map_err(|error| Fault::Input.because(error))?;
        request.headers.entry(HeaderName::from_static(name)).or_insert(value);
    }
    Ok(())
}

/// Where a redirect leads; none: it is none, or says nowhere.
fn target(from: &Url, response: &Response) -> Outcome<Option<Url>> {
    if !matches!(response.status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let Some(location) = response.headers.get(LOCATION) else { return Ok(None) };
    let target = location.to_str().ok().and_then(|location| from.join(location).ok());
    let mut target =
        target.ok_or_else(|| Fault::Response.because("the redirect's location is no URI"))?;
    target.set_fragment(None);
    Ok(Some(target))
}

/// As RFC 9110 says, and browsers do: 303 asks for a GET, and so do 301 and 302 after a POST.
fn redirect(request: &mut Request, status: StatusCode, target: Url) {
    let becomes_get = match status.as_u16() {
        303 => request.method != Method::HEAD,
        301 | 302 => request.method == Method::POST,
        _ => false,
    };
    if becomes_get {
        request.method = Method::GET;
        request.body = None;
        forget_body(&mut request.headers);
    }
    request.url = target;
}

fn forget_body(headers: &mut HeaderMap) {
    for name in [CONTENT_TYPE, CONTENT_LENGTH, CONTENT_ENCODING] {
        headers.remove(name);
    }
}
