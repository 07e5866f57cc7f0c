//! Kill switches: thrown, armed again, rehearsed and listed.

use baton_proto::v1::{KillRequest, KillSwitch, ListSwitchesRequest, RearmRequest};
use serde_json::{Value, json};
use tonic::Request;

use crate::{
    client::Client,
    error::{Error, Outcome},
    output::{Output, Tone},
    shape, times,
};

pub(crate) async fn kill(
    client: &Client,
    scope: &str,
    reason: &str,
    drill: bool,
    output: &Output,
) -> Result<Outcome, Error> {
    let request = KillRequest { scope: scope.to_owned(), reason: reason.to_owned(), drill };
    let killed = client.kills().kill(Request::new(request)).await;
    let switch = killed.map_err(|status| client.error(&status))?.into_inner();
    // Whoever stops something wants to know that all of it has stopped.
    let outcome = if switch.elsewhere.is_empty() { Outcome::Well } else { Outcome::Problems };
    if output.is_json() {
        output.json(&shape_of(&switch))?;
        return Ok(outcome);
    }
    let KillSwitch { number, scope, stopped, stop_ms, .. } = &switch;
    let steps = steps(*stopped);
    if drill {
        let word = output.paint.apply(Tone::Good, "drill");
        output
            .line(&format!("{word} {number}: {scope} would stop {steps}, known in {stop_ms} ms"))?;
    } else {
        let word = output.paint.apply(Tone::Bad, "stopped");
        output.line(&format!("{word} {scope}: {steps} in {stop_ms} ms"))?;
        output.line(&format!("`baton rearm {number}` lets it go on"))?;
    }
    if !switch.elsewhere.is_empty() {
        let partitions: Vec<_> = switch.elsewhere.iter().map(ToString::to_string).collect();
        let what = format!(
            "partitions {} are not led by this engine, or did not answer in time: whoever leads them looks at the switches twice a second",
            partitions.join(", ")
        );
        output.line(&output.paint.apply(Tone::Warn, &what))?;
    }
    Ok(outcome)
}

pub(crate) async fn rearm(
    client: &Client,
    number: u32,
    reason: &str,
    output: &Output,
) -> Result<Outcome, Error> {
    let request = RearmRequest { number, reason: reason.to_owned() };
    let rearmed = client.kills().rearm(Request::new(request)).await;
    let switch = rearmed.map_err(|status| client.error(&status))?.into_inner();
    if output.is_json() {
        output.json(&shape_of(&switch))?;
    } else {
        let word = output.paint.apply(Tone::Good, "armed again");
        let late = switch.late;
        let (scope, steps) = (&switch.scope, steps(switch.held));
        output
            .line(&format!("{word}: {scope}, {steps} go on; {late} results had come too late"))?;
    }
    Ok(Outcome::Well)
}

pub(crate) async fn list(client: &Client, all: bool, output: &Output) -> Result<Outcome, Error> {
    let listed = client.kills().list_switches(Request::new(ListSwitchesRequest { all })).await;
    let switches = listed.map_err(|status| client.error(&status))?.into_inner().switches;
    if output.is_json() {
        let switches: Vec<_> = switches.iter().map(shape_of).collect();
        output.json(&json!({ "switches": switches }))?;
        return Ok(Outcome::Well);
    }
    if switches.is_empty() {
        output.line("no kill switch stops anything")?;
        return Ok(Outcome::Well);
    }
    let now = times::now_ms();
    let ago = |at: &prost_types::Timestamp| times::ago(times::ms(at), now);
    let rows = switches.iter().map(|switch| {
        let (state, tone) = match (&switch.rearmed_at, switch.drill) {
            (Some(at), _) => {
                (format!("armed again {} by {}", ago(at), switch.rearmed_by), Tone::Dim)
            }
            (None, true) => ("drill".to_owned(), Tone::Dim),
            (None, false) => ("stops".to_owned(), Tone::Bad),
        };
        vec![
            (switch.number.to_string(), Tone::Bold),
            (state, tone),
            (switch.scope.clone(), Tone::Plain),
            (switch.held.to_string(), Tone::Plain),
            (switch.late.to_string(), if switch.late > 0 { Tone::Warn } else { Tone::Plain }),
            (format!("{} in {} ms", switch.stopped, switch.stop_ms), Tone::Plain),
            (format!("{} {}", switch.by, switch.at.as_ref().map_or(String::new(), ago)), Tone::Dim),
            (switch.reason.clone(), Tone::Plain),
        ]
    });
    let head = ["NUMBER", "", "SCOPE", "HOLDS", "TOO LATE", "STOPPED", "BY", "WHY"];
    output.table(&head, rows.collect())?;
    Ok(Outcome::Well)
}

fn steps(count: u64) -> String {
    if count == 1 { "1 step".to_owned() } else { format!("{count} steps") }
}

fn shape_of(switch: &KillSwitch) -> Value {
    let at = |at: Option<&prost_types::Timestamp>| at.and_then(|at| times::rfc3339(times::ms(at)));
    json!({
        "number": switch.number, "scope": switch.scope, "by": switch.by, "at": at(switch.at.as_ref()),
        "reason": shape::non_empty(&switch.reason), "drill": switch.drill, "stopped": switch.stopped,
        "stop_ms": switch.stop_ms, "elsewhere": switch.elsewhere, "held": switch.held,
        "late": switch.late, "rearmed_at": at(switch.rearmed_at.as_ref()),
        "rearmed_by": shape::non_empty(&switch.rearmed_by),
        "rearm_reason": shape::non_empty(&switch.rearm_reason),
    })
}
