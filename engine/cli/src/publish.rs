//! Publishes events.

use std::path::Path;

use baton_proto::v1::PublishEventRequest;
use serde_json::{Map, Value, json};
use tonic::Request;

use crate::{
    client::Client,
    error::{Error, Outcome},
    input,
    output::{Output, Tone},
    times,
};

/// Stops at the first event that is refused; those before it are stored.
pub(crate) async fn publish(
    client: &Client,
    file: &Path,
    department: &str,
    output: &Output,
) -> Result<Outcome, Error> {
    let text = input::read(file)?;
    let mut published = Vec::new();
    for event in events(&text)? {
        let id = event["id"].clone();
        let request = PublishEventRequest {
            event: Value::Object(event).to_string(),
            department: department.to_owned(),
        };
        let answer = client.events().publish(Request::new(request)).await;
        let answer = answer.map_err(|status| client.error(&status))?.into_inner();
        if output.is_json() {
            published.push(json!({
                "id": id, "position": answer.position, "duplicate": answer.duplicate,
            }));
        } else {
            let (word, tone) =
                if answer.duplicate { ("known", Tone::Dim) } else { ("published", Tone::Good) };
            let id = id.as_str().unwrap_or_default();
            output.line(&format!("{} {id}", output.paint.apply(tone, &format!("{word:<9}"))))?;
        }
    }
    if output.is_json() {
        output.json(&json!({ "published": published }))?;
    }
    Ok(Outcome::Well)
}

/// All objects of a text, also those in lists, with what their author left out.
fn events(text: &str) -> Result<Vec<Map<String, Value>>, Error> {
    let usage = |what: String| Error::Usage(format!("these are no events: {what}"));
    let mut found = Vec::new();
    for value in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
        let value = value.map_err(|error| usage(error.to_string()))?;
        let values = if let Value::Array(values) = value { values } else { vec![value] };
        for value in values {
            let Value::Object(mut event) = value else {
                return Err(usage(format!("{value} is not an object")));
            };
            let id = uuid::Uuid::now_v7().to_string();
            let defaults = [
                ("specversion", json!("1.0")),
                ("id", json!(id)),
                ("source", json!("/baton-cli")),
                ("time", json!(times::rfc3339(times::now_ms()))),
            ];
            for (key, default) in defaults {
                event.entry(key).or_insert(default);
            }
            found.push(event);
        }
    }
    if found.is_empty() {
        return Err(usage("the text is empty".into()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_may_hold_one_event_several_or_a_list() {
        let count = |text: &str| events(text).unwrap().len();
        assert_eq!(count(r#"{"type":"a"}"#), 1);
        assert_eq!(count("{\"type\":\"a\"}\n{\"type\":\"b\"}\n"), 2);
        assert_eq!(count(r#"[{"type":"a"},{"type":"b"}] {"type":"c"}"#), 3);
        for none in ["", "7", "[7]", "{", "nothing"] {
            assert!(events(none).is_err(), "{none}");
        }
    }

    #[test]
    fn what_the_author_left_out_is_filled_in_and_the_rest_stays() {
        let event = &events(r#"{"type":"a","id":"7","n":1.10}"#).unwrap()[0];
        assert_eq!((&event["id"], &event["specversion"]), (&json!("7"), &json!("1.0")));
        assert_eq!(event["source"], "/baton-cli");
        assert_eq!(event["n"].to_string(), "1.10");
        assert!(event["time"].is_string());
    }
}
