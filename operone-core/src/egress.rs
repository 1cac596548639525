//! Which addresses may be called for others: the egress address table, without any input or output.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::error::{Error, Result};

/// The IPv4 networks that are not the public internet.
const DENIED_V4: [Network; 15] = [
    v4([0, 0, 0, 0], 8),       // this network
    v4([10, 0, 0, 0], 8),      // private
    v4([100, 64, 0, 0], 10),   // shared by a provider's customers
    v4([127, 0, 0, 0], 8),     // loopback
    v4([169, 254, 0, 0], 16),  // link-local, and the metadata of clouds
    v4([172, 16, 0, 0], 12),   // private
    v4([192, 0, 0, 0], 24),    // protocol assignments
    v4([192, 0, 2, 0], 24),    // documentation
    v4([192, 88, 99, 0], 24),  // relays of 6to4
    v4([192, 168, 0, 0], 16),  // private
    v4([198, 18, 0, 0], 15),   // benchmarks
    v4([198, 51, 100, 0], 24), // documentation
    v4([203, 0, 113, 0], 24),  // documentation
    v4([224, 0, 0, 0], 4),     // multicast
    v4([240, 0, 0, 0], 4),     // reserved, and broadcast
];

const MAPPED: Network = v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96);
const TRANSLATED: Network = v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96);
const TRANSLATED_LOCALLY: Network = v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48);
const SIX_TO_FOUR: Network = v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16);

/// The only IPv6 networks that reach the public internet: global unicast, and IPv4 in other clothes. Loopback,
/// link-local, site-local, unique local, multicast, discarded and IPv4-compatible addresses are none of these.
const PUBLIC_V6: [Network; 3] = [v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3), MAPPED, TRANSLATED];

/// The parts of [`PUBLIC_V6`] that are not public.
const DENIED_V6: [Network; 3] = [
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), // protocol assignments, Teredo among them
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), // documentation
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), // documentation
];

/// A range of addresses that share their first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    first: IpAddr,
    /// How many bits are shared.
    length: u8,
}

impl Network {
    /// Reads a network such as `10.0.0.0/8` or `fd00::/8`. An address by itself is a network of one.
    ///
    /// `Invalid` with code `invalid_network` for anything else, also where bits beyond the length are set, and for
    /// IPv4 written as IPv6, since such an address is judged by the IPv4 address within.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |why: String| {
            let shown: String = text.chars().take(100).collect();
            Error::invalid(format!("'{shown}' {why}")).with_code("invalid_network")
        };
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let no_network = || wrong("is no network such as 10.0.0.0/8 or fd00::/8".to_owned());
        let first: IpAddr = address.parse().map_err(|_| no_network())?;
        let most = if first.is_ipv4() { 32 } else { 128 };
        let length = match length {
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().ok().filter(|length| *length <= most).ok_or_else(no_network)?
            }
            Some(_) => return Err(no_network()),
            None => most,
        };
        let network = Self { first, length };
        if length >= MAPPED.length && MAPPED.contains(first) {
            return Err(wrong("is IPv4 written as IPv6: write it as IPv4".to_owned()));
        }
        let masked = network.masked();
        if masked != network {
            return Err(wrong(format!("begins elsewhere: write {masked}")));
        }
        Ok(network)
    }

    /// Whether the address is in the network. An IPv4 address is in no IPv6 network, nor the other way round.
    pub const fn contains(&self, address: IpAddr) -> bool {
        match (self.first, address) {
            (IpAddr::V4(first), IpAddr::V4(address)) => {
                (first.to_bits() ^ address.to_bits()) & mask_v4(self.length) == 0
            }
            (IpAddr::V6(first), IpAddr::V6(address)) => {
                (first.to_bits() ^ address.to_bits()) & mask_v6(self.length) == 0
            }
            _ => false,
        }
    }

    fn masked(self) -> Self {
        let first = match self.first {
            IpAddr::V4(first) => IpAddr::V4(Ipv4Addr::from_bits(first.to_bits() & mask_v4(self.length))),
            IpAddr::V6(first) => IpAddr::V6(Ipv6Addr::from_bits(first.to_bits() & mask_v6(self.length))),
        };
        Self { first, ..self }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.length)
    }
}

/// Which addresses may be called.
///
/// Those of the public internet, and those that an allowed network names. An address that carries an IPv4 address
/// (v4-mapped, NAT64, 6to4) must be permitted itself, and so must the address that it carries.
///
/// ```
/// use operone_core::egress::{EgressPolicy, Network};
///
/// let policy = EgressPolicy::public().allowing(Network::parse("10.1.0.0/16")?);
/// assert!(policy.permits("1.1.1.1".parse().unwrap()));
/// assert!(policy.permits("10.1.2.3".parse().unwrap()));
/// assert!(!policy.permits("10.2.2.3".parse().unwrap()));
/// assert!(!policy.permits("::ffff:127.0.0.1".parse().unwrap()));
/// # Ok::<(), operone_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EgressPolicy {
    allowed: Vec<Network>,
}

impl EgressPolicy {
    /// Only the public internet.
    pub fn public() -> Self {
        Self::default()
    }

    /// Permits a network too, whatever it holds.
    #[must_use]
    pub fn allowing(mut self, network: Network) -> Self {
        self.allowed.push(network);
        self
    }

    /// Whether the address may be called.
    pub fn permits(&self, address: IpAddr) -> bool {
        (self.lists(address) || is_public(address))
            && carried(address).into_iter().flatten().all(|inner| self.permits(inner))
    }

    /// Whether the address may be called because an allowed network names it or the IPv4 address that it carries.
    pub fn names(&self, address: IpAddr) -> bool {
        let named =
            self.lists(address) || carried(address).into_iter().flatten().any(|inner| self.lists(inner));
        named && self.permits(address)
    }

    fn lists(&self, address: IpAddr) -> bool {
        self.allowed.iter().any(|network| network.contains(address))
    }
}

/// Whether the address belongs to the public internet, whatever it carries.
fn is_public(address: IpAddr) -> bool {
    let among = |networks: &[Network]| networks.iter().any(|network| network.contains(address));
    match address {
        IpAddr::V4(_) => !among(&DENIED_V4),
        IpAddr::V6(_) => among(&PUBLIC_V6) && !among(&DENIED_V6),
    }
}

/// The IPv4 addresses that traffic to this address may end at.
///
/// Where a network of its own is translated, RFC 8215 leaves open whether the address stands behind its 48 bits or
/// at the end. Both count, except for one that is not filled in.
fn carried(address: IpAddr) -> [Option<IpAddr>; 2] {
    let IpAddr::V6(v6) = address else { return [None, None] };
    let [_, _, a, b, c, d, e, f, _, g, h, _, w, x, y, z] = v6.octets();
    let at = |[a, b, c, d]: [u8; 4]| Some(IpAddr::V4(Ipv4Addr::new(a, b, c, d)));
    if MAPPED.contains(address) || TRANSLATED.contains(address) {
        [at([w, x, y, z]), None]
    } else if SIX_TO_FOUR.contains(address) {
        [at([a, b, c, d]), None]
    } else if TRANSLATED_LOCALLY.contains(address) {
        [[e, f, g, h], [w, x, y, z]].map(|octets| at(octets).filter(|inner| !inner.is_unspecified()))
    } else {
        [None, None]
    }
}

const fn v4(first: [u8; 4], length: u8) -> Network {
    let [a, b, c, d] = first;
    Network { first: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), length }
}

const fn v6(first: [u16; 8], length: u8) -> Network {
    let [a, b, c, d, e, f, g, h] = first;
    Network { first: IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h)), length }
}

const fn mask_v4(length: u8) -> u32 {
    !u32::MAX.unbounded_shr(length as u32)
}

const fn mask_v6(length: u8) -> u128 {
    !u128::MAX.unbounded_shr(length as u32)
}
