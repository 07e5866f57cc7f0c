//! Follows an instance's events to its end, through the restarts of an engine.

use std::time::Duration;

use baton_proto::v1::{HistoryEvent, WatchRequest};
use tokio::time::{Instant, sleep};
use tonic::{Request, Streaming};

use crate::{
    client::{self, Client},
    error::Error,
    events, instances, shape,
};

/// How long an engine may be away: a durable instance goes on after a restart, and so does who waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

pub(crate) struct Follow {
    client: Client,
    id: String,
    /// Number of the last event that was handed out.
    after: u64,
    stream: Option<Streaming<HistoryEvent>>,
    pause: Duration,
    /// Since when the engine has been away; none while it answers.
    away_since: Option<Instant>,
}

impl Follow {
    pub(crate) fn new(client: &Client, id: String, after: u64) -> Self {
        Self { client: client.clone(), id, after, stream: None, pause: PAUSE_MIN, away_since: None }
    }

    /// The next event; none when the instance has ended.
    pub(crate) async fn next(&mut self) -> Result<Option<HistoryEvent>, Error> {
        loop {
            match self.attempt().await {
                Ok(Some(event)) => {
                    self.pause = PAUSE_MIN;
                    self.after = event.number.max(self.after + 1);
                    return Ok(Some(event));
                }
                Ok(None) => {
                    self.stream = None;
                    if self.has_ended().await? {
                        return Ok(None);
                    }
                }
                Err(error) => {
                    self.stream = None;
                    self.bear(error)?;
                }
            }
            sleep(self.pause).await;
            self.pause = (self.pause * 2).min(PAUSE_MAX);
        }
    }

    async fn attempt(&mut self) -> Result<Option<HistoryEvent>, client::Error> {
        if self.stream.is_none() {
            let request = Request::new(WatchRequest { id: self.id.clone(), after: self.after });
            let response = self.client.workflows().watch(request).await;
            self.stream = Some(response.map_err(|status| self.client.error(&status))?.into_inner());
            self.away_since = None;
        }
        match &mut self.stream {
            Some(stream) => stream.message().await.map_err(|status| self.client.error(&status)),
            None => Ok(None),
        }
    }

    /// A stream may also end because the engine stops.
    async fn has_ended(&mut self) -> Result<bool, Error> {
        match instances::get(&self.client, &self.id).await {
            Ok(instance) => Ok(shape::has_ended(&instance)),
            Err(Error::Client(error)) => self.bear(error).map(|()| false),
            Err(error) => Err(error),
        }
    }

    /// What may pass is no error until patience has run out.
    fn bear(&mut self, error: client::Error) -> Result<(), Error> {
        let away = self.away_since.get_or_insert_with(Instant::now).elapsed();
        if error.may_pass() && away <= PATIENCE { Ok(()) } else { Err(error.into()) }
    }
}

/// To the end of the instance, whatever happens on the way.
pub(crate) async fn to_end(
    follow: &mut Follow,
    mut seen: impl FnMut(&HistoryEvent),
) -> Result<(), Error> {
    while let Some(event) = follow.next().await? {
        seen(&event);
        if events::is_end(&event) {
            break;
        }
    }
    Ok(())
}
