//! What may be held at a time by each of many: [`Places`].

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// An address as limits count it: of IPv6 the /64, for that much one machine has to itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct AddressBlock(IpAddr);

impl AddressBlock {
    /// Gives the block of an address.
    pub(crate) fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => {
                let network = u128::from(address) >> 64 << 64;
                IpAddr::V6(Ipv6Addr::from(network))
            }
            v4 => v4,
        })
    }
}

/// Counts what each of many holds at a time. Who holds nothing takes no memory.
pub(crate) struct Places<K> {
    /// By holder; none is 0. Locked for the length of one call.
    held: Arc<Mutex<HashMap<K, usize>>>,
}

/// One place; it is given back when this is dropped.
pub(crate) struct Place<K: Eq + Hash> {
    held: Arc<Mutex<HashMap<K, usize>>>,
    holder: K,
}

impl<K: Eq + Hash + Clone> Places<K> {
    pub(crate) fn new() -> Self {
        let held = Arc::default();
        Self { held }
    }

    /// Takes a place; `None` while the holder has `places_max` already.
    pub(crate) fn take(&self, holder: K, places_max: usize) -> Option<Place<K>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let places = held.get(&holder).copied().unwrap_or(0);
        if places >= places_max {
            return None;
        }
        held.insert(holder.clone(), places + 1);
        Some(Place {
            held: Arc::clone(&self.held),
            holder,
        })
    }
}

impl<K: Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(places) = held.get_mut(&self.holder) {
            *places -= 1;
            if *places == 0 {
                held.remove(&self.holder);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_back_and_leave_no_trace() {
        let places = Places::new();
        let first = places.take("a", 2).expect("room for one");
        let second = places.take("a", 2).expect("room for two");
        assert!(places.take("a", 2).is_none());
        let other = places.take("b", 2).expect("each holder has its own");
        drop(first);
        let third = places.take("a", 2).expect("one was given back");
        drop((second, third, other));
        assert!(places.held.lock().unwrap().is_empty());
    }

    #[test]
    fn an_ipv6_network_is_one_address_and_mapped_ipv4_is_ipv4() {
        let block = |text: &str| AddressBlock::of(text.parse().expect("an address"));
        assert_eq!(block("2001:db8::1"), block("2001:db8::ffff:1"));
        assert_ne!(block("2001:db8::1"), block("2001:db8:0:1::1"));
        assert_eq!(block("::ffff:192.0.2.1"), block("192.0.2.1"));
        assert_ne!(block("192.0.2.1"), block("192.0.2.2"));
    }
}
