//! The networks that rules look for: one look-up for each prefix length that any of them has.

use std::net::IpAddr;

use super::index::{Map, Use};

/// Networks by how many bits of an address they fix.
#[derive(Default)]
pub(super) struct Networks {
    prefixes: Vec<(bool, u8)>,
    networks: Map<(bool, u8, u128), Vec<Use>>,
}

impl Networks {
    pub(super) fn insert(&mut self, address: IpAddr, prefix: u8, used: Use) {
        let (is_v6, bits) = bits_of(address);
        if !self.prefixes.contains(&(is_v6, prefix)) {
            self.prefixes.push((is_v6, prefix));
        }
        self.networks.entry((is_v6, prefix, first_bits(bits, prefix))).or_default().push(used);
    }

    /// Tells `found` of every network that the address lies in; `false` ends a network's uses.
    pub(super) fn find(&self, address: IpAddr, mut found: impl FnMut(Use) -> bool) {
        let (is_v6, bits) = bits_of(address);
        for &(of_v6, prefix) in self.prefixes.iter().filter(|(of_v6, _)| *of_v6 == is_v6) {
            if let Some(uses) = self.networks.get(&(of_v6, prefix, first_bits(bits, prefix))) {
                uses.iter().all(|used| found(*used));
            }
        }
    }
}

/// Whether it is an IPv6 address, and its bits from the top.
fn bits_of(address: IpAddr) -> (bool, u128) {
    match address {
        IpAddr::V4(address) => (false, u128::from(address.to_bits()) << 96),
        IpAddr::V6(address) => (true, address.to_bits()),
    }
}

fn first_bits(bits: u128, prefix: u8) -> u128 {
    bits & u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0)
}
