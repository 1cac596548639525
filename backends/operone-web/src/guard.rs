//! The egress guard: which addresses of a host may be connected, also for hosts that are names.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use operone_core::egress::EgressPolicy;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Decides on addresses, and resolves names to those that it admits.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    policy: Arc<EgressPolicy>,
    ports: Ports,
}

/// Which ports are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ports {
    /// 80 and 443: at any permitted address.
    Usual,
    /// Any other: at addresses that an allowed network names.
    Other,
}

impl Ports {
    pub(crate) fn of(port: u16) -> Self {
        if matches!(port, 80 | 443) { Self::Usual } else { Self::Other }
    }
}

/// No address of the host may be called.
#[derive(Debug)]
pub(crate) struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no address of the host may be called")
    }
}

impl std::error::Error for Refused {}

impl Guard {
    pub(crate) fn new(policy: Arc<EgressPolicy>, ports: Ports) -> Self {
        Self { policy, ports }
    }

    /// Whether the address may be connected.
    pub(crate) fn admits(&self, address: IpAddr) -> bool {
        match self.ports {
            Ports::Usual => self.policy.permits(address),
            Ports::Other => self.policy.names(address),
        }
    }

    /// Keeps the addresses that may be connected; `Refused` if none is left.
    fn admitted(&self, found: impl Iterator<Item = SocketAddr>) -> Result<Vec<SocketAddr>, Refused> {
        let admitted: Vec<SocketAddr> = found.filter(|address| self.admits(address.ip())).collect();
        if admitted.is_empty() { Err(Refused) } else { Ok(admitted) }
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            // The client puts its own port in the place of 0.
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            Ok(Box::new(guard.admitted(found)?.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use operone_core::egress::Network;

    use super::*;

    fn guard(ports: Ports) -> Guard {
        let policy = EgressPolicy::public().allowing(Network::parse("10.0.0.0/8").unwrap());
        Guard::new(Arc::new(policy), ports)
    }

    fn admitted(ports: Ports, found: &[&str]) -> Option<Vec<String>> {
        let found = found.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), 0));
        let admitted = guard(ports).admitted(found).ok()?;
        Some(admitted.iter().map(|address| address.ip().to_string()).collect())
    }

    #[test]
    fn a_name_with_addresses_of_both_kinds_leads_to_the_admitted_ones_only() {
        let found = ["127.0.0.1", "1.1.1.1", "::1", "10.1.2.3", "::ffff:169.254.169.254"];
        assert_eq!(admitted(Ports::Usual, &found).unwrap(), ["1.1.1.1", "10.1.2.3"]);
        assert_eq!(admitted(Ports::Other, &found).unwrap(), ["10.1.2.3"]);
    }

    #[test]
    fn a_name_with_no_admitted_address_is_refused() {
        assert_eq!(admitted(Ports::Usual, &["127.0.0.1", "::1"]), None);
        assert_eq!(admitted(Ports::Other, &["1.1.1.1"]), None);
        assert_eq!(admitted(Ports::Usual, &[]), None);
    }
}
