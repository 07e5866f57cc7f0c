//! What the two processes of the bare loop share: names, messages, and how they connect.

use std::borrow::Cow;

use anyhow::{Context as _, Result};
use async_nats::jetstream;
use serde::{Deserialize, Serialize};

pub(crate) const WORK: &str = "WORK";
pub(crate) const CONSUMER: &str = "finance-pay";

#[derive(Serialize, Deserialize)]
pub(crate) struct Command<'a> {
    pub(crate) partition: u16,
    pub(crate) instance: u64,
    pub(crate) step: u32,
    #[serde(borrow)]
    pub(crate) token: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) pad: Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Answer<'a> {
    pub(crate) instance: u64,
    pub(crate) step: u32,
    #[serde(borrow)]
    pub(crate) token: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) output: Output<'a>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Output<'a> {
    pub(crate) n: u64,
    #[serde(borrow)]
    pub(crate) pad: Cow<'a, str>,
}

/// Answers share a message: each is preceded by its length, four bytes, the lowest first.
pub(crate) type Length = [u8; 4];

pub(crate) async fn connect(url: &str) -> Result<jetstream::Context> {
    let options =
        async_nats::ConnectOptions::new().subscription_capacity(1 << 18).client_capacity(1 << 15);
    let client = options.connect(url).await.context("cannot connect to the broker")?;
    Ok(jetstream::new(client))
}
