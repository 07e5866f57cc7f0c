//! TLS for a server on loopback that stands for public hosts, with an authority of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::serve::Listener;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::server::TlsStream;

/// How long a client may take to begin.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);

pub(crate) struct TlsListener {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl TlsListener {
    /// Answers for the hosts on a free port. The file that it gives, too, is the certificate of whoever signed for them.
    pub(crate) async fn bind(hosts: &[&str], folder: &Path) -> Result<(Self, PathBuf)> {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
        let path = folder.join("authority.pem");
        std::fs::write(&path, authority.pem()).context("the authority's certificate")?;

        let key = KeyPair::generate()?;
        let names = hosts.iter().map(|host| (*host).to_owned()).collect::<Vec<_>>();
        let certificate = CertificateParams::new(names)?.signed_by(&key, &authority)?;
        let chain = vec![certificate.der().clone()];
        let key = PrivateKeyDer::try_from(key.serialize_der()).ok().context("the server's key")?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("a free port")?;
        Ok((Self { tcp, acceptor: TlsAcceptor::from(Arc::new(config)) }, path))
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, from) = Listener::accept(&mut self.tcp).await;
            // Whoever does not believe the certificate says so to its own side.
            let accepted = tokio::time::timeout(HANDSHAKE_MAX, self.acceptor.accept(stream)).await;
            if let Ok(Ok(stream)) = accepted {
                return (stream, from);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}
