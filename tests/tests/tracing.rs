//! Every handoff is in its instance's trace, once, as a real Jaeger shows it.

#![cfg(test)]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use baton_proto::v1::event::Kind;
use baton_proto::v1::{HistoryEvent, StartRequest};
use baton_tests::jaeger::{self, Jaeger, Span};
use baton_tests::{Api, Cluster, DEADLINE, Setup, World, eventually, settings};
use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::json;
use tokio::net::TcpListener;

const WORKFLOW: &str = include_str!("../demo/purchase-to-pay.yaml");
const WORKERS: [(&str, &str); 3] =
    [("demo-procurement", "procurement-1"), ("demo-finance", "finance-1"), ("demo-erp", "erp-1")];
const INSTANCES: usize = 60;
const IN_FLIGHT: usize = 12;

/// A step that was in a killed worker's hands comes back after the time that the broker leaves it to answer.
const PATIENCE: Duration = Duration::from_secs(120);

/// A run of the purchase-to-pay workflow, and its caller's span where there is one.
struct Run {
    number: usize,
    id: String,
    caller: Option<Caller>,
}

#[derive(Clone)]
struct Caller {
    trace: String,
    span: String,
}

impl Run {
    /// The caller's trace, else the one of the instance's id.
    fn trace(&self) -> String {
        self.caller.as_ref().map_or_else(|| self.id.replace('-', ""), |caller| caller.trace.clone())
    }
}

/// Every third instance has a caller with a trace, and two callers share one.
fn caller(number: usize) -> Option<Caller> {
    let trace = if number == 6 { 3 } else { number };
    let salt = std::process::id();
    number.is_multiple_of(3).then(|| Caller {
        trace: format!("{salt:016x}{:016x}", trace + 1),
        span: format!("{salt:08x}{:08x}", number + 1),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_handoff_is_traced_once_although_engine_and_worker_are_killed() {
    let Some(program) = jaeger::program().unwrap() else {
        let on_ci = settings::variable("CI").is_some_and(|value| value == "true");
        assert!(!on_ci, "traces are tested against Jaeger: install Go or set BATON_JAEGER");
        // Past the test's own capture: who runs the tests must see it.
        let _ = writeln!(
            std::io::stderr().lock(),
            "\n*** SKIPPED: traces were NOT tested: neither BATON_JAEGER nor Go is there ***\n"
        );
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let jaeger = Jaeger::start(folder.path(), program).await.unwrap();
    let mut cluster = cluster(&jaeger).await.unwrap();
    let api = cluster.api().unwrap();
    let runs = runs(&mut cluster, &api).await.unwrap();

    let mut expected = Vec::new();
    for run in &runs {
        assert_eq!(api.get(&run.id).await.unwrap().trace_id, run.trace());
        expected.push(handoffs(&api.history(&run.id).await.unwrap()));
    }
    assert!(expected.iter().flatten().any(|handoff| handoff.attempt > 1), "no step was retried");
    for (run, expected) in runs.iter().zip(&expected) {
        complete(&jaeger, run, expected).await.unwrap();
    }
    found(&jaeger, &cluster, &runs).await.unwrap();

    // Without its cache the engine reads the whole log, and writes every span again.
    cluster.batond.kill().unwrap();
    std::fs::remove_dir_all(cluster.batond.data().join("sled")).unwrap();
    cluster.batond.restart().await.unwrap();
    for (run, expected) in runs.iter().zip(&expected) {
        let what = format!("every span of {} is written again", run.id);
        eventually(DEADLINE, &what, async || {
            let mut spans = jaeger.raw_trace(&run.trace()).await?;
            spans.retain(|span| span.tag("baton.instance.id") == run.id);
            Ok((spans.len() >= 2 * span_count(expected)).then_some(()))
        })
        .await
        .unwrap();
        complete(&jaeger, run, expected).await.unwrap();
    }
    cluster.stop().await.unwrap();
}

/// An engine and the workers of three departments, whose spans go to Jaeger.
async fn cluster(jaeger: &Jaeger) -> Result<Cluster> {
    let variable = "OTEL_EXPORTER_OTLP_ENDPOINT";
    let environment = vec![(variable.to_owned(), jaeger.endpoint())];
    let mut cluster = Cluster::start(Setup { environment, ..Setup::default() }).await?;
    let ledgers = cluster.folder().join("ledgers");
    std::fs::create_dir(&ledgers)?;
    let (ledgers, endpoint) = (ledgers.display().to_string(), jaeger.endpoint());
    for (binary, name) in WORKERS {
        let environment = [("DEMO_LEDGERS", ledgers.as_str()), (variable, endpoint.as_str())];
        cluster.worker(binary, name, &environment)?;
    }
    let api = cluster.api()?;
    api.deploy(WORKFLOW).await?;
    api.served(&["procurement.validate", "finance.pay", "erp.create-order"], DEADLINE).await?;
    Ok(cluster)
}

/// Runs every instance to its end, and kills the engine and the ERP's worker meanwhile.
async fn runs(cluster: &mut Cluster, api: &Api) -> Result<Vec<Run>> {
    let (ended, mut ends) = tokio::sync::watch::channel(0);
    let run = async |number| {
        let run = start(api, number).await?;
        let instance = api.ended(&run.id, PATIENCE).await?;
        ensure!(instance.output.contains("paid"), "{instance:?}");
        ended.send_modify(|count| *count += 1);
        Ok(run)
    };
    let all = futures::stream::iter(0..INSTANCES).map(run).buffer_unordered(IN_FLIGHT);
    let kills = async {
        ends.wait_for(|count| *count >= INSTANCES / 4).await?;
        cluster.batond.kill()?;
        cluster.batond.restart().await?;
        ends.wait_for(|count| *count >= INSTANCES / 2).await?;
        let erp = cluster.workers.last_mut().context("the ERP's worker")?;
        erp.kill()?;
        erp.restart()
    };
    let (runs, ()) = tokio::try_join!(all.try_collect(), kills)?;
    Ok(runs)
}

async fn start(api: &Api, number: usize) -> Result<Run> {
    let caller = caller(number);
    let key = format!("TR-{number:04}");
    let input = json!({
        "id": key, "date": "2026-01-06", "requester": "T. Race", "cost_centre": "CC-400",
        "supplier": "Saltmarsh Hotels", "description": "Hotel nights", "quantity": 2,
        "amount_pennies": 20_000, "currency": "GBP", "received_quantity": 2,
        "invoice_number": format!("INV-{number}"), "invoice_amount_pennies": 20_000,
    });
    let request = || {
        let mut request = tonic::Request::new(StartRequest {
            namespace: "procurement".into(),
            name: "purchase-to-pay".into(),
            input: input.to_string(),
            idempotency_key: key.clone(),
            ..StartRequest::default()
        });
        if let Some(Caller { trace, span }) = &caller {
            let header = format!("00-{trace}-{span}-01").parse()?;
            request.metadata_mut().insert("traceparent", header);
        }
        anyhow::Ok(request)
    };
    let started = eventually(DEADLINE, "an instance starts", async || {
        Ok(Some(api.workflows.clone().start(request()?).await?.into_inner()))
    });
    Ok(Run { number, id: started.await?.id, caller })
}

/// An attempt as the log tells it.
#[derive(Debug)]
struct Handoff {
    step: u32,
    attempt: u32,
    function: String,
    /// Of the worker that gave its result.
    service: Option<String>,
}

fn handoffs(history: &[HistoryEvent]) -> Vec<Handoff> {
    let mut functions = BTreeMap::new();
    let mut handoffs = Vec::new();
    for event in history {
        let (step, attempt, report) = match event.event.as_ref().and_then(|e| e.kind.as_ref()) {
            Some(Kind::StepScheduled(e)) => {
                let function = event.function.clone();
                functions.insert((e.activation, e.attempt), function);
                continue;
            }
            Some(Kind::StepCompleted(e)) => (e.activation, e.attempt, &e.report),
            Some(Kind::StepFailed(e)) => (e.activation, e.attempt, &e.report),
            Some(Kind::StepCancelled(e)) => (e.activation, e.attempt, &None),
            _ => continue,
        };
        let function = functions.remove(&(step, attempt)).expect("what settles was scheduled");
        let service = report.as_ref().map(|report| report.service.clone());
        handoffs.push(Handoff { step, attempt, function, service });
    }
    assert!(functions.is_empty(), "{functions:?} was never settled");
    handoffs
}

/// The start, the publications, and what workers did.
fn span_count(handoffs: &[Handoff]) -> usize {
    1 + handoffs.len() + handoffs.iter().filter(|handoff| handoff.service.is_some()).count()
}

/// Waits for the instance's spans, and holds them to what the log says.
async fn complete(jaeger: &Jaeger, run: &Run, expected: &[Handoff]) -> Result<()> {
    let count = span_count(expected);
    let spans = eventually(DEADLINE, &format!("{count} spans of {}", run.id), async || {
        let mut spans = jaeger.trace(&run.trace()).await?;
        spans.retain(|span| span.tag("baton.instance.id") == run.id);
        Ok((spans.len() >= count).then_some(spans))
    })
    .await?;
    check(&spans, run, expected).with_context(|| format!("{expected:#?} {spans:#?}"))
}

fn check(spans: &[Span], run: &Run, expected: &[Handoff]) -> Result<()> {
    ensure!(spans.len() == span_count(expected), "{} spans", spans.len());
    let under = |parent: &Span| Some((run.trace(), parent.id.clone()));
    let one = |name: &str, message: &str| {
        let mut found =
            spans.iter().filter(|s| s.name == name && s.tag("messaging.message.id") == message);
        match (found.next(), found.next()) {
            (Some(span), None) => Ok(span),
            (found, _) => anyhow::bail!("{name} {message}: {}", found.map_or("none", |_| "two")),
        }
    };
    let root = one("baton.v1.WorkflowService/Start", "")?;
    let caller = run.caller.as_ref().map(|caller| (caller.trace.clone(), caller.span.clone()));
    ensure!(root.parent == caller && root.service == "batond", "the root is {root:?}");
    for Handoff { step, attempt, function, service } in expected {
        let message = format!("{}/{step}/{attempt}", run.id);
        let publish = one(&format!("publish {function}"), &message)?;
        ensure!(publish.parent == under(root) && publish.service == "batond", "{publish:?}");
        let Some(service) = service else { continue };
        let process = one(&format!("process {function}"), &message)?;
        ensure!(process.parent == under(publish) && process.service == *service, "{process:?}");
        let department = function.split('.').next().unwrap_or_default();
        ensure!(*service == format!("{department}-worker"), "{service} does {function}");
    }
    // Only of a caller that it does not know may Jaeger complain.
    let wrong = |span: &&Span| !span.warnings.is_empty() && **span != *root;
    ensure!(!spans.iter().any(|span| wrong(&span)), "Jaeger finds something wrong");
    ensure!(run.caller.is_some() || root.warnings.is_empty(), "{root:?}");
    let mut services = spans.iter().map(|span| span.service.as_str()).collect::<Vec<_>>();
    services.sort_unstable();
    services.dedup();
    ensure!(services.len() >= 4, "only {services:?}");
    Ok(())
}

/// Whoever has an instance's id finds its trace: in Jaeger by a tag, on the command line by a link.
async fn found(jaeger: &Jaeger, cluster: &Cluster, runs: &[Run]) -> Result<()> {
    let continued = runs.iter().filter(|run| run.caller.is_some()).take(1);
    let own = runs.iter().filter(|run| run.caller.is_none()).take(1);
    for run in continued.chain(own) {
        let traces = jaeger.find("batond", "baton.instance.id", &run.id).await?;
        ensure!(traces == [run.trace()], "{traces:?} for instance {}", run.number);
        let output = std::process::Command::new(settings::binary("baton")?)
            .args(["--url", &cluster.batond.url(), "show", &run.id])
            .env("BATON_JAEGER_URL", jaeger.url())
            .output()?;
        let shown = String::from_utf8_lossy(&output.stdout);
        let link = format!("{}/trace/{}", jaeger.url(), run.trace());
        ensure!(shown.contains(&link), "no {link} in {shown}");
    }
    Ok(())
}

/// How long five hundred instances of three steps take, with spans going to this endpoint; empty: nowhere.
async fn five_hundred(endpoint: &str) -> Duration {
    let environment = vec![("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), endpoint.to_owned())];
    let setup = Setup { environment, ..Setup::default() };
    let world = World::begin(setup).await.unwrap();
    let add = "    call: add\n    with: { n: '${ .n }' }";
    world.deploy("sum", &format!("- one:\n{add}\n- two:\n{add}\n- three:\n{add}")).await.unwrap();
    let run = async |_| {
        let id = world.start("sum", r#"{"n":0}"#).await.unwrap();
        assert_eq!(world.api.completed(&id, DEADLINE).await.unwrap(), r#"{"n":3}"#);
    };
    // The first instance pays for what is built once.
    run(0).await;
    let began = Instant::now();
    futures::stream::iter(0..500).map(run).buffer_unordered(20).collect::<Vec<_>>().await;
    let took = began.elapsed();
    let stopping = Instant::now();
    world.end().await.unwrap();
    assert!(stopping.elapsed() < Duration::from_secs(15), "the engine waits for the collector");
    took
}

#[tokio::test]
async fn a_dead_collector_costs_no_work() {
    let without = five_hundred("").await;
    // One port refuses, the other takes the connection and never says a word.
    let refusing = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for address in [refusing, silent.local_addr().unwrap()] {
        let with = five_hundred(&format!("http://{address}")).await;
        // Other tests share the processors.
        let most = 3 * without + Duration::from_secs(1);
        eprintln!(
            "500 instances of 3 steps: {without:?} without spans, {with:?} with a dead collector"
        );
        assert!(with < most, "{with:?} with a dead collector, {without:?} without any");
    }
}

/// The picture in `docs/tracing.md` is one that a browser can show.
#[test]
fn the_page_about_traces_has_its_picture() {
    let docs = settings::root().join("docs");
    let page = std::fs::read_to_string(docs.join("tracing.md")).unwrap();
    assert!(page.contains("](images/trace.png)"));
    let picture = std::fs::read(docs.join(Path::new("images/trace.png"))).unwrap();
    assert!(picture.starts_with(b"\x89PNG") && picture.len() < 300_000);
}
