//! Names whose addresses the settings say.

use std::{
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use url::Host;

use crate::hosts::bare;

/// `HOST=ADDRESS`, with or without `:PORT`. The port is for calls that name none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolve {
    pub(crate) host: String,
    /// Port 0: the usual one.
    pub(crate) address: SocketAddr,
}

/// What says no address of a name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} must be HOST=ADDRESS or HOST=ADDRESS:PORT")]
pub struct NoResolve(String);

impl FromStr for Resolve {
    type Err = NoResolve;

    fn from_str(text: &str) -> Result<Self, NoResolve> {
        let error = || NoResolve(text.to_owned());
        let (host, address) = text.split_once('=').ok_or_else(error)?;
        // As a URL would have it, so that both can be compared.
        let Ok(Host::Domain(host)) = Host::parse(host) else { return Err(error()) };
        let address = match address.parse::<SocketAddr>() {
            Ok(address) if address.port() > 0 => address,
            Ok(_) => return Err(error()),
            Err(_) => SocketAddr::new(bare(address).parse::<IpAddr>().map_err(|_| error())?, 0),
        };
        Ok(Self { host: bare(&host).to_owned(), address })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_stands_with_or_without_a_port() {
        for (text, host, address) in [
            ("Ledger.internal=10.0.0.7", "ledger.internal", "10.0.0.7:0"),
            ("ledger.internal.=10.0.0.7:8443", "ledger.internal", "10.0.0.7:8443"),
            ("a.test=::1", "a.test", "[::1]:0"),
            ("a.test=[::1]", "a.test", "[::1]:0"),
            ("a.test=[::1]:9", "a.test", "[::1]:9"),
        ] {
            let expected = Resolve { host: host.into(), address: address.parse().unwrap() };
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_says_no_address_is_refused() {
        for text in [
            "",
            "a.test",
            "a.test=",
            "a.test=b.test",
            "a.test=10.0.0.7:0",
            "10.0.0.1=10.0.0.7",
            "=::1",
        ] {
            assert_eq!(text.parse::<Resolve>(), Err(NoResolve(text.to_owned())));
        }
    }
}
