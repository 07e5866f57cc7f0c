//! Finds, shows and changes instances.

use baton_proto::v1::{
    CancelRequest, GetRequest, HistoryEvent, HistoryRequest, Instance, ListRequest, RerunRequest,
    ResumeRequest, Status, SuspendRequest, TerminateRequest,
};
use serde_json::{Value, json};
use tonic::Request;

use crate::{
    args::{ListArguments, Reasoned, StatusFilter, WorkflowFilter},
    chart,
    client::Client,
    error::{Error, Outcome},
    events,
    output::{Output, Tone},
    progress, shape,
    timeline::Timeline,
    times,
};

const PAGE_INSTANCES: usize = 500;
const PAGE_EVENTS: u32 = 1_000;

/// Asks the engine to change an instance.
pub(crate) enum Change {
    Cancel(Reasoned),
    Terminate(Reasoned),
    Suspend(Reasoned),
    Resume { id: String },
    Rerun { id: String, task: String },
}

pub(crate) async fn list(
    client: &Client,
    arguments: ListArguments,
    output: &Output,
) -> Result<Outcome, Error> {
    let limit = if arguments.limit == 0 { usize::MAX } else { arguments.limit };
    let mut request = list_request(arguments);
    let mut instances: Vec<Instance> = Vec::new();
    let spinner = progress::spinner("listing");
    let more = loop {
        let room = limit - instances.len();
        request.page_size = u32::try_from(room.min(PAGE_INSTANCES)).unwrap_or(1);
        let response = client
            .workflows()
            .list(request.clone())
            .await
            .map_err(|status| client.error(&status))?;
        let page = response.into_inner();
        instances.extend(page.instances.into_iter().take(room));
        spinner.set_message(format!("{} instances", instances.len()));
        if page.next_page_token.is_empty() {
            break false;
        }
        if instances.len() >= limit {
            break true;
        }
        request.page_token = page.next_page_token;
    };
    spinner.finish_and_clear();
    if output.is_json() {
        let shapes: Vec<Value> = instances.iter().map(shape::instance).collect();
        output.json(&json!({ "instances": shapes, "more": more }))?;
    } else if instances.is_empty() {
        output.line("no instances")?;
    } else {
        let now = times::now_ms();
        output.table(
            &["ID", "WORKFLOW", "STATUS", "STARTED", "TOOK", "LABELS"],
            instances.iter().map(|instance| list_row(instance, now)).collect(),
        )?;
        if more {
            output.line(
                &output.paint.apply(Tone::Dim, "there are more; --limit 0 lists all of them"),
            )?;
        }
    }
    Ok(Outcome::Well)
}

pub(crate) async fn show(
    client: &Client,
    id: String,
    jaeger_url: Option<&str>,
    output: &Output,
) -> Result<Outcome, Error> {
    let instance = get(client, &id).await?;
    let timeline = Timeline::new(&events_of(client, &id).await?, times::now_ms());
    let trace = trace_link(&instance, jaeger_url);
    if output.is_json() {
        let mut shape = shape::instance(&instance);
        shape["trace_url"] = json!(trace.filter(|_| jaeger_url.is_some()));
        shape["timeline"] = timeline.shape();
        output.json(&shape)?;
        return Ok(Outcome::Well);
    }
    output.lines(&details(&instance, trace.as_deref(), output))?;
    if timeline.rows.is_empty() {
        return Ok(Outcome::Well);
    }
    output.line("")?;
    output.lines(&chart::draw(&timeline, output.width, output.paint))?;
    Ok(Outcome::Well)
}

pub(crate) async fn history(
    client: &Client,
    id: String,
    output: &Output,
) -> Result<Outcome, Error> {
    let history = events_of(client, &id).await?;
    if output.is_json() {
        let shapes: Vec<Value> = history.iter().map(events::shape).collect();
        output.json(&json!({ "id": id, "events": shapes }))?;
    } else {
        let start = history.first().map_or(0, events::at_ms);
        let lines: Vec<String> = history
            .iter()
            .map(|event| events::line(event, start, output.width, output.paint))
            .collect();
        output.lines(&lines)?;
    }
    Ok(Outcome::Well)
}

pub(crate) async fn change(
    client: &Client,
    change: Change,
    output: &Output,
) -> Result<Outcome, Error> {
    let mut workflows = client.workflows();
    let changed = match change {
        Change::Cancel(Reasoned { id, reason }) => {
            workflows.cancel(CancelRequest { id, reason }).await
        }
        Change::Terminate(Reasoned { id, reason }) => {
            workflows.terminate(TerminateRequest { id, reason }).await
        }
        Change::Suspend(Reasoned { id, reason }) => {
            workflows.suspend(SuspendRequest { id, reason }).await
        }
        Change::Resume { id } => workflows.resume(ResumeRequest { id }).await,
        Change::Rerun { id, task } => workflows.rerun(RerunRequest { id, task }).await,
    };
    let instance = changed.map_err(|status| client.error(&status))?.into_inner();
    if output.is_json() {
        output.json(&shape::instance(&instance))?;
    } else {
        let status = shape::status(&instance);
        output.line(&format!(
            "{} is {}",
            instance.id,
            output.paint.apply(status_tone(&instance), status)
        ))?;
    }
    Ok(Outcome::Well)
}

pub(crate) async fn get(client: &Client, id: &str) -> Result<Instance, Error> {
    let request = Request::new(GetRequest { id: id.to_owned() });
    Ok(client.workflows().get(request).await.map_err(|status| client.error(&status))?.into_inner())
}

pub(crate) fn status_tone(instance: &Instance) -> Tone {
    match instance.status() {
        Status::Unspecified | Status::Pending => Tone::Dim,
        Status::Running => Tone::Busy,
        Status::Waiting => Tone::Plain,
        Status::Suspended | Status::Cancelled => Tone::Warn,
        Status::Faulted => Tone::Bad,
        Status::Completed => Tone::Good,
    }
}

async fn events_of(client: &Client, id: &str) -> Result<Vec<HistoryEvent>, Error> {
    let mut history = Vec::new();
    loop {
        let after = history.len() as u64;
        let request = Request::new(HistoryRequest { id: id.to_owned(), after, limit: PAGE_EVENTS });
        let page = client
            .workflows()
            .history(request)
            .await
            .map_err(|status| client.error(&status))?
            .into_inner();
        let is_last = !page.more || page.events.is_empty();
        history.extend(page.events);
        if is_last {
            return Ok(history);
        }
    }
}

fn list_request(arguments: ListArguments) -> ListRequest {
    let (namespace, name) = match arguments.workflow {
        None => (String::new(), String::new()),
        Some(WorkflowFilter::Namespace(namespace)) => (namespace, String::new()),
        Some(WorkflowFilter::Workflow(workflow)) => (workflow.namespace, workflow.name),
    };
    let status = match arguments.status {
        None => Status::Unspecified,
        Some(StatusFilter::Pending) => Status::Pending,
        Some(StatusFilter::Running) => Status::Running,
        Some(StatusFilter::Waiting) => Status::Waiting,
        Some(StatusFilter::Suspended) => Status::Suspended,
        Some(StatusFilter::Cancelled) => Status::Cancelled,
        Some(StatusFilter::Faulted) => Status::Faulted,
        Some(StatusFilter::Completed) => Status::Completed,
    };
    ListRequest {
        namespace,
        name,
        status: status.into(),
        started_after: arguments.since.map(times::timestamp),
        labels: arguments.labels.into_iter().map(|label| (label.key, label.value)).collect(),
        ..ListRequest::default()
    }
}

fn list_row(instance: &Instance, now_ms: i64) -> Vec<(String, Tone)> {
    let started = instance.started_at.as_ref().map_or(now_ms, times::ms);
    let labels: Vec<String> =
        instance.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    vec![
        (instance.id.clone(), Tone::Plain),
        (shape::workflow(instance), Tone::Plain),
        (shape::status(instance).to_owned(), status_tone(instance)),
        (times::ago(started, now_ms), Tone::Plain),
        (times::span(instance.ended_at.as_ref().map_or(now_ms, times::ms) - started), Tone::Plain),
        (labels.join(" "), Tone::Dim),
    ]
}

fn details(instance: &Instance, trace: Option<&str>, output: &Output) -> Vec<String> {
    let paint = output.paint;
    let now = times::now_ms();
    let status = paint.apply(status_tone(instance), shape::status(instance));
    let mut lines = vec![format!(
        "{}  {}  {status}",
        paint.apply(Tone::Bold, &instance.id),
        shape::workflow(instance)
    )];
    let mut fact = |name: &str, text: &str| {
        lines.push(format!("{} {text}", paint.apply(Tone::Dim, &format!("{name:<9}"))));
    };
    if let Some(started) = instance.started_at.as_ref().map(times::ms) {
        let took = times::span(instance.ended_at.as_ref().map_or(now, times::ms) - started);
        let tense = if shape::has_ended(instance) { "took" } else { "for" };
        fact(
            "started",
            &format!(
                "{} UTC, {}, {tense} {took}",
                times::readable(started),
                times::ago(started, now)
            ),
        );
    }
    if !instance.reason.is_empty() {
        fact("reason", &instance.reason);
    }
    if !instance.idempotency_key.is_empty() {
        fact("key", &instance.idempotency_key);
    }
    if !instance.labels.is_empty() {
        let labels: Vec<String> =
            instance.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        fact("labels", &labels.join(" "));
    }
    if !instance.parent.is_empty() {
        fact("run by", &instance.parent);
    }
    if let Some(trace) = trace {
        fact("trace", trace);
    }
    if !instance.input.is_empty() {
        fact("input", &pretty(&instance.input, output.width));
    }
    if !instance.output.is_empty() {
        fact("output", &pretty(&instance.output, output.width));
    }
    if let Some(error) = &instance.error {
        fact("error", &paint.apply(Tone::Bad, &shape::problem_text(error)));
        fact("type", &error.r#type);
        if let Some(place) = &error.instance {
            fact("at", place);
        }
    }
    for task in &instance.open_tasks {
        let step = if task.function.is_empty() {
            String::new()
        } else {
            format!(" {} attempt {}", task.function, task.attempt)
        };
        let since = task
            .since
            .as_ref()
            .map_or(String::new(), |at| format!(", since {}", times::ago(times::ms(at), now)));
        let until = task
            .until
            .as_ref()
            .map_or(String::new(), |at| format!(", until {} UTC", times::readable(times::ms(at))));
        let unserved = if task.unserved {
            paint.apply(Tone::Bad, ", no worker serves it")
        } else {
            String::new()
        };
        let child =
            if task.child.is_empty() { String::new() } else { format!(", runs {}", task.child) };
        fact("open", &format!("{}{step}{since}{until}{child}{unserved}", task.name));
    }
    lines
}

/// On one line where it fits, else spread out below.
fn pretty(text: &str, width: usize) -> String {
    let value = shape::value(text);
    let compact = value.to_string();
    if compact.chars().count() + 10 <= width {
        return compact;
    }
    format!("{value:#}").replace('\n', "\n          ")
}

/// Jaeger's page where it is known where Jaeger is, else the trace's id.
fn trace_link(instance: &Instance, jaeger_url: Option<&str>) -> Option<String> {
    let id = shape::non_empty(&instance.trace_id)?;
    let base = jaeger_url.and_then(shape::non_empty);
    Some(
        base.map_or_else(
            || id.to_owned(),
            |base| format!("{}/trace/{id}", base.trim_end_matches('/')),
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_a_link_where_jaeger_is_known() {
        let instance = Instance { trace_id: "abc".into(), ..Instance::default() };
        assert_eq!(trace_link(&instance, None).as_deref(), Some("abc"));
        assert_eq!(
            trace_link(&instance, Some("http://j:16686/")).as_deref(),
            Some("http://j:16686/trace/abc")
        );
        assert_eq!(trace_link(&Instance::default(), Some("http://j")), None);
    }

    #[test]
    fn long_values_are_spread_out() {
        assert_eq!(pretty(r#"{"a": 1}"#, 80), r#"{"a":1}"#);
        assert_eq!(pretty(r#"{"a": 1}"#, 10), "{\n            \"a\": 1\n          }");
    }
}
