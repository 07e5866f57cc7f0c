//! Who may try to own a partition: liveness only, safety is the log's.
//!
//! A lease keeps two engines from fencing each other out in turns. It expires by itself when its holder is gone.

use std::time::Duration;

use async_nats::jetstream::kv::Store;
use bytes::Bytes;

use crate::{
    broker::{self, Broker},
    limits,
};

/// Who holds a lease: `id` is of the data folder, which only one process can have open, so that an engine that
/// comes back need not wait for its own lease to expire.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Holder {
    pub id: String,
    pub name: String,
}

#[derive(Clone)]
pub struct Leases {
    store: Store,
    holder: Holder,
}

/// A lease that is held.
pub struct Lease {
    key: String,
    revision: u64,
}

/// Somebody else has it.
#[derive(Debug, PartialEq, Eq)]
pub struct Held(pub Holder);

impl Leases {
    /// # Errors
    /// As [`broker::Error`] says.
    pub async fn open(broker: &Broker, holder: Holder) -> Result<Self, broker::Error> {
        Ok(Self { store: broker.bucket(broker::LEASES_BUCKET, limits::LEASE_TTL).await?, holder })
    }

    /// # Errors
    /// `Some` names the holder; `None`: the broker did not answer, or somebody was faster.
    pub async fn acquire(&self, partition: u32) -> Result<Lease, Option<Held>> {
        self.expect_first(partition).await?;
        let key = format!("p{partition}");
        let value = self.value();
        match self.store.create(&key, value.clone()).await {
            Ok(revision) => return Ok(Lease { key, revision }),
            Err(error) => tracing::debug!(%error, partition, "The lease is not free"),
        }
        let entry = self.store.entry(&key).await.map_err(|_| None)?.ok_or(None)?;
        match serde_json::from_slice::<Holder>(&entry.value) {
            Ok(holder) if holder.id != self.holder.id => Err(Some(Held(holder))),
            // Our own, of a process that is gone; or nothing that anybody could hold by.
            Ok(_) | Err(_) => {
                let revision =
                    self.store.update(&key, value, entry.revision).await.map_err(|_| None)?;
                Ok(Lease { key, revision })
            }
        }
    }

    /// `false`: it is lost, or the broker is gone.
    pub async fn renew(&self, lease: &mut Lease) -> bool {
        let renewal = self.store.update(&lease.key, self.value(), lease.revision);
        match tokio::time::timeout(Duration::from_secs(2), renewal).await {
            Ok(Ok(revision)) => {
                lease.revision = revision;
                true
            }
            Ok(Err(_)) | Err(_) => false,
        }
    }

    /// One engine leads all partitions: who holds the first one may hold the others. Two engines that are started
    /// together would else share them, and neither would be ready.
    ///
    /// # Errors
    /// `Some` names the holder of the first partition when that is not us; `None`: nobody has it yet.
    pub async fn expect_first(&self, partition: u32) -> Result<(), Option<Held>> {
        if partition == 0 {
            return Ok(());
        }
        let entry = self.store.entry("p0").await.map_err(|_| None)?.ok_or(None)?;
        match serde_json::from_slice::<Holder>(&entry.value) {
            Ok(holder) if holder.id == self.holder.id => Ok(()),
            Ok(holder) => Err(Some(Held(holder))),
            Err(_) => Err(None),
        }
    }

    /// So that the next owner need not wait for it to expire.
    pub async fn release(&self, lease: Lease) {
        let release = self.store.delete_expect_revision(&lease.key, Some(lease.revision));
        let _ = tokio::time::timeout(Duration::from_secs(1), release).await;
    }

    fn value(&self) -> Bytes {
        serde_json::to_vec(&self.holder).expect("two strings are JSON").into()
    }
}
