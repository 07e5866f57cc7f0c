//! The queue's end of a lane: asks the broker for as many commands as the lane has room for.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_nats::{Message, StatusCode, Subject, Subscriber};
use futures::{FutureExt, StreamExt};
use tokio::sync::{Notify, watch};

use crate::{
    announce::{Queue, Queues},
    delay::Delay,
    desk::Desk,
    limits::{ACK_WAIT_DEFAULT, PULL_EXPIRES, PULL_HEARTBEAT, PULL_SILENCE_MAX},
};

pub(crate) struct Pull {
    desk: Arc<Desk>,
    function: String,
    queues: watch::Receiver<Queues>,
    connections: watch::Receiver<u64>,
    announce_now: Arc<Notify>,
    queue: Option<Queue>,
    inbox_subject: Subject,
    inbox: Subscriber,
    /// Commands that the broker has been asked for and has not sent.
    requested: usize,
    /// When the broker last gave a sign of life.
    heard: Instant,
    /// When to ask again after an error.
    resume_at: Option<Instant>,
    delay: Delay,
    /// An error has been told, and nothing has come since.
    told: bool,
}

impl Pull {
    pub(crate) async fn new(
        desk: Arc<Desk>,
        function: String,
        queues: watch::Receiver<Queues>,
        announce_now: Arc<Notify>,
    ) -> Result<Self, async_nats::SubscribeError> {
        let inbox_subject = Subject::from(desk.client.new_inbox());
        let inbox = desk.client.subscribe(inbox_subject.clone()).await?;
        let connections = desk.connections.clone();
        let (requested, heard, resume_at, delay) = (0, Instant::now(), None, Delay::new());
        let (queue, told) = (None, false);
        let mut pull = Self {
            desk,
            function,
            queues,
            connections,
            announce_now,
            queue,
            inbox_subject,
            inbox,
            requested,
            heard,
            resume_at,
            delay,
            told,
        };
        pull.bind();
        Ok(pull)
    }

    pub(crate) fn ack_wait(&self) -> Duration {
        self.queue.as_ref().map_or(ACK_WAIT_DEFAULT, |queue| queue.ack_wait)
    }

    /// Asks for commands up to `room`, in few large requests rather than many small ones.
    pub(crate) async fn ask(&mut self, room: usize) {
        let Some(queue) = &self.queue else { return };
        if self.resume_at.is_some() || self.requested >= room || self.requested > room / 2 {
            return;
        }
        let batch = room - self.requested;
        let request = format!(
            r#"{{"batch":{batch},"expires":{},"idle_heartbeat":{}}}"#,
            PULL_EXPIRES.as_nanos(),
            PULL_HEARTBEAT.as_nanos()
        );
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{}", queue.stream, queue.consumer);
        match self
            .desk
            .client
            .publish_with_reply(subject, self.inbox_subject.clone(), request.into())
            .await
        {
            Ok(()) => {
                self.requested = room;
                self.heard = Instant::now();
            }
            Err(error) => self.lost(&error.to_string()),
        }
    }

    /// The next command; none when something else has changed and it is time to look whether to ask again.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        let wake = match self.resume_at {
            Some(at) => Some(at),
            None if self.requested > 0 => Some(self.heard + PULL_SILENCE_MAX),
            None => None,
        };
        let alarm = async {
            match wake {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! { biased;
            Ok(()) = self.connections.changed() => {
                // Whoever was asked before the connection broke may have forgotten.
                self.requested = 0;
                self.resume_at = None;
                None
            }
            Ok(()) = self.queues.changed() => {
                self.bind();
                None
            }
            Some(message) = self.inbox.next() => self.read(message),
            () = alarm => {
                if self.resume_at.take().is_none() {
                    self.lost("the broker is silent");
                }
                None
            }
        }
    }

    /// The next command that is here already.
    pub(crate) fn next_ready(&mut self) -> Option<Message> {
        loop {
            let message = self.inbox.next().now_or_never().flatten()?;
            if let Some(command) = self.read(message) {
                return Some(command);
            }
        }
    }

    /// Asks for nothing more, and gives what has come in the meantime.
    pub(crate) async fn close(&mut self) -> Vec<Message> {
        let mut rest = Vec::new();
        if self.inbox.drain().await.is_ok() {
            while let Some(message) = self.inbox.next().await {
                rest.extend(self.read(message));
            }
        }
        rest
    }

    /// Asks for nothing more until it is asked again, and gives what has come in the meantime.
    pub(crate) async fn pause(&mut self) -> Vec<Message> {
        let inbox_subject = Subject::from(self.desk.client.new_inbox());
        // The broker sends nothing to an inbox that nobody listens to, so that what it was asked for goes to others.
        match self.desk.client.subscribe(inbox_subject.clone()).await {
            Ok(inbox) => {
                let rest = self.close().await;
                (self.inbox_subject, self.inbox, self.requested) = (inbox_subject, inbox, 0);
                rest
            }
            Err(error) => {
                tracing::warn!(%error, "commands that were asked for may still come");
                Vec::new()
            }
        }
    }

    fn bind(&mut self) {
        let queue = self.queues.borrow_and_update().get(&self.function).cloned();
        if queue != self.queue {
            self.requested = 0;
            self.queue = queue;
        }
        // The engine has just said where the queue is, so an earlier error may be gone.
        self.resume_at = None;
    }

    fn read(&mut self, message: Message) -> Option<Message> {
        self.heard = Instant::now();
        match message.status {
            None | Some(StatusCode::OK) => {
                self.requested = self.requested.saturating_sub(1);
                self.well();
                return Some(message);
            }
            Some(StatusCode::IDLE_HEARTBEAT) => self.well(),
            Some(StatusCode::TIMEOUT) => {
                let unused = message
                    .headers
                    .as_ref()
                    .and_then(|headers| headers.get("Nats-Pending-Messages"))
                    .and_then(|n| n.as_str().parse().ok());
                self.requested = self.requested.saturating_sub(unused.unwrap_or(self.requested));
            }
            Some(StatusCode::NO_RESPONDERS) => self.lost("the queue does not exist"),
            Some(status) => {
                let why = message.description.unwrap_or_else(|| status.to_string());
                self.lost(&why);
            }
        }
        None
    }

    fn well(&mut self) {
        self.delay.reset();
        self.told = false;
    }

    fn lost(&mut self, why: &str) {
        self.requested = 0;
        if self.resume_at.is_some() {
            return;
        }
        if std::mem::replace(&mut self.told, true) {
            tracing::debug!(function = self.function, why, "no commands yet");
        } else {
            tracing::warn!(
                function = self.function,
                why,
                "no more commands, will announce and ask again"
            );
        }
        self.resume_at = Some(Instant::now() + self.delay.next());
        self.announce_now.notify_one();
    }
}
