//! How many sockets each address has, where `limits.connections_per_address` bounds that. A seat is taken when a socket is
//! accepted, before a byte of it is read, and given back when it is closed, whoever has it then.
//!
//! Of IPv6 the first 64 bits are counted: whoever has one address there has all of its network.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use dashmap::{DashMap, mapref::entry::Entry};

/// See the module's text.
#[derive(Debug, Default)]
pub struct Addresses {
    taken: DashMap<IpAddr, u32>,
}

/// A place among the sockets of an address, until it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    addresses: Arc<Addresses>,
    address: IpAddr,
}

impl Addresses {
    /// A seat, unless the address has `most` already.
    pub(super) fn seat(self: &Arc<Self>, address: IpAddr, most: u32) -> Option<Seat> {
        let address = network(address);
        let mut taken = self.taken.entry(address).or_insert(0);
        if *taken >= most {
            return None;
        }
        *taken += 1;
        Some(Seat { addresses: Arc::clone(self), address })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Entry::Occupied(mut taken) = self.addresses.taken.entry(self.address) {
            *taken.get_mut() -= 1;
            if *taken.get() == 0 {
                taken.remove();
            }
        }
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_seats_and_gets_them_back() {
        let addresses = Arc::new(Addresses::default());
        let ann: IpAddr = "10.0.0.1".parse().expect("an address");
        let first = addresses.seat(ann, 2).expect("room");
        let second = addresses.seat("::ffff:10.0.0.1".parse().expect("an address"), 2).expect("room");
        assert!(addresses.seat(ann, 2).is_none());
        assert!(addresses.seat("10.0.0.2".parse().expect("an address"), 2).is_some(), "somebody else");
        drop(first);
        let third = addresses.seat(ann, 2).expect("room again");
        assert!(addresses.seat(ann, 2).is_none());
        drop((second, third));
        assert!(addresses.taken.is_empty(), "nobody is remembered");
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let addresses = Arc::new(Addresses::default());
        let _one = addresses.seat("2001:db8:1:2::1".parse().expect("an address"), 1).expect("room");
        assert!(addresses.seat("2001:db8:1:2:ffff::9".parse().expect("an address"), 1).is_none());
        assert!(addresses.seat("2001:db8:1:3::1".parse().expect("an address"), 1).is_some());
    }
}
