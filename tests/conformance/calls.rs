//! The functions `http` and `openapi` of the department `default`, as far as the scenarios need them.
//!
//! This stands in for the standard worker: it takes the same arguments, and a table of hosts says who answers for which
//! public one.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use baton_worker::{Context, Failure, Options, Outcome, Worker};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const ERRORS: &str = "https://open-workflow-specification.org/dsl/errors/types/";

/// A worker in this process.
#[derive(Debug)]
pub(crate) struct Calls {
    stop: CancellationToken,
    task: JoinHandle<Result<(), baton_worker::Error>>,
}

impl Calls {
    pub(crate) fn open(nats_url: &str, hosts: Vec<(String, String)>) -> Result<Self> {
        let mut options = Options::from_env().context("the worker's settings")?;
        nats_url.clone_into(&mut options.nats_url);
        options.name = Some("conformance-calls".to_owned());
        options.grace = Duration::from_secs(5);
        let hosts = Arc::new(Hosts(hosts));
        let (for_http, for_openapi) = (Arc::clone(&hosts), hosts);
        let worker = Worker::new("default")
            .with_options(options)
            .function("http", move |_: Context, call: HttpCall| {
                let hosts = Arc::clone(&for_http);
                async move { http(&hosts, call).await }
            })
            .function("openapi", move |_: Context, call: OpenApiCall| {
                let hosts = Arc::clone(&for_openapi);
                async move { openapi(&hosts, call).await }
            });
        let stop = CancellationToken::new();
        let task = tokio::spawn(worker.run_until(stop.clone().cancelled_owned()));
        Ok(Self { stop, task })
    }

    pub(crate) async fn close(self) -> Result<()> {
        self.stop.cancel();
        self.task.await.context("the worker's task")?.context("the worker")
    }
}

/// Public hosts and the addresses that answer for them; all others are away.
struct Hosts(Vec<(String, String)>);

#[derive(Deserialize)]
struct HttpCall {
    method: String,
    endpoint: Endpoint,
    #[serde(default)]
    headers: Map<String, Value>,
    #[serde(default)]
    query: Map<String, Value>,
    body: Option<Value>,
    #[serde(default)]
    output: Form,
    #[serde(default)]
    redirect: bool,
}

#[derive(Deserialize)]
struct OpenApiCall {
    document: Document,
    #[serde(rename = "operationId")]
    operation: String,
    #[serde(default)]
    parameters: Map<String, Value>,
    authentication: Option<Value>,
    #[serde(default)]
    output: Form,
    #[serde(default)]
    redirect: bool,
}

#[derive(Deserialize)]
struct Document {
    endpoint: Endpoint,
}

#[derive(Deserialize)]
struct Endpoint {
    uri: String,
    authentication: Option<Value>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Form {
    Raw,
    #[default]
    Content,
    Response,
}

async fn http(hosts: &Hosts, call: HttpCall) -> Outcome<Value> {
    let method = call.method.to_uppercase();
    let mut headers = call.headers;
    if let Some(policy) = &call.endpoint.authentication {
        headers.insert("authorization".to_owned(), authorization(policy)?.into());
    }
    let uri = with_query(&call.endpoint.uri, &call.query);
    let answer = hosts.ask(&method, &uri, &headers, call.body.as_ref()).await?;
    let success = if call.redirect { 200..400 } else { 200..300 };
    if !success.contains(&answer.status) {
        return Err(communication(answer.status, &uri));
    }
    let content = || {
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        serde_json::from_slice(&answer.body).unwrap_or(Value::String(text))
    };
    Ok(match call.output {
        Form::Raw => Value::String(BASE64_STANDARD.encode(&answer.body)),
        Form::Content => content(),
        Form::Response => json!({
            "request": { "method": method, "uri": uri, "headers": headers },
            "statusCode": answer.status,
            "headers": answer.headers,
            "content": content(),
        }),
    })
}

async fn openapi(hosts: &Hosts, call: OpenApiCall) -> Outcome<Value> {
    let source = &call.document.endpoint.uri;
    let answer = hosts.ask("GET", source, &Map::new(), None).await?;
    let document: Value = serde_json::from_slice(&answer.body)?;
    let paths = document["paths"].as_object().cloned().unwrap_or_default();
    let found = paths.iter().find_map(|(path, operations)| {
        let mut operations = operations.as_object()?.iter();
        let (method, _) = operations.find(|(_, found)| found["operationId"] == call.operation)?;
        Some((path.clone(), method.clone()))
    });
    let Some((mut path, method)) = found else {
        let failure =
            Failure::terminal("unknown-operation").with_type(format!("{ERRORS}configuration"));
        return Err(failure.with_status(400));
    };
    let mut query = Map::new();
    for (name, value) in call.parameters {
        let place = format!("{{{name}}}");
        if path.contains(&place) {
            path = path.replace(&place, &plain(&value));
        } else {
            query.insert(name, value);
        }
    }
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (host, base) = (word(&document["host"]), word(&document["basePath"]));
    let endpoint = Endpoint {
        uri: format!("https://{host}{base}{path}"),
        authentication: call.authentication,
    };
    let call = HttpCall {
        method,
        endpoint,
        headers: Map::new(),
        query,
        body: None,
        output: call.output,
        redirect: call.redirect,
    };
    http(hosts, call).await
}

fn authorization(policy: &Value) -> Outcome<String> {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if let Some(basic) = policy.get("basic") {
        let pair = format!("{}:{}", word(&basic["username"]), word(&basic["password"]));
        return Ok(format!("Basic {}", BASE64_STANDARD.encode(pair)));
    }
    if let Some(bearer) = policy.get("bearer") {
        return Ok(format!("Bearer {}", word(&bearer["token"])));
    }
    Err(Failure::terminal("unknown-scheme")
        .with_type(format!("{ERRORS}configuration"))
        .with_status(400))
}

fn with_query(uri: &str, query: &Map<String, Value>) -> String {
    let mut uri = uri.to_owned();
    for (key, value) in query {
        let separator = if uri.contains('?') { '&' } else { '?' };
        uri = format!("{uri}{separator}{key}={}", plain(value));
    }
    uri
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

fn communication(status: u16, uri: &str) -> Failure {
    let failure = Failure::terminal("communication").with_type(format!("{ERRORS}communication"));
    failure.with_status(status.into()).with_detail(format!("{uri} answered {status}"))
}

struct Answer {
    status: u16,
    headers: Map<String, Value>,
    body: Vec<u8>,
}

impl Hosts {
    /// One request over HTTP/1.0, in which nobody answers in chunks.
    async fn ask(
        &self,
        method: &str,
        uri: &str,
        headers: &Map<String, Value>,
        body: Option<&Value>,
    ) -> Outcome<Answer> {
        let (_, rest) = uri.split_once("://").unwrap_or(("", uri));
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let Some((_, address)) = self.0.iter().find(|(name, _)| name == host) else {
            return Err(communication(503, uri));
        };
        let body = body.map(Value::to_string).unwrap_or_default();
        let headers = headers.iter().map(|(name, value)| format!("{name}: {}\r\n", plain(value)));
        let headers = headers.collect::<String>();
        let request = format!(
            "{method} /{path} HTTP/1.0\r\nHost: {host}\r\nContent-Length: {}\r\n{headers}\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await?;
        read(&bytes).ok_or_else(|| communication(502, uri))
    }
}

fn read(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut lines = head.lines();
    let status = lines.next()?.split_whitespace().nth(1)?.parse().ok()?;
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_owned(), Value::from(value))).collect();
    Some(Answer { status, headers, body: bytes[end + 4..].to_vec() })
}
