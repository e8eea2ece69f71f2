//! The proxies whose word about a request is believed (`--trusted-proxy`).

use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;
use std::str::FromStr;

/// Peers that are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrustedProxy {
    /// Whoever connects to a unix socket.
    Unix,
    /// All addresses that share the first bits of this one.
    Network {
        /// One of the addresses.
        address: IpAddr,
        /// How many bits they share.
        bits: u8,
    },
}

/// Why a text names no proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadTrustedProxy(String);

impl Display for BadTrustedProxy {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "expected an IP address, a network such as `10.0.0.0/8`, or `unix`, not {:?}",
            self.0
        )
    }
}

impl std::error::Error for BadTrustedProxy {}

impl FromStr for TrustedProxy {
    type Err = BadTrustedProxy;

    fn from_str(text: &str) -> Result<Self, BadTrustedProxy> {
        let bad = || BadTrustedProxy(text.chars().take(100).collect());
        if text == "unix" {
            return Ok(Self::Unix);
        }
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        let bits_max = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => bits_max,
            // `parse` would accept a sign, too.
            Some(bits) if bits.bytes().all(|byte| byte.is_ascii_digit()) => {
                bits.parse().map_err(|_| bad())?
            }
            Some(_) => return Err(bad()),
        };
        if bits > bits_max { Err(bad()) } else { Ok(Self::Network { address, bits }) }
    }
}

impl Display for TrustedProxy {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix => f.write_str("unix"),
            Self::Network { address, bits } => write!(f, "{address}/{bits}"),
        }
    }
}

impl TrustedProxy {
    /// Whether this address is one of them. An IPv4 address may come in the form of IPv6.
    #[must_use]
    pub fn is_at(&self, peer: IpAddr) -> bool {
        let Self::Network { address, bits } = self else { return false };
        match (address, peer.to_canonical()) {
            (IpAddr::V4(address), IpAddr::V4(peer)) => {
                let differing = address.to_bits() ^ peer.to_bits();
                differing.checked_shr(32 - u32::from(*bits)).unwrap_or(0) == 0
            }
            (IpAddr::V6(address), IpAddr::V6(peer)) => {
                let differing = address.to_bits() ^ peer.to_bits();
                differing.checked_shr(128 - u32::from(*bits)).unwrap_or(0) == 0
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_contains_the_addresses_with_its_bits_and_no_others() {
        for (network, inside, outside) in [
            (
                "10.0.0.0/8",
                &["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"][..],
                &["11.0.0.0", "9.255.255.255", "::10.0.0.1"][..],
            ),
            ("10.1.2.3/8", &["10.9.9.9"], &["11.1.2.3"]),
            ("127.0.0.1", &["127.0.0.1"], &["127.0.0.2", "::1"]),
            ("0.0.0.0/0", &["1.2.3.4"], &["::1"]),
            ("fd00::/8", &["fd12::1"], &["fe00::1", "10.0.0.1"]),
            ("::1", &["::1"], &["::2", "127.0.0.1"]),
            ("::/0", &["::1", "fe80::1"], &["1.2.3.4"]),
            ("192.168.1.0/31", &["192.168.1.1"], &["192.168.1.2"]),
            ("unix", &[], &["127.0.0.1", "::1"]),
        ] {
            let proxy: TrustedProxy = network.parse().unwrap();
            for address in inside {
                assert!(proxy.is_at(address.parse().unwrap()), "{address} in {network}");
            }
            for address in outside {
                assert!(!proxy.is_at(address.parse().unwrap()), "{address} not in {network}");
            }
        }
    }

    #[test]
    fn what_names_no_network_is_refused() {
        for text in [
            "",
            "localhost",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0.0/-1",
            "10.0.0/8",
            "::/129",
            "*",
            "unix:/a",
        ] {
            assert!(text.parse::<TrustedProxy>().is_err(), "{text}");
        }
    }
}
