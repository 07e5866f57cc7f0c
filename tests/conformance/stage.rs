//! What all scenarios share: a cluster, its workers, and the public services that the scenarios call.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
use baton_tests::{Api, DEADLINE, Setup, World};

use crate::web::Web;

/// Cheap to clone; each scenario holds one.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    pub api: Api,
    world: Arc<World>,
    props: Arc<Props>,
}

#[derive(Debug)]
struct Props {
    /// How many workflows were deployed.
    deployed: AtomicU32,
    web: Web,
}

impl Stage {
    /// Starts everything and waits until it is there.
    pub(crate) async fn raise() -> Result<Self> {
        let arguments = vec!["--lifecycle-events=all".to_owned()];
        let mut world = World::begin(Setup { arguments, ..Setup::default() }).await?;
        let web = Web::open(world.cluster.folder()).await?;
        let given = web.for_worker();
        let given = given.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>();
        world.cluster.worker("baton-standard", "standard-1", &given)?;
        world.api.served(&["default.http", "default.openapi"], DEADLINE).await?;
        let api = world.api.clone();
        let props = Props { deployed: AtomicU32::new(0), web };
        Ok(Self { api, world: Arc::new(world), props: Arc::new(props) })
    }

    /// Ends everything in good order.
    pub(crate) async fn clear(self) -> Result<()> {
        let Self { world, props, .. } = self;
        let told = baton_tests::lifecycle::read(&world.cluster.nats).await?;
        baton_tests::lifecycle::expect_whole(&told)?;
        let props = Arc::into_inner(props).context("a scenario still holds the stage")?;
        Arc::into_inner(world).context("a scenario still holds the world")?.end().await?;
        props.web.close().await
    }

    /// The worker whose functions a scenario can hold.
    pub(crate) fn lab(&self) -> &baton_tests::Lab {
        &self.world.lab
    }

    /// Types of the lifecycle events that are published of an instance, in order.
    pub(crate) async fn life(&self, instance: &str) -> Result<Vec<String>> {
        let events = baton_tests::lifecycle::read(&self.world.cluster.nats).await?;
        let own = events.into_iter().filter(|event| event.subject == instance);
        Ok(own.map(|event| event.kind).collect())
    }

    /// A version that no other scenario deploys: names repeat, and what is deployed never changes.
    pub(crate) fn version(&self) -> String {
        format!("1.0.{}", self.props.deployed.fetch_add(1, Ordering::Relaxed) + 1)
    }
}
