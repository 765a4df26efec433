//! What kind of network an address belongs to, whatever form it is written in: [`AddressKind`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// Which network an address leads into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AddressKind {
    /// The internet.
    Public,
    /// This machine.
    Loopback,
    /// A network of one's own: RFC 1918, unique local, carrier-grade NAT, benchmarking.
    Private,
    /// No place that files come from: link-local with the metadata services of clouds, multicast, unspecified, documentation,
    /// reserved.
    Never,
}

use AddressKind::{Loopback, Never, Private, Public};

/// The first that fits decides; what fits none is public.
const V4: [(Ipv4Net, AddressKind); 17] = [
    // The metadata services of two clouds, which lie outside of 169.254.0.0/16.
    (v4([100, 100, 100, 200], 32), Never),
    (v4([168, 63, 129, 16], 32), Never),
    (v4([0, 0, 0, 0], 8), Never),
    (v4([10, 0, 0, 0], 8), Private),
    (v4([100, 64, 0, 0], 10), Private),
    (v4([127, 0, 0, 0], 8), Loopback),
    (v4([169, 254, 0, 0], 16), Never),
    (v4([172, 16, 0, 0], 12), Private),
    (v4([192, 0, 0, 0], 24), Never),
    (v4([192, 0, 2, 0], 24), Never),
    (v4([192, 88, 99, 0], 24), Never),
    (v4([192, 168, 0, 0], 16), Private),
    (v4([198, 18, 0, 0], 15), Private),
    (v4([198, 51, 100, 0], 24), Never),
    (v4([203, 0, 113, 0], 24), Never),
    (v4([224, 0, 0, 0], 4), Never),
    (v4([240, 0, 0, 0], 4), Never),
];

/// The first that fits decides; what fits none is no unicast address of the internet.
const V6: [(Ipv6Net, AddressKind); 13] = [
    (v6([0, 0, 0, 0, 0, 0, 0, 1], 128), Loopback),
    // The metadata services of clouds that lie among the unique local addresses.
    (v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254], 128), Never),
    (v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128), Never),
    (v6([0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe], 128), Never),
    (v6([0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42], 128), Never),
    (v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7), Private),
    (v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10), Private),
    // NAT64 with a prefix of one's own: where the address lies in it is not known.
    (v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48), Private),
    // Teredo and other protocols that are no servers.
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), Never),
    (v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), Never),
    (v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), Never),
    (v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3), Public),
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 0), Never),
];

impl AddressKind {
    /// Tells the kind of an address; one that carries an IPv4 address within is of that one's kind.
    pub(crate) fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => of_v4(address),
            IpAddr::V6(address) => of_v6(address),
        }
    }
}

fn of_v4(address: Ipv4Addr) -> AddressKind {
    let found = V4.iter().find(|(net, _)| net.contains(&address));
    found.map_or(Public, |(_, kind)| *kind)
}

fn of_v6(address: Ipv6Addr) -> AddressKind {
    if let Some(mapped) = address.to_ipv4_mapped() {
        return of_v4(mapped);
    }
    if let Some(carried) = carried(address) {
        return match of_v4(carried) {
            // A translator cannot lead to this machine in good faith.
            Loopback => Never,
            kind => kind,
        };
    }
    let found = V6.iter().find(|(net, _)| net.contains(&address));
    found.map_or(Never, |(_, kind)| *kind)
}

/// The IPv4 address within a compatible, translated, NAT64 or 6to4 address.
fn carried(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let last = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Some(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => last(high, low),
        _ => None,
    }
}

const fn v4(address: [u8; 4], bits: u8) -> Ipv4Net {
    let [a, b, c, d] = address;
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), bits)
}

const fn v6(address: [u16; 8], bits: u8) -> Ipv6Net {
    let [a, b, c, d, e, f, g, h] = address;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Addresses by what they lead to.
    const TABLE: [(AddressKind, &[&str]); 4] = [
        (
            Public,
            &[
                "1.1.1.1",
                "93.184.216.34",
                "100.63.255.255",
                "100.128.0.1",
                "172.15.0.1",
                "172.32.0.1",
                "192.167.1.1",
                "198.17.0.1",
                "223.255.255.255",
                "2606:4700::1111",
                "2a00:1450::1",
                "::ffff:1.1.1.1",
                "64:ff9b::1.1.1.1",
                "2002:101:101::1",
                "::1.1.1.1",
                "::ffff:0:1.1.1.1",
            ],
        ),
        (
            Loopback,
            &["127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1"],
        ),
        (
            Private,
            &[
                "10.0.0.1",
                "172.16.0.1",
                "172.31.255.255",
                "192.168.0.1",
                "100.64.0.1",
                "100.127.255.255",
                "198.18.0.1",
                "fc00::1",
                "fd12:3456::1",
                "fec0::1",
                "::ffff:10.0.0.1",
                "::10.0.0.1",
                "64:ff9b::10.0.0.1",
                "2002:a00:1::1",
                "::ffff:0:192.168.1.1",
                "64:ff9b:1::10.0.0.1",
                "::ffff:100.64.0.1",
            ],
        ),
        (
            Never,
            &[
                "0.0.0.0",
                "0.1.2.3",
                "169.254.169.254",
                "169.254.0.1",
                "100.100.100.200",
                "168.63.129.16",
                "192.0.0.192",
                "192.0.2.1",
                "192.88.99.1",
                "198.51.100.1",
                "203.0.113.1",
                "224.0.0.1",
                "239.255.255.255",
                "240.0.0.1",
                "255.255.255.255",
                "::",
                "fe80::1",
                "ff02::1",
                "fd00:ec2::254",
                "fd20:ce::254",
                "fd00:c1::a9fe:a9fe",
                "fd00:42::42",
                "2001::1",
                "2001:db8::1",
                "3fff::1",
                "100::1",
                "4000::1",
                "::ffff:169.254.169.254",
                "::169.254.169.254",
                "64:ff9b::169.254.169.254",
                "2002:a9fe:a9fe::1",
                "::ffff:0:169.254.169.254",
                "64:ff9b::127.0.0.1",
                "2002:7f00:1::1",
                "::127.0.0.1",
                "::ffff:0.0.0.0",
            ],
        ),
    ];

    #[test]
    fn every_form_of_an_address_is_of_the_kind_that_it_leads_to() {
        for (kind, addresses) in TABLE {
            for address in addresses {
                let parsed: IpAddr = address.parse().expect("an address");
                assert_eq!(AddressKind::of(parsed), kind, "{address}");
            }
        }
    }
}
