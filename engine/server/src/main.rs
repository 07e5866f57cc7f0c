//! `batond`: reads the settings, starts the parts, and stops them in order.

use std::{error::Error as _, fs, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use baton_policy::Set;
use baton_proto::v1::{
    approval_service_server::ApprovalServiceServer, audit_service_server::AuditServiceServer,
    definition_service_server::DefinitionServiceServer, engine_service_server::EngineServiceServer,
    event_service_server::EventServiceServer, kill_service_server::KillServiceServer,
    once_service_server::OnceServiceServer, policy_service_server::PolicyServiceServer,
    workflow_service_server::WorkflowServiceServer,
};
use baton_server::{
    Engine, Parts,
    api::{Api, coded::Coded},
    broker::{self, Broker},
    cache::Cache,
    config::{Config, LogFormat},
    definitions::Definitions,
    effects::Effects,
    events::Feed,
    growth::Growth,
    heads, http,
    identity::{Identity, Tokens},
    lease::{Holder, Leases},
    limits,
    once::Keys,
    partition,
    policies::{self, Policies},
    registry, schedules,
    switches::Switches,
    token::Key,
    traces::Traces,
};
use clap::Parser;
use tokio::{net::TcpListener, signal::unix::SignalKind};
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpIncoming;
use tracing_subscriber::EnvFilter;

// The system's allocator spent a third of the CPU on small values that one thread makes and another drops:
// docs/performance.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    let config = Config::parse();
    let filter = EnvFilter::try_from_env("BATON_LOG")
        .unwrap_or_else(|_| EnvFilter::new("info,async_nats=warn,sled=warn"));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.log_format {
        LogFormat::Text => {
            logs.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init();
        }
        LogFormat::Json => logs.json().init(),
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(config))
}

async fn run(config: Config) -> anyhow::Result<()> {
    anyhow::ensure!(
        config.dev || config.listen.ip().is_loopback(),
        "the API speaks plain http, so {} would show callers' tokens to whoever listens in: listen on loopback behind \
         something that ends TLS, or say --dev",
        config.listen
    );
    let stop = CancellationToken::new();
    stop_on_signal(&stop)?;
    let engine = tokio::select! {
        engine = start(&config, &stop) => Arc::new(engine?),
        () = stop.cancelled() => return Ok(()),
    };
    if config.dev {
        tracing::warn!(
            "DEVELOPMENT MODE: callers are who they say they are, and anybody who reaches the API may do anything"
        );
    }
    let leading = CancellationToken::new();
    let mut owners = Vec::new();
    let mut handles = Vec::new();
    for number in 0..engine.growth.now() {
        let (handle, owner) = partition::spawn(Arc::clone(&engine), number, leading.clone());
        handles.push(handle);
        owners.push(owner);
    }
    engine.set_partitions(handles);
    let registry = tokio::spawn(registry::serve(Arc::clone(&engine), stop.clone()));
    let learning = tokio::spawn(engine.policies.clone().serve(stop.clone()));
    let switching = tokio::spawn(engine.switches.clone().serve(stop.clone()));
    let scheduling = tokio::spawn(schedules::serve(Arc::clone(&engine), stop.clone()));
    let signed = CancellationToken::new();
    let signing = tokio::spawn(heads::serve(Arc::clone(&engine), signed.clone()));
    let api = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("cannot listen on {}", config.listen))?;
    let http = TcpListener::bind(config.http)
        .await
        .with_context(|| format!("cannot listen on {}", config.http))?;
    write_addresses(&config, api.local_addr()?, http.local_addr()?)?;
    tracing::info!(api = %api.local_addr()?, http = %http.local_addr()?, engine = %engine.name, nats = %engine.broker.server_version(), partitions = engine.growth.now(), "batond is up");

    let pages = axum::serve(http, http::routes(Arc::clone(&engine)))
        .with_graceful_shutdown(stop.clone().cancelled_owned());
    let pages = tokio::spawn(pages.into_future());
    let served = tokio::spawn(serve_api(Arc::clone(&engine), api, stop.clone()));
    stop.cancelled().await;
    tracing::info!("Stopping: finishing what is under way");
    // Owners go on while open requests end, so that those are answered.
    let _ = tokio::time::timeout(limits::SHUTDOWN_GRACE, served).await;
    leading.cancel();
    for owner in owners {
        let _ = tokio::time::timeout(limits::SHUTDOWN_GRACE, owner).await;
    }
    signed.cancel();
    let _ = tokio::time::timeout(limits::HEADS_LAST, signing).await;
    let _ = tokio::time::timeout(Duration::from_secs(1), pages).await;
    registry.abort();
    scheduling.abort();
    learning.abort();
    switching.abort();
    let cache = engine.cache.clone();
    let _ = tokio::task::spawn_blocking(move || cache.flush()).await;
    tracing::info!("Stopped");
    Ok(())
}

async fn start(config: &Config, stop: &CancellationToken) -> anyhow::Result<Engine> {
    fs::create_dir_all(&config.data)
        .with_context(|| format!("cannot make {}", config.data.display()))?;
    let id = engine_id(config)?;
    let name = config.name.clone().unwrap_or_else(|| format!("batond-{}", &id[..8]));
    let capacity = config.cache_mib * 1024 * 1024;
    let cache = Cache::open(&config.data.join("sled"), capacity)
        .with_context(|| format!("cannot open the cache in {}", config.data.display()))?;
    let options = broker::Options {
        url: config.nats.clone(),
        credentials: config.nats_credentials.clone(),
        user: config.nats_user.clone(),
        password: config.nats_password.clone(),
        name: name.clone(),
        replicas: usize::from(config.replicas),
    };
    let own = own_policies(config).await?;
    let audit_key = config.audit_key.as_deref().map(heads::Key::open).transpose()?;
    let Reached { broker, definitions, effects, keys, leases, objects, policies, switches, tokens } =
        reach(&options, &Holder { id, name: name.clone() }, own.as_ref(), !config.dev).await?;
    if audit_key.is_some() {
        broker.prepare_heads().await?;
    }
    let feed = Feed::start(&broker, stop.clone()).await?;
    let growth = Growth::settle(&broker.settings().await?, config.partitions).await?;
    let traces = Traces::from_env();
    Ok(Engine::new(Parts {
        name,
        dev: config.dev,
        audit_key,
        broker,
        cache,
        definitions,
        effects,
        feed,
        growth,
        identity: identity(config)?,
        keys,
        leases,
        lifecycle: config.lifecycle_events,
        objects,
        policies,
        switches,
        tokens,
        traces,
        stop: stop.clone(),
    }))
}

/// What lies on NATS.
struct Reached {
    broker: Broker,
    definitions: Definitions,
    effects: Effects,
    keys: Keys,
    leases: Leases,
    objects: async_nats::jetstream::object_store::ObjectStore,
    policies: Policies,
    switches: Switches,
    tokens: Key,
}

fn identity(config: &Config) -> anyhow::Result<Identity> {
    let settings = (&config.identity_keys, &config.identity_issuer, &config.identity_audience);
    Ok(match settings {
        _ if config.dev => Identity::Development,
        (Some(keys), Some(issuer), Some(audience)) => {
            Identity::Tokens(Tokens::open(keys, issuer, audience)?)
        }
        _ => {
            tracing::warn!("No caller is known without --identity-keys: every request is refused");
            Identity::Nobody
        }
    })
}

/// The set of this process' own settings.
async fn own_policies(config: &Config) -> anyhow::Result<Option<Arc<Set>>> {
    let Some(folder) = &config.policies else { return Ok(None) };
    let texts = baton_policy::folder::read(folder).context("cannot read the policies")?;
    let set = policies::compile(texts).await.map_err(|findings| {
        let lines: Vec<_> = findings.iter().map(ToString::to_string).collect();
        anyhow::anyhow!(
            "the policies in {} cannot be used:\n{}",
            folder.display(),
            lines.join("\n")
        )
    })?;
    Ok(Some(Arc::new(set)))
}

/// Tries until NATS answers: it may be started after us, or be away just now.
async fn reach(
    options: &broker::Options,
    holder: &Holder,
    own: Option<&Arc<Set>>,
    enforced: bool,
) -> Result<Reached, broker::Error> {
    let mut told = String::new();
    loop {
        match open_all(options, holder.clone(), own.cloned(), enforced).await {
            Ok(reached) => return Ok(reached),
            Err(error) if error.is_passing() => {
                if told != error.to_string() {
                    told = error.to_string();
                    tracing::warn!(%error, cause = error.source(), "NATS is not ready, trying until it is");
                }
            }
            Err(error) => return Err(error),
        }
        tokio::time::sleep(limits::REACH_AGAIN).await;
    }
}

async fn open_all(
    options: &broker::Options,
    holder: Holder,
    own: Option<Arc<Set>>,
    enforced: bool,
) -> Result<Reached, broker::Error> {
    let broker = Broker::connect(options).await?;
    broker.prepare_work().await?;
    let tokens = Key::open(&broker).await?;
    let definitions = Definitions::open(&broker, tokens.secrets()).await?;
    let leases = Leases::open(&broker, holder).await?;
    let objects = broker.objects().await?;
    let effects = Effects::open(&broker).await?;
    let policies = Policies::open(&broker, own, enforced).await?;
    let switches = Switches::open(&broker).await?;
    let keys = Keys::open(&broker).await?;
    Ok(Reached { broker, definitions, effects, keys, leases, objects, policies, switches, tokens })
}

/// Of the data folder, which only one process can have open: the cache's own lock sees to that.
fn engine_id(config: &Config) -> anyhow::Result<String> {
    let path = config.data.join("engine-id");
    if let Ok(id) = fs::read_to_string(&path)
        && uuid::Uuid::try_parse(id.trim()).is_ok()
    {
        return Ok(id.trim().to_owned());
    }
    let id = uuid::Uuid::now_v7().to_string();
    // The last digits are the random ones, and are what a name shows.
    let id: String = uuid::Uuid::try_parse(&id)?.simple().to_string().chars().rev().collect();
    let id = uuid::Uuid::try_parse(&id)?.to_string();
    fs::write(&path, &id).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(id)
}

/// Where this process listens, for whoever started it with port 0.
fn write_addresses(config: &Config, api: SocketAddr, http: SocketAddr) -> anyhow::Result<()> {
    let addresses = serde_json::json!({ "api": api.to_string(), "http": http.to_string(), "pid": std::process::id() });
    let path = config.data.join("addresses.json");
    let fresh = config.data.join("addresses.json.new");
    fs::write(&fresh, addresses.to_string())?;
    fs::rename(&fresh, &path).with_context(|| format!("cannot write {}", path.display()))
}

async fn serve_api(
    engine: Arc<Engine>,
    listener: TcpListener,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let (health, health_service) = tonic_health::server::health_reporter();
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(baton_proto::DESCRIPTORS)
        .build_v1()?;
    let ready = Arc::clone(&engine);
    let reporting = tokio::spawn(async move {
        let mut every = tokio::time::interval(Duration::from_millis(200));
        loop {
            every.tick().await;
            let status = if ready.readiness().is_ok() {
                tonic_health::ServingStatus::Serving
            } else {
                tonic_health::ServingStatus::NotServing
            };
            health.set_service_status("", status).await;
        }
    });
    // Without it an answer of two packets waits 40 ms for the client's acknowledgement of the first.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let api = Api::new(Arc::clone(&engine));
    let message_bytes_max = 4 * 1024 * 1024;
    let definitions =
        DefinitionServiceServer::new(api.clone()).max_decoding_message_size(message_bytes_max);
    let workflows =
        WorkflowServiceServer::new(api.clone()).max_decoding_message_size(message_bytes_max);
    let policies =
        PolicyServiceServer::new(api.clone()).max_decoding_message_size(message_bytes_max);
    let served = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .concurrency_limit_per_connection(4_096)
        .add_service(health_service)
        .add_service(reflection)
        .add_service(Coded::new(definitions, &engine))
        .add_service(Coded::new(workflows, &engine))
        .add_service(Coded::new(EventServiceServer::new(api.clone()), &engine))
        .add_service(Coded::new(policies, &engine))
        .add_service(Coded::new(ApprovalServiceServer::new(api.clone()), &engine))
        .add_service(Coded::new(AuditServiceServer::new(api.clone()), &engine))
        .add_service(Coded::new(KillServiceServer::new(api.clone()), &engine))
        .add_service(Coded::new(OnceServiceServer::new(api.clone()), &engine))
        .add_service(Coded::new(EngineServiceServer::new(api), &engine))
        .serve_with_incoming_shutdown(incoming, stop.cancelled_owned())
        .await;
    reporting.abort();
    Ok(served?)
}

fn stop_on_signal(stop: &CancellationToken) -> anyhow::Result<()> {
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let mut signal = tokio::signal::unix::signal(kind)?;
        let stop = stop.clone();
        tokio::spawn(async move {
            signal.recv().await;
            stop.cancel();
        });
    }
    Ok(())
}
