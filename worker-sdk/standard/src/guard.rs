//! Looks names up, and lets no connection be made to an address that its name may not lead to.

use std::{
    collections::BTreeMap,
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use futures::future::BoxFuture;
use url::Host;

use crate::{
    hosts::{Hosts, Reach, bare, is_public},
    resolve::Resolve,
};

/// How a name becomes addresses. What it gives is checked and then connected to; a name is never looked up again in
/// between, so that it cannot change its mind.
#[derive(Clone)]
pub struct Lookup {
    look_up: Arc<LookUp>,
    /// Names that are not looked up.
    known: Arc<BTreeMap<String, SocketAddr>>,
}

type LookUp = dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync;

/// Decides over every connection.
#[derive(Clone)]
pub(crate) struct Guard {
    hosts: Arc<Hosts>,
    lookup: Lookup,
}

/// A host or address that may not be called.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("this worker may not call {host}:{port}")]
    Host { host: String, port: u16 },
    #[error("{0} does not lead to a public address")]
    Address(String),
}

impl Lookup {
    /// As the system does it.
    pub fn system() -> Self {
        Self::new(|name| async move {
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }

    pub fn new<Fut>(look_up: impl Fn(String) -> Fut + Send + Sync + 'static) -> Self
    where
        Fut: Future<Output = io::Result<Vec<IpAddr>>> + Send + 'static,
    {
        let look_up: Arc<LookUp> = Arc::new(move |name| Box::pin(look_up(name)));
        Self { look_up, known: Arc::default() }
    }

    /// These names lead where it is said here, and are not looked up.
    pub fn with(self, known: impl IntoIterator<Item = Resolve>) -> Self {
        let known = known.into_iter().map(|Resolve { host, address }| (host, address));
        Self { known: Arc::new(known.collect()), ..self }
    }

    /// The addresses of a name; port 0 is the one that the call names. One that may not be connected to spoils them all: a
    /// name for both kinds is either a mistake or an attack.
    pub(crate) async fn addresses(
        &self,
        name: String,
        reach: Reach,
    ) -> io::Result<Vec<SocketAddr>> {
        let addresses = match self.known.get(bare(&name)) {
            Some(address) => vec![*address],
            None => (self.look_up)(name.clone()).await?.into_iter().map(any_port).collect(),
        };
        if reach == Reach::Public && !addresses.iter().all(|address| is_public(address.ip())) {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, Refused::Address(name)));
        }
        Ok(addresses)
    }
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lookup")
    }
}

impl Guard {
    pub(crate) fn new(hosts: Hosts, lookup: Lookup) -> Self {
        Self { hosts: Arc::new(hosts), lookup }
    }

    /// Which addresses a call to this host may reach; of an address, whether it may be called.
    pub(crate) fn admit(&self, host: &Host<&str>, port: u16) -> Result<Reach, Refused> {
        let text = host.to_string();
        let Some(reach) = self.hosts.reach(&text, port) else {
            return Err(Refused::Host { host: text, port });
        };
        let address = match host {
            Host::Domain(_) => return Ok(reach),
            Host::Ipv4(address) => IpAddr::V4(*address),
            Host::Ipv6(address) => IpAddr::V6(*address),
        };
        if reach == Reach::Public && !is_public(address) {
            return Err(Refused::Address(text));
        }
        Ok(reach)
    }

    /// The addresses to connect to.
    pub(crate) async fn addresses(
        &self,
        host: &Host<&str>,
        reach: Reach,
    ) -> io::Result<Vec<SocketAddr>> {
        match host {
            Host::Domain(name) => self.lookup.addresses((*name).to_owned(), reach).await,
            Host::Ipv4(address) => Ok(vec![any_port(IpAddr::V4(*address))]),
            Host::Ipv6(address) => Ok(vec![any_port(IpAddr::V6(*address))]),
        }
    }

    pub(crate) fn lookup(&self) -> Lookup {
        self.lookup.clone()
    }
}

fn any_port(address: IpAddr) -> SocketAddr {
    SocketAddr::new(address, 0)
}

/// Whether an error comes from a refused address, however deep.
pub(crate) fn refusal<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Refused> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(refused) = error.downcast_ref::<Refused>() {
            return Some(refused);
        }
        // An io::Error does not name what it wraps as its source.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_name_that_changes_its_mind_is_refused_when_it_does() {
        let asked = AtomicUsize::new(0);
        let lookup = Lookup::new(move |_| {
            let public = asked.fetch_add(1, Ordering::Relaxed) == 0;
            let address = if public { [8, 8, 8, 8] } else { [127, 0, 0, 1] };
            std::future::ready(Ok(vec![IpAddr::from(address)]))
        });
        let guard = Guard::new(Hosts::default(), lookup);
        let host = Host::Domain("rebind.test");
        let reach = guard.admit(&host, 80).unwrap();
        let found = guard.addresses(&host, reach).await.unwrap();
        assert_eq!(found, [SocketAddr::from(([8, 8, 8, 8], 0))]);
        let error = guard.addresses(&host, reach).await.unwrap_err();
        assert!(matches!(refusal(&error), Some(Refused::Address(name)) if name == "rebind.test"));
    }

    #[tokio::test]
    async fn one_private_address_among_public_ones_spoils_them() {
        let both = vec![IpAddr::from([8, 8, 8, 8]), IpAddr::from([169, 254, 169, 254])];
        let lookup = Lookup::new(move |_| std::future::ready(Ok(both.clone())));
        assert!(lookup.addresses("both.test".into(), Reach::Public).await.is_err());
        assert_eq!(lookup.addresses("both.test".into(), Reach::Anywhere).await.unwrap().len(), 2);
    }

    #[tokio::test]
    async fn a_name_whose_address_is_said_is_not_looked_up_and_is_judged_all_the_same() {
        let known = "Ledger.test=10.0.0.7:8443".parse().unwrap();
        let lookup = Lookup::new(|_| std::future::ready(Err(io::ErrorKind::NotFound.into())));
        let lookup = lookup.with([known]);
        for name in ["ledger.test", "ledger.test."] {
            let found = lookup.addresses(name.into(), Reach::Anywhere).await.unwrap();
            assert_eq!(found, [SocketAddr::from(([10, 0, 0, 7], 8443))]);
            let error = lookup.addresses(name.into(), Reach::Public).await.unwrap_err();
            assert!(matches!(refusal(&error), Some(Refused::Address(refused)) if refused == name));
        }
        let other = lookup.addresses("other.test".into(), Reach::Anywhere).await.unwrap_err();
        assert_eq!(other.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn an_address_is_judged_however_it_is_written() {
        let guard = Guard::new(Hosts::default(), Lookup::system());
        for text in [
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://[::1]/",
            "http://[::ffff:10.0.0.1]/",
        ] {
            let url = url::Url::parse(text).unwrap();
            assert!(guard.admit(&url.host().unwrap(), 80).is_err(), "{text}");
        }
        let url = url::Url::parse("http://8.8.8.8/").unwrap();
        assert!(guard.admit(&url.host().unwrap(), 80).is_ok());
    }
}
