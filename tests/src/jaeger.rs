//! A Jaeger of our own, and its traces as tests look at them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use crate::http;
use crate::ports::Port;
use crate::process::{Process, Recipe};
use crate::settings;
use crate::wait::{DEADLINE, eventually};

/// How `deploy/jaeger/build` ends where there is no Go.
const NO_GO: i32 = 69;

/// One Jaeger 2 that keeps its traces in memory.
#[derive(Debug)]
pub struct Jaeger {
    pub process: Process,
    http: Port,
    otlp: Port,
    _grpc: Port,
}

/// A span as Jaeger's API tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    pub id: String,
    pub name: String,
    pub service: String,
    /// Trace and span; none for a root.
    pub parent: Option<(String, String)>,
    pub tags: BTreeMap<String, String>,
    /// Unix microseconds.
    pub start_us: u64,
    pub duration_us: u64,
    /// What Jaeger finds wrong with it.
    pub warnings: Vec<String>,
}

impl Span {
    /// Empty when it has no such tag.
    pub fn tag(&self, key: &str) -> &str {
        self.tags.get(key).map_or("", String::as_str)
    }
}

/// The program: what `BATON_JAEGER` names, else built with Go, which takes minutes the first time. None: there is no Go.
///
/// # Errors
/// When it cannot be built.
pub fn program() -> Result<Option<PathBuf>> {
    let build = settings::root().join("deploy/jaeger/build");
    let output = Command::new(&build)
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run {}", build.display()))?;
    if output.status.code() == Some(NO_GO) {
        return Ok(None);
    }
    if !output.status.success() {
        bail!("{} failed ({})", build.display(), output.status);
    }
    let path = String::from_utf8(output.stdout).context("the path of Jaeger")?;
    Ok(Some(PathBuf::from(path.trim_end())))
}

impl Jaeger {
    /// Starts it and waits until it takes spans and answers.
    ///
    /// # Errors
    /// When it does not come up; the end of its log is in the message.
    pub async fn start(folder: &Path, program: PathBuf) -> Result<Self> {
        let (http, grpc, otlp) = (Port::free()?, Port::free()?, Port::free()?);
        let config = settings::root().join("deploy/jaeger/jaeger.yaml");
        let ports =
            [("JAEGER_HTTP_PORT", &http), ("JAEGER_GRPC_PORT", &grpc), ("OTLP_GRPC_PORT", &otlp)];
        let number = |port: &Port| port.address().rsplit(':').next().unwrap_or_default().to_owned();
        let recipe = Recipe {
            name: "jaeger".to_owned(),
            program,
            arguments: vec!["--config".to_owned(), config.display().to_string()],
            environment: ports.map(|(name, port)| (name.to_owned(), number(port))).to_vec(),
            log: folder.join("jaeger.log"),
        };
        let mut jaeger = Self { process: Process::start(recipe)?, http, otlp, _grpc: grpc };
        let ready = eventually(DEADLINE, "Jaeger answers", async || {
            if let Some(status) = jaeger.process.exit()? {
                return Ok(Some(Some(status)));
            }
            tokio::net::TcpStream::connect(jaeger.otlp.address()).await.context("no OTLP")?;
            let (status, _) = http::get(&jaeger.http.address(), "/api/services").await?;
            Ok((status == 200).then_some(None))
        });
        match ready.await {
            Ok(None) => Ok(jaeger),
            Ok(Some(status)) => bail!("Jaeger ended ({status}):\n{}", jaeger.process.tail(20)),
            Err(error) => Err(error.context(jaeger.process.tail(20))),
        }
    }

    /// Where its pages and its API are.
    pub fn url(&self) -> String {
        format!("http://{}", self.http.address())
    }

    /// Where spans go: for `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.otlp.address())
    }

    /// The spans of a trace as Jaeger shows them; empty when it does not know the trace.
    ///
    /// # Errors
    /// When it does not answer, or not as it should.
    pub async fn trace(&self, id: &str) -> Result<Vec<Span>> {
        self.spans(&format!("/api/traces/{id}")).await
    }

    /// The spans of a trace as they were taken in, before Jaeger leaves out what it was given twice.
    ///
    /// # Errors
    /// When it does not answer, or not as it should.
    pub async fn raw_trace(&self, id: &str) -> Result<Vec<Span>> {
        self.spans(&format!("/api/traces/{id}?raw=true")).await
    }

    /// The traces of the last hour that have a span of this service with this tag, by id.
    ///
    /// # Errors
    /// When it does not answer, or not as it should.
    pub async fn find(&self, service: &str, tag: &str, value: &str) -> Result<Vec<String>> {
        // `{"tag":"value"}`, escaped for a URL; our tags and values need no escape of their own.
        let tags = format!("%7B%22{tag}%22:%22{value}%22%7D");
        let path = format!("/api/traces?service={service}&lookback=1h&limit=20&tags={tags}");
        let (status, body) = http::get(&self.http.address(), &path).await?;
        if status != 200 {
            bail!("Jaeger answered {status} to {path}: {body}");
        }
        let answer: Answer = serde_json::from_str(&body)?;
        Ok(answer.data.into_iter().map(|trace| trace.id).collect())
    }

    async fn spans(&self, path: &str) -> Result<Vec<Span>> {
        let (status, body) = http::get(&self.http.address(), path).await?;
        match status {
            200 => {}
            404 => return Ok(Vec::new()),
            _ => bail!("Jaeger answered {status} to {path}: {body}"),
        }
        let answer: Answer = serde_json::from_str(&body).with_context(|| body.clone())?;
        let [trace] = <[Trace; 1]>::try_from(answer.data)
            .map_err(|traces| anyhow::anyhow!("{} traces of one id", traces.len()))?;
        trace.spans.iter().map(|span| span.read(&trace.processes)).collect()
    }
}

#[derive(Deserialize)]
struct Answer {
    data: Vec<Trace>,
}

#[derive(Deserialize)]
struct Trace {
    #[serde(rename = "traceID")]
    id: String,
    spans: Vec<WrittenSpan>,
    processes: BTreeMap<String, WrittenProcess>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenSpan {
    #[serde(rename = "spanID")]
    span_id: String,
    operation_name: String,
    references: Vec<Reference>,
    start_time: u64,
    duration: u64,
    tags: Vec<Tag>,
    warnings: Option<Vec<String>>,
    #[serde(rename = "processID")]
    process_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reference {
    ref_type: String,
    #[serde(rename = "traceID")]
    trace_id: String,
    #[serde(rename = "spanID")]
    span_id: String,
}

#[derive(Deserialize)]
struct Tag {
    key: String,
    value: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenProcess {
    service_name: String,
}

impl WrittenSpan {
    fn read(&self, processes: &BTreeMap<String, WrittenProcess>) -> Result<Span> {
        let process = processes.get(&self.process_id).context("a span has a process")?;
        let parent = self.references.iter().find(|reference| reference.ref_type == "CHILD_OF");
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Ok(Span {
            id: self.span_id.clone(),
            name: self.operation_name.clone(),
            service: process.service_name.clone(),
            parent: parent.map(|parent| (parent.trace_id.clone(), parent.span_id.clone())),
            tags: self.tags.iter().map(|tag| (tag.key.clone(), text(&tag.value))).collect(),
            start_us: self.start_time,
            duration_us: self.duration,
            warnings: self.warnings.clone().unwrap_or_default(),
        })
    }
}
