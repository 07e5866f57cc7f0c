//! A cluster and a worker of the department `lab`: what most stories need.

use anyhow::Result;
use baton_proto::v1::{Instance, StartRequest};

use crate::lab::Lab;
use crate::wait::DEADLINE;
use crate::{Api, Cluster, Setup, workflow};

/// The functions that the lab serves.
const SERVED: [&str; 6] = ["lab.echo", "lab.add", "lab.flaky", "lab.fail", "lab.hold", "lab.large"];

/// Everything that a story needs, in the order in which it is to end.
#[derive(Debug)]
pub struct World {
    pub lab: Lab,
    pub api: Api,
    pub cluster: Cluster,
}

impl World {
    /// Starts everything and waits until the lab's functions are announced.
    ///
    /// # Errors
    /// When something does not come up.
    pub async fn begin(setup: Setup) -> Result<Self> {
        let cluster = Cluster::start(setup).await?;
        let api = cluster.api()?;
        let lab = Lab::open(&cluster.nats.url(), "lab-1")?;
        api.served(&SERVED, DEADLINE).await?;
        Ok(Self { lab, api, cluster })
    }

    /// Deploys `lab/NAME:1.0.0`; see [`workflow::lab`].
    ///
    /// # Errors
    /// When it is refused.
    pub async fn deploy(&self, name: &str, tasks: &str) -> Result<()> {
        self.api.deploy(&workflow::lab(name, tasks)).await?;
        Ok(())
    }

    /// Starts an instance of `lab/NAME` and answers its id.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn start(&self, name: &str, input: &str) -> Result<String> {
        Ok(self.api.start("lab", name, input, "").await?.id)
    }

    /// Starts an instance and waits for its end, however it ends.
    ///
    /// # Errors
    /// When it is refused or does not end.
    pub async fn run(&self, name: &str, input: &str) -> Result<Instance> {
        let id = self.start(name, input).await?;
        self.api.ended(&id, DEADLINE).await
    }

    /// Ends everything in good order.
    ///
    /// # Errors
    /// When something does not end by itself.
    pub async fn end(self) -> Result<()> {
        self.lab.close().await?;
        self.cluster.stop().await
    }
}

/// A request to start `lab/NAME`.
pub fn start_request(name: &str, input: &str) -> StartRequest {
    StartRequest {
        namespace: "lab".to_owned(),
        name: name.to_owned(),
        input: input.to_owned(),
        ..StartRequest::default()
    }
}

/// The stable code of a refusal; empty when it has none.
pub fn code(status: &tonic::Status) -> &str {
    status.metadata().get("baton-code").and_then(|code| code.to_str().ok()).unwrap_or_default()
}
