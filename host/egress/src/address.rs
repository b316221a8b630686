//! Which addresses belong to the public internet. Everything else (this machine, its network, the cloud's control
//! plane, and each disguise of those in IPv6) is refused, because a guest that reaches it speaks with the host's
//! authority.
//!
//! The lists are the IANA special-purpose registries, as the standard library's unstable `is_global` has them, and
//! stricter where that leaves room: IPv6 is closed (only `2000::/3` is public), and anything that embeds an IPv4 address
//! is refused whatever that address is, for nothing a guest may reach is only reachable so.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The name of the non-public range that `address` is in; none for a public address.
#[must_use]
pub fn non_public_range(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => non_public_v4(address),
        IpAddr::V6(address) => non_public_v6(address),
    }
}

fn non_public_v4(address: Ipv4Addr) -> Option<&'static str> {
    let range = match address.octets() {
        [0, 0, 0, 0] => "unspecified",
        [0, ..] => "this network",
        [127, ..] => "loopback",
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => "private",
        // Holds the metadata service of most clouds, 169.254.169.254.
        [169, 254, ..] => "link-local",
        // Holds the metadata service of Alibaba Cloud, 100.100.100.200.
        [100, 64..=127, ..] => "carrier-grade NAT",
        // A public address by the registry, and the control plane of every machine on Azure.
        [168, 63, 129, 16] => "cloud metadata",
        // Holds the metadata service of Oracle Cloud, 192.0.0.192.
        [192, 0, 0, _] => "protocol assignments",
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => "documentation",
        [198, 18..=19, ..] => "benchmarking",
        [192, 88, 99, _] => "6to4 relay",
        [224..=239, ..] => "multicast",
        [255, 255, 255, 255] => "broadcast",
        [240..=255, ..] => "reserved",
        _ => return None,
    };
    Some(range)
}

fn non_public_v6(address: Ipv6Addr) -> Option<&'static str> {
    let range = match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => "unspecified",
        [0, 0, 0, 0, 0, 0, 0, 1] => "loopback",
        [0, 0, 0, 0, 0, 0xffff, ..] => "IPv4-mapped",
        [0, 0, 0, 0, 0xffff, 0, ..] => "IPv4-translated",
        [0, 0, 0, 0, 0, 0, ..] => "IPv4-compatible",
        [0x64, 0xff9b, ..] => "NAT64",
        [0x100, 0, 0, 0, ..] | [0x100, 0, 0, 1, ..] => "discard-only",
        [0x2001, 0, ..] => "Teredo",
        [0x2001, 2, 0, ..] => "benchmarking",
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0x0fff, ..] => "documentation",
        [0x2001, 0..=0x01ff, ..] => "protocol assignments",
        [0x2002, ..] => "6to4",
        [0x5f00, ..] => "segment routing",
        [0xfc00..=0xfdff, ..] => "unique local",
        [0xfe80..=0xfebf, ..] => "link-local",
        [0xfec0..=0xfeff, ..] => "site-local",
        [0xff00..=0xffff, ..] => "multicast",
        [0x2000..=0x3fff, ..] => return None,
        _ => "reserved",
    };
    Some(range)
}

/// Whether a name is by itself a name of this machine, its network or a cloud's metadata service, wherever it resolves.
pub(crate) fn is_internal_name(name: &str) -> bool {
    const SUFFIXES: [&str; 11] = [
        "localhost",
        "localdomain",
        "local",
        "internal",
        "intranet",
        "home.arpa",
        "svc",
        "metadata.goog",
        "metadata.tencentyun.com",
        "metadata.packet.net",
        "metadata.platformequinix.com",
    ];
    const NAMES: [&str; 4] = ["metadata", "instance-data", "rancher-metadata", "kubernetes"];
    let ends = |suffix: &str| name.strip_suffix(suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    NAMES.contains(&name) || SUFFIXES.iter().any(|suffix| ends(suffix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(text: &str) -> Option<&'static str> {
        non_public_range(text.parse().unwrap())
    }

    #[test]
    fn every_special_range_is_refused_at_both_of_its_ends() {
        for (first, last) in [
            ("0.0.0.0", "0.255.255.255"),
            ("10.0.0.0", "10.255.255.255"),
            ("100.64.0.0", "100.127.255.255"),
            ("127.0.0.0", "127.255.255.255"),
            ("169.254.0.0", "169.254.255.255"),
            ("172.16.0.0", "172.31.255.255"),
            ("192.0.0.0", "192.0.0.255"),
            ("192.0.2.0", "192.0.2.255"),
            ("192.88.99.0", "192.88.99.255"),
            ("192.168.0.0", "192.168.255.255"),
            ("198.18.0.0", "198.19.255.255"),
            ("198.51.100.0", "198.51.100.255"),
            ("203.0.113.0", "203.0.113.255"),
            ("224.0.0.0", "239.255.255.255"),
            ("240.0.0.0", "255.255.255.255"),
            ("168.63.129.16", "168.63.129.16"),
            ("::", "::ffff:ffff"),
            ("::ffff:0:0", "::ffff:255.255.255.255"),
            ("::ffff:0:0:0", "::ffff:0:ffff:ffff"),
            ("64:ff9b::", "64:ff9b::ffff:ffff"),
            ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff"),
            ("100::", "100::ffff:ffff:ffff:ffff"),
            ("2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ] {
            assert!(range(first).is_some(), "{first}");
            assert!(range(last).is_some(), "{last}");
        }
    }

    #[test]
    fn the_neighbours_of_the_special_ranges_are_public() {
        for public in [
            "1.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.0.3.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "203.0.112.255",
            "203.0.114.0",
            "223.255.255.255",
            "8.8.8.8",
            "2001:200::",
            "2001:4860:4860::8888",
            "2003::1",
            "2606:4700::1111",
            "2a00:1450::1",
            "3ffe::1",
            "3fff:1000::",
        ] {
            assert_eq!(range(public), None, "{public}");
        }
    }

    #[test]
    fn names_of_this_machine_and_of_metadata_services_are_internal() {
        for name in [
            "localhost",
            "a.localhost",
            "localhost.localdomain",
            "printer.local",
            "db.home.arpa",
            "wiki.intranet",
            "kubernetes",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
            "metadata",
            "metadata.google.internal",
            "metadata.goog",
            "instance-data",
            "instance-data.ec2.internal",
            "rancher-metadata",
            "metadata.tencentyun.com",
            "metadata.packet.net",
            "metadata.platformequinix.com",
        ] {
            assert!(is_internal_name(name), "{name}");
        }
        for name in ["example.com", "notlocalhost", "local.example.com", "internal.io", "metadata.example.com"] {
            assert!(!is_internal_name(name), "{name}");
        }
    }

    /// The standard library's stable predicates, where it has any: whatever one of them names is not public.
    fn std_says_special(address: Ipv4Addr) -> bool {
        address.is_loopback()
            || address.is_private()
            || address.is_link_local()
            || address.is_multicast()
            || address.is_broadcast()
            || address.is_documentation()
            || address.is_unspecified()
    }

    proptest! {
        #[test]
        fn nothing_that_std_calls_special_is_public(bits: u32) {
            let address = Ipv4Addr::from(bits);
            prop_assert!(!std_says_special(address) || non_public_range(address.into()).is_some());
        }

        #[test]
        fn no_ipv4_address_is_public_in_an_ipv6_disguise(bits: u32) {
            let v4 = Ipv4Addr::from(bits);
            let [a, b, c, d] = v4.octets();
            let high = u16::from_be_bytes([a, b]);
            let low = u16::from_be_bytes([c, d]);
            for disguise in [
                v4.to_ipv6_mapped(),
                v4.to_ipv6_compatible(),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
                Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, high, low),
                Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
                Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, !high, !low),
                Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, high, low),
            ] {
                prop_assert!(non_public_range(disguise.into()).is_some(), "{disguise}");
            }
        }

        #[test]
        fn only_global_unicast_is_public_in_ipv6(bits: u128) {
            let address = Ipv6Addr::from(bits);
            if non_public_range(address.into()).is_none() {
                prop_assert_eq!(bits >> 125, 1);
            }
        }
    }
}
