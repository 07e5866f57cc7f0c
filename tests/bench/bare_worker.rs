//! The bare loop's worker: pulls commands, answers each, and coalesces the answers of a moment into one message per
//! partition.

use std::collections::HashMap;

use anyhow::{Context as _, Result};
use async_nats::jetstream;
use async_nats::jetstream::consumer::PullConsumer;
use bytes::Bytes;
use futures::StreamExt as _;
use tokio::sync::mpsc;

use crate::bare::{self, Answer, Command, Length, Output};

/// Answers that share a message at most.
const COALESCED_MAX: usize = 256;

struct Done {
    partition: u16,
    answer: Vec<u8>,
    command: jetstream::Message,
}

pub(crate) async fn run(url: &str) -> Result<()> {
    let jetstream = bare::connect(url).await?;
    let stream = jetstream.get_stream(bare::WORK).await.context("the stream of commands")?;
    let consumer: PullConsumer =
        stream.get_consumer(bare::CONSUMER).await.ok().context("the queue of the function")?;
    let mut commands = consumer.stream().max_messages_per_batch(500).messages().await?;
    let (done, waiting) = mpsc::channel(4_096);
    tokio::spawn(async move {
        if let Err(error) = publish(&jetstream, waiting).await {
            tracing::error!(%error, "No more answers are published");
        }
    });
    while let Some(command) = commands.next().await {
        let command = command?;
        let (partition, answer) = answer(&command.payload)?;
        done.send(Done { partition, answer, command }).await.ok().context("the publisher ended")?;
    }
    Ok(())
}

fn answer(command: &[u8]) -> Result<(u16, Vec<u8>)> {
    let command: Command<'_> = serde_json::from_slice(command)?;
    let answer = Answer {
        instance: command.instance,
        step: command.step,
        token: command.token,
        output: Output { n: u64::from(command.step) + 1, pad: command.pad },
    };
    Ok((command.partition, serde_json::to_vec(&answer)?))
}

/// A command is acknowledged only after its answer is stored.
async fn publish(jetstream: &jetstream::Context, mut waiting: mpsc::Receiver<Done>) -> Result<()> {
    let mut batch = Vec::new();
    while waiting.recv_many(&mut batch, COALESCED_MAX).await > 0 {
        let mut by_partition: HashMap<u16, (Vec<u8>, Vec<jetstream::Message>)> = HashMap::new();
        for Done { partition, answer, command } in batch.drain(..) {
            let (body, commands) = by_partition.entry(partition).or_default();
            let length: Length = u32::try_from(answer.len())?.to_le_bytes();
            body.extend(length);
            body.extend(answer);
            commands.push(command);
        }
        for (partition, (body, commands)) in by_partition {
            let stored =
                jetstream.publish(format!("in.{partition}.finance"), Bytes::from(body)).await?;
            tokio::spawn(async move {
                if let Err(error) = stored.await {
                    tracing::error!(%error, "Answers were not stored");
                    return;
                }
                for command in commands {
                    if let Err(error) = command.ack().await {
                        tracing::error!(%error, "A command was not acknowledged");
                    }
                }
            });
        }
    }
    Ok(())
}
