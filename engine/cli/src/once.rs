//! What must not happen twice: who holds the key of it, and what became of that.

use baton_proto::v1::{GetKeyRequest, HeldKey, ResolveKeyRequest};
use serde_json::json;
use tonic::Request;

use crate::{
    args::OnceCommand,
    client::Client,
    error::{Error, Outcome},
    output::{Output, Tone},
};

pub(crate) async fn once(
    client: &Client,
    command: OnceCommand,
    output: &Output,
) -> Result<Outcome, Error> {
    let answer = match command {
        OnceCommand::Show { department, key } => {
            client.once().get_key(Request::new(GetKeyRequest { department, key })).await
        }
        OnceCommand::Resolve { department, key, happened, reason, .. } => {
            let request = ResolveKeyRequest { department, key, happened, reason };
            client.once().resolve_key(Request::new(request)).await
        }
    };
    let held = answer.map_err(|status| client.error(&status))?.into_inner();
    let HeldKey { department, key, instance, step, state } = &held;
    if output.is_json() {
        output.json(&json!({
            "department": department, "key": key, "instance": instance, "step": step, "state": state,
        }))?;
    } else {
        let tone = match state.as_str() {
            "committed" => Tone::Good,
            "unknown" => Tone::Bad,
            _ => Tone::Plain,
        };
        let word = output.paint.apply(tone, state);
        output.line(&format!("{department} {key}: {word} by {instance}/{step}"))?;
    }
    Ok(Outcome::Well)
}
