//! Whom the calls of workflows may reach: by name, and by kind of address.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// The hosts that a worker may call. Without a pattern: every public address.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    /// When there are any, nothing else may be called.
    pub patterns: Vec<Pattern>,
    /// Also loopback, private and link-local addresses.
    pub private: bool,
}

/// `HOST` or `*.DOMAIN`, each with or without `:PORT`. Without a port it means 80 and 443.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    host: String,
    /// Every name below `host`, but not `host` itself.
    below: bool,
    port: Option<u16>,
}

/// Which addresses a host's name may lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    Public,
    Anywhere,
}

/// What is no pattern.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} must be HOST, HOST:PORT, *.DOMAIN or *.DOMAIN:PORT")]
pub struct NoPattern(String);

impl Hosts {
    /// Where a call to this host may lead; none: it may not be made. The host is as a URL has it, a name in lower case
    /// or an address.
    pub(crate) fn reach(&self, host: &str, port: u16) -> Option<Reach> {
        let host = bare(host);
        if self.private {
            let fits = self.patterns.is_empty() || self.patterns.iter().any(|p| p.fits(host, port));
            return fits.then_some(Reach::Anywhere);
        }
        if self.patterns.is_empty() {
            return Some(Reach::Public);
        }
        let mut fitting =
            self.patterns.iter().filter(|pattern| pattern.fits(host, port)).peekable();
        fitting.peek()?;
        // Whoever names a host means it, wherever it is. Below a domain may be names that others choose.
        let named = fitting.any(|pattern| !pattern.below);
        Some(if named { Reach::Anywhere } else { Reach::Public })
    }
}

impl Pattern {
    fn fits(&self, host: &str, port: u16) -> bool {
        let port_fits = self.port.map_or(port == 80 || port == 443, |wanted| wanted == port);
        let host_fits = if self.below {
            host.strip_suffix(self.host.as_str())
                .is_some_and(|name| name.len() > 1 && name.ends_with('.'))
        } else {
            host == self.host
        };
        port_fits && host_fits
    }
}

impl FromStr for Pattern {
    type Err = NoPattern;

    fn from_str(text: &str) -> Result<Self, NoPattern> {
        let error = || NoPattern(text.to_owned());
        let (host, port) = match text.rsplit_once(':') {
            // An IPv6 address without a port stands in brackets, too.
            Some((host, port)) if !port.ends_with(']') => {
                let port = port.parse::<u16>().ok().filter(|port| *port > 0);
                (host, Some(port.ok_or_else(error)?))
            }
            _ => (text, None),
        };
        let (host, below) = host.strip_prefix("*.").map_or((host, false), |domain| (domain, true));
        // As a URL would have it, so that both can be compared.
        let host = url::Host::parse(host).map_err(|_| error())?.to_string();
        if below && host.parse::<Ipv4Addr>().is_ok() {
            return Err(error());
        }
        Ok(Self { host: bare(&host).to_owned(), below, port })
    }
}

/// Without the brackets of an IPv6 address and the dot of an absolute name.
pub(crate) fn bare(host: &str) -> &str {
    let host = host.strip_suffix('.').unwrap_or(host);
    host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host)
}

/// Whether an address is one of the public internet, and of nothing nearer or special.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// IANA's special-purpose registry of IPv4.
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || a == 0
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (b == 18 || b == 19))
        || a >= 224)
}

/// Of IPv6 only global unicast is public, and of that not what carries other addresses within or is special.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    let global_unicast = a & 0xe000 == 0x2000;
    // 2001::/23 (Teredo, ORCHID and others), documentation, 6to4, and documentation again.
    let special =
        (a == 0x2001 && (b < 0x200 || b == 0xdb8)) || a == 0x2002 || (a == 0x3fff && b < 0x1000);
    global_unicast && !special
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(patterns: &[&str]) -> Hosts {
        Hosts {
            patterns: patterns.iter().map(|text| text.parse().unwrap()).collect(),
            private: false,
        }
    }

    #[test]
    fn only_addresses_of_the_public_internet_are_public() {
        for text in ["8.8.8.8", "93.184.216.34", "172.32.0.1", "2606:2800:220:1:248:1893:25c8:1946"]
        {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "192.0.0.1",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::127.0.0.1",
            "fe80::1",
            "fec0::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "3fff::1",
        ] {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn without_patterns_every_name_may_lead_to_public_addresses() {
        assert_eq!(hosts(&[]).reach("example.com", 8443), Some(Reach::Public));
        let private = Hosts { private: true, ..hosts(&[]) };
        assert_eq!(private.reach("localhost", 1), Some(Reach::Anywhere));
    }

    #[test]
    fn patterns_leave_out_everything_else() {
        let hosts = hosts(&["ledger.internal:8080", "*.Example.com", "[::1]:9", "10.0.0.7"]);
        for (host, port, reach) in [
            ("ledger.internal", 8080, Some(Reach::Anywhere)),
            ("ledger.internal.", 8080, Some(Reach::Anywhere)),
            ("ledger.internal", 443, None),
            ("api.example.com", 443, Some(Reach::Public)),
            ("a.b.example.com", 80, Some(Reach::Public)),
            ("api.example.com", 8443, None),
            ("example.com", 443, None),
            ("notexample.com", 443, None),
            ("[::1]", 9, Some(Reach::Anywhere)),
            ("10.0.0.7", 80, Some(Reach::Anywhere)),
            ("10.0.0.7", 81, None),
        ] {
            assert_eq!(hosts.reach(host, port), reach, "{host}:{port}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in
            ["", "a b", "host:", "host:0", "host:99999", "https://host", "*.10.0.0.1", "host/path"]
        {
            assert_eq!(text.parse::<Pattern>(), Err(NoPattern(text.to_owned())));
        }
    }
}
