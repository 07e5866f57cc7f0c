//! Prints an instance's events as they happen.

use crate::{
    client::Client,
    error::{Error, Outcome},
    events,
    follow::Follow,
    output::Output,
};

/// With JSON, one document a line.
pub(crate) async fn watch(
    client: &Client,
    id: String,
    after: u64,
    output: &Output,
) -> Result<Outcome, Error> {
    let mut follow = Follow::new(client, id, after);
    let mut start = None;
    while let Some(event) = follow.next().await? {
        if output.is_json() {
            output.line(&events::shape(&event).to_string())?;
        } else {
            let start = *start.get_or_insert_with(|| events::at_ms(&event));
            output.line(&events::line(&event, start, output.width, output.paint))?;
        }
    }
    Ok(Outcome::Well)
}
