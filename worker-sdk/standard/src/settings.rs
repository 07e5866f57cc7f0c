//! What a standard worker serves, and what it lets workflows do.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    path::PathBuf,
    time::Duration,
};

use crate::{Hosts, Lookup, limits};

#[derive(Clone, Debug)]
pub struct Settings {
    pub serve: BTreeSet<Function>,
    /// Whom calls may reach.
    pub hosts: Hosts,
    /// How long a connection may take to come about.
    pub connect_timeout: Duration,
    /// How long a call may take, with everything that belongs to it.
    pub timeout: Duration,
    /// Bytes of one answer.
    pub response_bytes_max: usize,
    pub grpc_tls: GrpcTls,
    pub processes: Processes,
    /// How names become addresses.
    pub lookup: Lookup,
}

/// What can be served. The last three let workflows run programs on the worker's machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Function {
    Http,
    Openapi,
    Grpc,
    Shell,
    Script,
    Container,
}

/// When gRPC goes over TLS; the language cannot say it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum GrpcTls {
    /// On port 443.
    #[default]
    Auto,
    Always,
    Never,
}

/// How programs run.
#[derive(Clone, Debug)]
pub struct Processes {
    /// How long one may run.
    pub timeout: Duration,
    /// Bytes of each of its two outputs.
    pub output_bytes_max: usize,
    /// The interpreters.
    pub node: PathBuf,
    pub python: PathBuf,
    /// None: there is no client for containers on this machine.
    pub container_client: Option<PathBuf>,
    /// What the client for containers finds in its environment.
    pub container_environment: BTreeMap<String, OsString>,
    /// Folders of this machine; what is below them may be mounted into containers.
    pub mounts: Vec<PathBuf>,
}

impl Function {
    /// Without the department.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Openapi => "openapi",
            Self::Grpc => "grpc",
            Self::Shell => "shell",
            Self::Script => "script",
            Self::Container => "container",
        }
    }

    /// Whether it lets workflows run programs.
    pub fn runs_programs(self) -> bool {
        match self {
            Self::Http | Self::Openapi | Self::Grpc => false,
            Self::Shell | Self::Script | Self::Container => true,
        }
    }
}

impl Settings {
    /// These functions, everything public, and the usual bounds.
    pub fn new(serve: impl IntoIterator<Item = Function>) -> Self {
        Self {
            serve: serve.into_iter().collect(),
            hosts: Hosts::default(),
            connect_timeout: limits::CONNECT_TIMEOUT_DEFAULT,
            timeout: limits::TIMEOUT_DEFAULT,
            response_bytes_max: limits::RESPONSE_BYTES_DEFAULT,
            grpc_tls: GrpcTls::default(),
            processes: Processes::default(),
            lookup: Lookup::system(),
        }
    }
}

impl Default for Processes {
    fn default() -> Self {
        Self {
            timeout: limits::PROCESS_TIMEOUT_DEFAULT,
            output_bytes_max: limits::PROCESS_OUTPUT_BYTES_DEFAULT,
            node: "node".into(),
            python: "python3".into(),
            container_client: None,
            container_environment: BTreeMap::new(),
            mounts: Vec::new(),
        }
    }
}
