//! Says how an engine is, and what to do about what is wrong.

use baton_proto::v1::{StatusRequest, StatusResponse};
use serde_json::{Value, json};
use tonic::Request;

use crate::{
    client::Client,
    error::{Error, Outcome},
    output::{Output, Tone},
    shape, times,
};

/// Something that is wrong, and what to do.
#[derive(Debug, PartialEq, Eq)]
struct Problem {
    problem: String,
    hint: String,
}

pub(crate) async fn doctor(
    client: &Client,
    production: bool,
    output: &Output,
) -> Result<Outcome, Error> {
    let (status, problems) = match client.engine().status(Request::new(StatusRequest {})).await {
        Ok(response) => {
            let status = response.into_inner();
            let problems = problems(&status, production);
            (Some(status), problems)
        }
        Err(status) => {
            let error = client.error(&status);
            if !error.is_connection() {
                return Err(error.into());
            }
            let hint =
                "start one with `baton dev`, or say where it is with --url or BATON_URL".into();
            (
                None,
                vec![Problem { problem: format!("no engine answers at {}", client.url()), hint }],
            )
        }
    };
    if output.is_json() {
        output.json(&shape(client.url(), status.as_ref(), &problems))?;
    } else {
        if let Some(status) = &status {
            print(client.url(), status, output)?;
        }
        for Problem { problem, hint } in &problems {
            output.line(&format!("{} {problem}", output.paint.apply(Tone::Bad, "✗")))?;
            output.line(&output.paint.apply(Tone::Dim, &format!("  hint: {hint}")))?;
        }
        if problems.is_empty() {
            output.line(&format!("{} all is well", output.paint.apply(Tone::Good, "✓")))?;
        }
    }
    Ok(if problems.is_empty() { Outcome::Well } else { Outcome::Problems })
}

fn problems(status: &StatusResponse, production: bool) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut say =
        |problem: String, hint: &str| problems.push(Problem { problem, hint: hint.to_owned() });
    if !status.ready {
        let because = shape::non_empty(&status.not_ready_because).unwrap_or("it does not say why");
        say(
            format!("the engine is not ready: {because}"),
            "wait while it recovers; its log says what it does",
        );
    }
    if nats_is_old(&status.nats_version) {
        let problem = format!("NATS is {}, which is older than 2.12", status.nats_version);
        say(
            problem,
            "upgrade nats-server to 2.15.1 or newer: older ones lack what the engine's streams need",
        );
    }
    for partition in &status.partitions {
        let hint = match partition.state.as_str() {
            "leading" => continue,
            "recovering" => "wait: it replays its log",
            "standby" => {
                "another engine has claimed this partition; stop one of the two, or give each its own"
            }
            "broken" => {
                "its log failed a check and nothing was skipped; look at the engine's log before anything else"
            }
            _ => "look at the engine's log",
        };
        let detail = if partition.detail.is_empty() {
            String::new()
        } else {
            format!(": {}", partition.detail)
        };
        say(format!("partition {} is {}{detail}", partition.partition, partition.state), hint);
    }
    for function in &status.unserved_functions {
        let department = function.split('.').next().unwrap_or_default();
        say(
            format!("steps wait for {function}, which no worker serves"),
            &format!(
                "start a worker of department `{department}` that offers it, or look why it does not announce itself"
            ),
        );
    }
    if production {
        for weakness in &status.weaknesses {
            say(weakness.clone(), "docs/operations.md says what a production node needs");
        }
    }
    problems
}

fn nats_is_old(version: &str) -> bool {
    crate::dev::nats::Version::parse(version)
        .is_some_and(|version| version < crate::dev::nats::OLDEST)
}

fn shape(url: &str, status: Option<&StatusResponse>, problems: &[Problem]) -> Value {
    let said: Vec<Value> = problems
        .iter()
        .map(|Problem { problem, hint }| json!({ "problem": problem, "hint": hint }))
        .collect();
    let Some(status) = status else {
        return json!({ "url": url, "ok": false, "reachable": false, "problems": said });
    };
    json!({
        "url": url,
        "ok": problems.is_empty(),
        "reachable": true,
        "engine": status.engine,
        "version": status.version,
        "ready": status.ready,
        "not_ready_because": shape::non_empty(&status.not_ready_because),
        "nats_version": status.nats_version,
        "partitions": status.partitions.iter().map(shape::partition).collect::<Vec<_>>(),
        "workers": status.workers.iter().map(shape::worker).collect::<Vec<_>>(),
        "unserved_functions": status.unserved_functions,
        "weaknesses": status.weaknesses,
        "problems": said,
    })
}

fn print(url: &str, status: &StatusResponse, output: &Output) -> Result<(), Error> {
    let paint = output.paint;
    let (word, tone) = if status.ready { ("ready", Tone::Good) } else { ("not ready", Tone::Bad) };
    let engine =
        format!("{} (baton {}, nats {})", status.engine, status.version, status.nats_version);
    output.line(&format!("{} at {url}: {}", engine, paint.apply(tone, word)))?;
    output.line("")?;
    let partitions = status.partitions.iter().map(|partition| {
        let tone = match partition.state.as_str() {
            "leading" => Tone::Good,
            "recovering" => Tone::Warn,
            _ => Tone::Bad,
        };
        vec![
            (partition.partition.to_string(), Tone::Plain),
            (partition.state.clone(), tone),
            (partition.epoch.to_string(), Tone::Plain),
            (partition.log_position.to_string(), Tone::Plain),
            (partition.open_instances.to_string(), Tone::Plain),
        ]
    });
    output.table(
        &["PARTITION", "STATE", "EPOCH", "POSITION", "OPEN INSTANCES"],
        partitions.collect(),
    )?;
    output.line("")?;
    if status.workers.is_empty() {
        output.line(&paint.apply(Tone::Dim, "no worker has announced itself"))?;
    } else {
        let now = times::now_ms();
        let workers = status.workers.iter().map(|worker| {
            vec![
                (worker.worker.clone(), Tone::Bold),
                (worker.department.clone(), Tone::Plain),
                (worker.functions.join(" "), Tone::Plain),
                (worker.build.clone(), Tone::Dim),
                (
                    worker
                        .last_seen
                        .as_ref()
                        .map_or(String::new(), |at| times::ago(times::ms(at), now)),
                    Tone::Dim,
                ),
            ]
        });
        output.table(&["WORKER", "DEPARTMENT", "FUNCTIONS", "BUILD", "SEEN"], workers.collect())?;
    }
    output.line("")?;
    for weakness in &status.weaknesses {
        output.line(&format!("{} not for production: {weakness}", paint.apply(Tone::Warn, "!")))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use baton_proto::v1::PartitionStatus;

    use super::*;

    fn well() -> StatusResponse {
        let partition = PartitionStatus { state: "leading".into(), ..PartitionStatus::default() };
        StatusResponse {
            ready: true,
            nats_version: "2.15.1".into(),
            partitions: vec![partition],
            ..StatusResponse::default()
        }
    }

    #[test]
    fn nothing_is_wrong_with_an_engine_that_leads_its_partitions() {
        assert_eq!(problems(&well(), false), []);
        assert_eq!(shape("u", Some(&well()), &[])["ok"], true);
    }

    #[test]
    fn each_problem_has_a_hint() {
        let mut ill = well();
        ill.ready = false;
        ill.nats_version = "2.11.9".into();
        ill.partitions[0].state = "standby".into();
        ill.unserved_functions = vec!["finance.charge".into()];
        let said = problems(&ill, false);
        assert_eq!(said.len(), 4, "{said:?}");
        assert!(said.iter().all(|problem| !problem.hint.is_empty()));
        assert!(said[3].hint.contains("`finance`"));
    }

    #[test]
    fn weaknesses_are_wrong_only_in_production() {
        let mut weak = well();
        weak.weaknesses = vec!["one replica".into()];
        assert_eq!(problems(&weak, false), []);
        assert_eq!(problems(&weak, true).len(), 1);
    }

    #[test]
    fn an_engine_that_does_not_answer_is_a_document_too() {
        let shape =
            shape("http://127.0.0.1:1", None, &[Problem { problem: "p".into(), hint: "h".into() }]);
        assert_eq!(
            shape.to_string(),
            r#"{"url":"http://127.0.0.1:1","ok":false,"reachable":false,"problems":[{"problem":"p","hint":"h"}]}"#
        );
    }
}
