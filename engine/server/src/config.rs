//! The settings of `batond`: flags, or the environment.

use std::{net::SocketAddr, path::PathBuf};

use crate::lifecycle;

/// Owns workflows: decides, keeps the log, and has workers do the steps.
///
/// Needs nats-server 2.12 or newer with JetStream. Stops cleanly on SIGTERM.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "batond", version, about, max_term_width = 100)]
pub struct Config {
    /// Where the gRPC API listens; port 0 takes a free one
    #[arg(long, env = "BATON_LISTEN", default_value = "127.0.0.1:7420")]
    pub listen: SocketAddr,
    /// Where /metrics, /healthz and /readyz listen
    #[arg(long, env = "BATON_HTTP", default_value = "127.0.0.1:7421")]
    pub http: SocketAddr,
    /// NATS servers, separated by commas
    #[arg(long, env = "BATON_NATS_URL", default_value = "nats://127.0.0.1:4222")]
    pub nats: String,
    /// Credentials file for NATS
    #[arg(long, env = "BATON_NATS_CREDENTIALS")]
    pub nats_credentials: Option<PathBuf>,
    /// User for NATS
    #[arg(long, env = "BATON_NATS_USER")]
    pub nats_user: Option<String>,
    /// Password for NATS; better set in the environment, where process lists do not show it
    #[arg(long, env = "BATON_NATS_PASSWORD", hide_env_values = true)]
    pub nats_password: Option<String>,
    /// Folder of the cache; deleting it while batond is stopped loses nothing
    #[arg(long, env = "BATON_DATA", default_value = ".baton/cache")]
    pub data: PathBuf,
    /// Into how many partitions new instances go; may be raised later, never lowered [default: as many as there are, 4
    /// at first]
    #[arg(long, env = "BATON_PARTITIONS", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub partitions: Option<u32>,
    /// Copies of each stream on a NATS cluster
    #[arg(long, env = "BATON_REPLICAS", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=5))]
    pub replicas: u8,
    /// Name of this engine, for people
    #[arg(long, env = "BATON_NAME")]
    pub name: Option<String>,
    /// Folder of the policy set that counts until another one is activated
    #[arg(long, env = "BATON_POLICIES")]
    pub policies: Option<PathBuf>,
    /// JSON Web Key Set of whoever signs the tokens of callers
    #[arg(
        long,
        env = "BATON_IDENTITY_KEYS",
        requires_all = ["identity_issuer", "identity_audience"],
        conflicts_with = "dev"
    )]
    pub identity_keys: Option<PathBuf>,
    /// The `iss` of tokens that are believed
    #[arg(long, env = "BATON_IDENTITY_ISSUER", requires = "identity_keys")]
    pub identity_issuer: Option<String>,
    /// The `aud` of tokens that are believed
    #[arg(long, env = "BATON_IDENTITY_AUDIENCE", requires = "identity_keys")]
    pub identity_audience: Option<String>,
    /// Ed25519 private key, PKCS #8 in PEM, that signs the logs' heads and what is exported
    #[arg(long, env = "BATON_AUDIT_KEY")]
    pub audit_key: Option<PathBuf>,
    /// Development mode: callers are who they say, and without a policy set everything is allowed; it says so
    #[arg(long, env = "BATON_DEV")]
    pub dev: bool,
    /// MiB of memory for the cache's pages
    #[arg(long, env = "BATON_CACHE_MIB", default_value_t = 64)]
    pub cache_mib: u64,
    /// Whose lifecycle events are published; at full load they cost more than the work
    #[arg(long, env = "BATON_LIFECYCLE_EVENTS", default_value = "off")]
    pub lifecycle_events: lifecycle::Scope,
    /// How logs are written
    #[arg(long, env = "BATON_LOG_FORMAT", default_value = "text")]
    pub log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}
