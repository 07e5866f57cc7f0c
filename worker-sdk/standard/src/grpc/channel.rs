//! Connections for gRPC: guarded like those for HTTP, and kept for a while.

use std::io;

use baton_worker::{Failure, Outcome};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use url::Host;

use crate::{
    GrpcTls, Net,
    cache::Cache,
    client::chain,
    fault::Fault,
    guard::{Guard, refusal},
    limits::DOCUMENT_AGE_MAX,
};

/// By URI, and whether the workflow says the port: without it the settings may.
#[derive(Default)]
pub(crate) struct Channels(Cache<(String, bool), Channel>);

impl Channels {
    pub(super) async fn get(&self, net: &Net, host: &str, port: Option<u16>) -> Outcome<Channel> {
        let (named, port) = (port.is_some(), port.unwrap_or(443));
        let host = Host::parse(host).map_err(|error| {
            Fault::Input.because(format_args!("the service's host cannot be used: {error}"))
        })?;
        let secure = match net.settings.grpc_tls {
            GrpcTls::Auto => port == 443,
            GrpcTls::Always => true,
            GrpcTls::Never => false,
        };
        let scheme = if secure { "https" } else { "http" };
        let uri = format!("{scheme}://{host}:{port}");
        let key = (uri.clone(), named);
        if let Some(channel) = self.0.get(&key) {
            return Ok(channel);
        }
        let mut endpoint =
            Endpoint::from_shared(uri).map_err(|error| Fault::Input.because(error))?;
        if secure {
            let tls = ClientTlsConfig::new().with_native_roots();
            endpoint = endpoint.tls_config(tls).map_err(|error| failure(&error))?;
        }
        let guard = net.client.guard().clone();
        let endpoint = endpoint.connect_timeout(net.settings.connect_timeout);
        let connector = tower::service_fn(move |_| {
            let (guard, host) = (guard.clone(), host.clone());
            async move { connect(&guard, &host, port, named).await.map(TokioIo::new) }
        });
        let channel =
            endpoint.connect_with_connector(connector).await.map_err(|error| failure(&error))?;
        self.0.keep(key, channel.clone(), DOCUMENT_AGE_MAX);
        Ok(channel)
    }
}

/// To one of the addresses that were checked, and to no other. `named`: the workflow says the port.
async fn connect(guard: &Guard, host: &Host, port: u16, named: bool) -> io::Result<TcpStream> {
    let host = match host {
        Host::Domain(name) => Host::Domain(name.as_str()),
        Host::Ipv4(address) => Host::Ipv4(*address),
        Host::Ipv6(address) => Host::Ipv6(*address),
    };
    let reach = guard.admit(&host, port);
    let reach =
        reach.map_err(|refused| io::Error::new(io::ErrorKind::PermissionDenied, refused))?;
    let addresses = guard.addresses(&host, reach).await?;
    let addresses = addresses.into_iter().map(|mut address| {
        if named || address.port() == 0 {
            address.set_port(port);
        }
        address
    });
    let stream = TcpStream::connect(&*addresses.collect::<Vec<_>>()).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

pub(super) fn failure(error: &tonic::transport::Error) -> Failure {
    match refusal(error) {
        Some(refused) => Fault::AddressRefused.because(refused),
        None => Fault::Unreachable.because(chain(error)),
    }
}
