//! What can be said on the command line or in the environment.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use baton_standard::{Function, GrpcTls, Hosts, Lookup, Pattern, Processes, Resolve, Settings};
use baton_worker::{Credentials, Options, Secrets};
use clap::{Args, Parser};

/// Does what workflows ask for with `call: http`, `openapi` and `grpc`, and, only when told so, `run: shell`, `script`
/// and `container`.
///
/// Serves the functions <department>.http, <department>.openapi and so on, until SIGTERM or Ctrl-C; then it takes
/// nothing more and lets what runs end.
#[derive(Parser)]
#[command(name = "baton-standard", version, max_term_width = 100, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Whose functions these are: the namespace of the workflows that call them.
    #[arg(long, env = "BATON_DEPARTMENT", value_name = "NAME")]
    department: String,
    /// What to serve. shell, script and container let workflows run programs on this machine: they may do whatever this
    /// process may.
    #[arg(
        long,
        env = "BATON_STANDARD_SERVE",
        value_delimiter = ',',
        value_name = "FUNCTIONS",
        default_value = "http,openapi,grpc"
    )]
    serve: Vec<Function>,
    #[command(flatten)]
    broker: BrokerArguments,
    #[command(flatten)]
    secrets: SecretArguments,
    #[command(flatten)]
    calls: CallArguments,
    #[command(flatten)]
    programs: ProgramArguments,
}

#[derive(Args)]
#[command(next_help_heading = "NATS")]
struct BrokerArguments {
    /// Servers, separated by commas.
    #[arg(
        long,
        env = "BATON_NATS_URL",
        default_value = "nats://127.0.0.1:4222",
        value_name = "URL"
    )]
    nats: String,
    /// A file with a JWT and its key, as `nsc` writes it.
    #[arg(long, env = "BATON_NATS_CREDENTIALS", value_name = "FILE", conflicts_with = "nats_user")]
    nats_credentials: Option<PathBuf>,
    #[arg(long, env = "BATON_NATS_USER", value_name = "NAME")]
    nats_user: Option<String>,
    #[arg(
        long,
        env = "BATON_NATS_PASSWORD",
        value_name = "PASSWORD",
        hide_env_values = true,
        requires = "nats_user"
    )]
    nats_password: Option<String>,
    /// Where answers go, when the user may not use `_INBOX`.
    #[arg(long, env = "BATON_NATS_INBOX_PREFIX", value_name = "PREFIX")]
    nats_inbox_prefix: Option<String>,
    /// This process's name, unique in the department [default: the department and random digits].
    #[arg(long, env = "BATON_WORKER_NAME", value_name = "NAME")]
    name: Option<String>,
    /// Which build this is, for people.
    #[arg(long, env = "BATON_WORKER_BUILD", value_name = "TEXT", default_value = env!("CARGO_PKG_VERSION"))]
    build: String,
    /// The service in traces [default: <department>-worker].
    #[arg(long, env = "OTEL_SERVICE_NAME", value_name = "NAME")]
    service: Option<String>,
    /// Calls of one function at once; programs are at most 16.
    #[arg(long, env = "BATON_WORKER_CONCURRENCY", value_name = "N", default_value = "256", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    concurrency: u32,
    /// How long a drain waits for what runs, in milliseconds.
    #[arg(long, env = "BATON_WORKER_GRACE_MS", value_name = "MS", default_value = "25000", value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    grace_ms: u64,
}

#[derive(Args)]
#[command(next_help_heading = "Secrets")]
struct SecretArguments {
    /// A folder with a file for each secret [default: the variables `BATON_SECRET_NAME`].
    #[arg(long, env = "BATON_SECRETS_DIR", value_name = "DIR")]
    secrets: Option<PathBuf>,
}

#[derive(Args)]
#[command(next_help_heading = "Calls")]
struct CallArguments {
    /// A host that may be called, HOST or *.DOMAIN, with :PORT or else on ports 80 and 443; may be given several times.
    /// With it no other host may be called. A host that is named in full may have a private address [default: every
    /// public address].
    #[arg(
        long = "allow-host",
        env = "BATON_STANDARD_ALLOW_HOST",
        value_delimiter = ',',
        value_name = "HOST"
    )]
    allow_hosts: Vec<Pattern>,
    /// Calls may also reach loopback, private and link-local addresses.
    #[arg(long, env = "BATON_STANDARD_ALLOW_PRIVATE")]
    allow_private: bool,
    /// HOST=ADDRESS: where a host is, instead of looking its name up; with :PORT for calls that name no port. Whether it
    /// may be called is another matter. May be given several times.
    #[arg(
        long,
        env = "BATON_STANDARD_RESOLVE",
        value_delimiter = ',',
        value_name = "HOST=ADDRESS"
    )]
    resolve: Vec<Resolve>,
    /// How long a connection may take to come about, in milliseconds.
    #[arg(long, env = "BATON_STANDARD_CONNECT_TIMEOUT_MS", value_name = "MS", default_value = "10000", value_parser = clap::value_parser!(u64).range(1..=600_000))]
    connect_timeout_ms: u64,
    /// How long a call may take with all that belongs to it, in milliseconds.
    #[arg(long, env = "BATON_STANDARD_TIMEOUT_MS", value_name = "MS", default_value = "60000", value_parser = clap::value_parser!(u64).range(1..=86_400_000))]
    timeout_ms: u64,
    /// Bytes that one answer may have.
    #[arg(long, env = "BATON_STANDARD_RESPONSE_BYTES_MAX", value_name = "BYTES", default_value = "1048576", value_parser = clap::value_parser!(u32).range(1..=67_108_864))]
    response_bytes_max: u32,
    /// When gRPC goes over TLS; auto: on port 443.
    #[arg(long, env = "BATON_STANDARD_GRPC_TLS", value_name = "WHEN", default_value = "auto")]
    grpc_tls: GrpcTls,
}

#[derive(Args)]
#[command(next_help_heading = "Programs")]
struct ProgramArguments {
    /// How long a program may run, in milliseconds.
    #[arg(long, env = "BATON_STANDARD_PROGRAM_TIMEOUT_MS", value_name = "MS", default_value = "3600000", value_parser = clap::value_parser!(u64).range(1..=604_800_000))]
    program_timeout_ms: u64,
    /// Bytes that each of a program's two outputs may have.
    #[arg(long, env = "BATON_STANDARD_PROGRAM_OUTPUT_BYTES_MAX", value_name = "BYTES", default_value = "409600", value_parser = clap::value_parser!(u32).range(1..=16_777_216))]
    program_output_bytes_max: u32,
    /// The interpreter of scripts in js.
    #[arg(long, env = "BATON_STANDARD_NODE", value_name = "PROGRAM", default_value = "node")]
    node: PathBuf,
    /// The interpreter of scripts in python.
    #[arg(long, env = "BATON_STANDARD_PYTHON", value_name = "PROGRAM", default_value = "python3")]
    python: PathBuf,
    /// The client for containers [default: docker or podman, whichever is found].
    #[arg(long, env = "BATON_STANDARD_CONTAINER_CLIENT", value_name = "PROGRAM")]
    container_client: Option<PathBuf>,
    /// A folder of this machine; what is below it may be mounted into containers. May be given several times.
    #[arg(
        long = "allow-mount",
        env = "BATON_STANDARD_ALLOW_MOUNT",
        value_delimiter = ',',
        value_name = "DIR"
    )]
    allow_mounts: Vec<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  Calls to every public address, for workflows in namespace finance:
    baton-standard --department finance --nats nats://127.0.0.1:4222

  Calls to two services and no others, one of them in the own network:
    baton-standard --department finance --serve http,openapi \\
      --allow-host '*.bank.example' --allow-host ledger.internal:8080

  Shell commands, with secrets from files; run it as a user who may do nothing else:
    baton-standard --department ops --serve shell --secrets /run/secrets

BATON_LOG sets what is logged, such as `debug` or `info,baton_standard=debug`. SSL_CERT_FILE names the
certificates that are believed instead of the system's.";

impl Arguments {
    /// The department, how it is connected, and what it serves.
    pub(crate) fn into_settings(self) -> (String, Options, Settings) {
        let Self { department, serve, broker, secrets, calls, programs } = self;
        let options = broker.into_options(secrets);
        let settings = Settings {
            hosts: Hosts { patterns: calls.allow_hosts, private: calls.allow_private },
            connect_timeout: Duration::from_millis(calls.connect_timeout_ms),
            timeout: Duration::from_millis(calls.timeout_ms),
            response_bytes_max: calls.response_bytes_max as usize,
            grpc_tls: calls.grpc_tls,
            processes: programs.into_processes(),
            lookup: Lookup::system().with(calls.resolve),
            ..Settings::new(serve)
        };
        (department, options, settings)
    }
}

impl BrokerArguments {
    fn into_options(self, secrets: SecretArguments) -> Options {
        let credentials = match (self.nats_credentials, self.nats_user) {
            (Some(file), _) => Credentials::File(file),
            (None, Some(user)) => {
                Credentials::UserAndPassword(user, self.nats_password.unwrap_or_default())
            }
            (None, None) => Credentials::None,
        };
        Options {
            nats_url: self.nats,
            credentials,
            inbox_prefix: self.nats_inbox_prefix,
            name: self.name,
            build: self.build,
            service: self.service,
            concurrency: self.concurrency as usize,
            grace: Duration::from_millis(self.grace_ms),
            secrets: secrets.secrets.map_or(Secrets::Environment, Secrets::Folder),
        }
    }
}

impl ProgramArguments {
    fn into_processes(self) -> Processes {
        Processes {
            timeout: Duration::from_millis(self.program_timeout_ms),
            output_bytes_max: self.program_output_bytes_max as usize,
            node: self.node,
            python: self.python,
            container_client: self
                .container_client
                .or_else(|| found("docker"))
                .or_else(|| found("podman")),
            container_environment: container_environment(),
            mounts: self.allow_mounts,
        }
    }
}

fn found(program: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders)
        .map(|folder| folder.join(program))
        .find(|path| Path::is_file(path))
}

/// How the client for containers finds its daemon and its images, and nothing else that this process knows.
fn container_environment() -> BTreeMap<String, OsString> {
    let names = [
        "CONTAINER_HOST",
        "DOCKER_CERT_PATH",
        "DOCKER_CONFIG",
        "DOCKER_CONTEXT",
        "DOCKER_HOST",
        "DOCKER_TLS_VERIFY",
        "HOME",
        "PATH",
        "XDG_RUNTIME_DIR",
    ];
    let set = names.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var_os(name)?)));
    set.collect()
}
