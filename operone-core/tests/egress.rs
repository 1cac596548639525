//! The egress address table, case by case.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::IpAddr;

use operone_core::egress::{EgressPolicy, Network};

fn address(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|_| panic!("{text}"))
}

fn allowing(networks: &[&str]) -> EgressPolicy {
    networks
        .iter()
        .fold(EgressPolicy::public(), |policy, network| policy.allowing(Network::parse(network).unwrap()))
}

#[test]
fn only_public_addresses_are_permitted() {
    let denied = [
        "0.0.0.0",
        "0.255.255.255",
        "10.0.0.0",
        "10.255.255.255",
        "100.64.0.0",
        "100.100.100.200",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.255",
        "169.254.0.0",
        "169.254.169.254",
        "169.254.255.255",
        "172.16.0.0",
        "172.31.255.255",
        "192.0.0.0",
        "192.0.0.192",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.0",
        "192.168.255.255",
        "198.18.0.0",
        "198.19.255.255",
        "198.51.100.7",
        "203.0.113.7",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",
        "::127.0.0.1",
        "::8.8.8.8",
        "::ffff:0.0.0.0",
        "::ffff:10.1.2.3",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:0:8.8.8.8",
        "64:ff9b::10.0.0.1",
        "64:ff9b::127.0.0.1",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::127.0.0.1",
        "64:ff9b:1::8.8.8.8",
        "64:ff9b:1:ffff:ffff:ffff:ffff:ffff",
        "64:ff9b:2::1",
        "100::",
        "100::1",
        "1fff:ffff::1",
        "2001::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:10::1",
        "2001:1ff:ffff::1",
        "2001:db8::",
        "2001:db8:ffff:ffff::1",
        "2002:a00:1::",
        "2002:7f00:1::1",
        "2002:a9fe:a9fe::1",
        "2002:c0a8:101::1",
        "2002:e000:1::1",
        "3fff::1",
        "3fff:fff::1",
        "4000::1",
        "5f00::1",
        "fc00::",
        "fd00:ec2::254",
        "fdff:ffff::1",
        "fe80::",
        "fe80::1",
        "febf:ffff::1",
        "fec0::1",
        "feff:ffff::1",
        "ff00::",
        "ff02::1",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    ];
    let permitted = [
        "1.0.0.0",
        "1.1.1.1",
        "8.8.8.8",
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
        "191.255.255.255",
        "192.0.1.0",
        "192.0.3.0",
        "192.88.98.255",
        "192.88.100.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "198.51.99.255",
        "198.51.101.0",
        "203.0.112.255",
        "203.0.114.0",
        "223.255.255.255",
        "2000::",
        "2001:200::1",
        "2001:4860:4860::8888",
        "2001:db7:ffff::1",
        "2001:db9::1",
        "2002:808:808::1",
        "2003::1",
        "2606:4700:4700::1111",
        "3ffe:ffff::1",
        "3fff:1000::1",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
    ];
    let policy = EgressPolicy::public();
    for (texts, expected) in [(&denied[..], false), (&permitted[..], true)] {
        for text in texts {
            assert_eq!(policy.permits(address(text)), expected, "{text}");
            assert!(!policy.names(address(text)), "{text} is named by nothing");
        }
    }
}

#[test]
fn an_allowed_network_permits_what_it_holds_and_no_more() {
    for (networks, text, permitted, named) in [
        (&["127.0.0.1/32"][..], "127.0.0.1", true, true),
        (&["127.0.0.1"], "127.0.0.1", true, true),
        (&["127.0.0.1/32"], "127.0.0.2", false, false),
        (&["127.0.0.0/8"], "::1", false, false),
        (&["::1/128"], "::1", true, true),
        (&["::1/128"], "127.0.0.1", false, false),
        (&["127.0.0.1/32"], "::ffff:127.0.0.1", true, true),
        (&["10.0.0.0/8"], "64:ff9b::10.0.0.1", true, true),
        (&["10.0.0.0/8"], "2002:a00:1::1", true, true),
        (&["10.0.0.0/8"], "::10.0.0.1", false, false),
        (&["fd00::/8", "10.0.0.0/8"], "fd12::1", true, true),
        (&["fd00::/8", "10.0.0.0/8"], "fc12::1", false, false),
        (&["8.8.8.8/32"], "8.8.8.8", true, true),
        (&["8.8.8.8/32"], "8.8.4.4", true, false),
        (&["8.8.8.8/32"], "::ffff:8.8.8.8", true, true),
        (&["0.0.0.0/0"], "169.254.169.254", true, true),
        (&["0.0.0.0/0"], "fe80::1", false, false),
        // Naming the wrapper does not name what it carries.
        (&["::/0"], "::1", true, true),
        (&["::/0"], "::ffff:127.0.0.1", false, false),
        (&["64:ff9b::/96"], "64:ff9b::127.0.0.1", false, false),
        (&["2002::/16"], "2002:7f00:1::1", false, false),
        (&["2002::/16"], "2002:808:808::1", true, true),
        (&["64:ff9b:1::/48"], "64:ff9b:1::8.8.8.8", true, true),
        (&["64:ff9b:1::/48"], "64:ff9b:1::10.0.0.1", false, false),
        (&["64:ff9b:1::/48"], "64:ff9b:1:a00:0:100::", false, false),
        (&["64:ff9b:1::/48"], "64:ff9b:1:808:8:800::", true, true),
        (&["64:ff9b:1::/48"], "64:ff9b:1:a00:0:100:808:808", false, false),
    ] {
        let policy = allowing(networks);
        let found = (policy.permits(address(text)), policy.names(address(text)));
        assert_eq!(found, (permitted, named), "{text} where {networks:?} is allowed");
    }
}

#[test]
fn a_network_has_one_spelling() {
    for (text, shown) in [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("10.1.2.3", "10.1.2.3/32"),
        ("FD00::/8", "fd00::/8"),
        ("::/0", "::/0"),
        ("0:0::1", "::1/128"),
    ] {
        assert_eq!(Network::parse(text).unwrap().to_string(), shown);
    }
    for wrong in [
        "",
        "/8",
        "10.0.0.0/",
        "10.0.0.0/33",
        "10.0.0.0/+8",
        "10.0.0.0/-1",
        "10.0.0.0/8/8",
        "10.0.0.0/255.0.0.0",
        "10.0.0.1/8",
        " 10.0.0.0/8",
        "10.0.0/8",
        "010.0.0.0/8",
        "localhost",
        "fd00::1/8",
        "::/129",
        "::/999",
        "::ffff:10.0.0.0/104",
        "[::1]",
        "fe80::1%eth0",
    ] {
        let error = Network::parse(wrong).unwrap_err();
        assert_eq!(error.code(), "invalid_network", "{wrong}");
    }
    assert!(Network::parse("10.1.0.0/8").unwrap_err().message().ends_with("write 10.0.0.0/8"));
}
