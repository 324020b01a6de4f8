//! Whose guesses count against whom: the peer, or what a trusted proxy says of it.

use crate::kit::{ENV, Server, limits, start, start_with};
use service::auth::Throttle;
use service::http::Networks;
use std::net::IpAddr;
use std::time::{Duration, Instant};

const FORWARDED: &str = "X-Forwarded-For";

async fn behind(proxies: &str) -> Server {
    start_with(&[ENV, &[("AB_TRUSTED_PROXIES", proxies)]].concat(), limits(|_| {})).await
}

/// Whom the service takes for the client when these lines are sent.
async fn client(server: &Server, lines: &[&str]) -> String {
    let headers: Vec<(&str, &str)> = lines.iter().map(|line| (FORWARDED, *line)).collect();
    server.echo(&headers, b"{}").await.json()["client"].as_str().unwrap().to_owned()
}

/// The code that an unknown key meets which says it comes from there.
async fn guess(server: &Server, forwarded: &str) -> String {
    let headers = [("X-API-Key", "guess"), (FORWARDED, forwarded)];
    let answer = server.ask("POST", "/ingest", &headers, b"").await;
    answer.json()["error_code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn whoever_is_no_trusted_proxy_is_the_client_whatever_it_says() {
    for server in [start().await, behind("10.0.0.0/8, ::1").await] {
        for lines in [&["6.6.6.6"][..], &["6.6.6.6", "10.1.2.3"], &["127.0.0.1, 10.0.0.1"], &[]] {
            assert_eq!(client(&server, lines).await, "127.0.0.1", "{lines:?}");
        }
        server.stop().await;
    }
}

#[tokio::test]
async fn behind_trusted_proxies_the_last_address_that_is_none_of_them_counts() {
    let server = behind("127.0.0.0/8, 10.0.0.0/8, 2001:db8:ff::/48").await;
    for (lines, wanted) in [
        (&["9.9.9.9"][..], "9.9.9.9"),
        (&["6.6.6.6, 9.9.9.9"], "9.9.9.9"),
        (&["6.6.6.6, 9.9.9.9, 10.1.2.3"], "9.9.9.9"),
        (&["6.6.6.6,9.9.9.9 ,\t10.1.2.3"], "9.9.9.9"),
        // Several lines are one list.
        (&["6.6.6.6", "9.9.9.9"], "9.9.9.9"),
        (&["6.6.6.6", "9.9.9.9", "10.1.2.3, 10.1.2.4"], "9.9.9.9"),
        (&["9.9.9.9", "10.1.2.3"], "9.9.9.9"),
        // Proxies alone: the first of them.
        (&["10.9.9.9, 10.1.2.3"], "10.9.9.9"),
        (&[], "127.0.0.1"),
        // IPv6, a proxy of that kind, and IPv4 written as IPv6.
        (&["2001:db8::7, 2001:db8:ff::1"], "2001:db8::7"),
        (&["2001:DB8:0::7"], "2001:db8::7"),
        (&["::ffff:9.9.9.9, ::ffff:10.1.2.3"], "9.9.9.9"),
        // Ports, as some proxies write them.
        (&["9.9.9.9:50111, 10.1.2.3:443"], "9.9.9.9"),
        (&["[2001:db8::7]:50111"], "2001:db8::7"),
        // Nothing before what is no address is believed.
        (&["nonsense"], "127.0.0.1"),
        (&["6.6.6.6, nonsense"], "127.0.0.1"),
        (&["6.6.6.6, nonsense, 10.1.2.3"], "10.1.2.3"),
        (&["nonsense, 9.9.9.9"], "9.9.9.9"),
        (&["6.6.6.6", "\u{e9}"], "127.0.0.1"),
        (&["6.6.6.6", "\u{e9}, 10.1.2.3"], "10.1.2.3"),
        (&["6.6.6.6", "\u{e9}, 9.9.9.9"], "9.9.9.9"),
        (&["6.6.6.6", ""], "127.0.0.1"),
        (&["6.6.6.6,"], "127.0.0.1"),
        (&["6.6.6.6, 9.9.9.999"], "127.0.0.1"),
        (&["6.6.6.6, unknown"], "127.0.0.1"),
        (&["6.6.6.6, fe80::1%eth0"], "127.0.0.1"),
        (&["6.6.6.6, 9.9.9.9/32"], "127.0.0.1"),
    ] {
        assert_eq!(client(&server, lines).await, wanted, "{lines:?}");
    }
    server.stop().await;
}

#[test]
fn networks_of_either_kind_hold_the_addresses_of_theirs() {
    let inside = |networks: &str, address: &str| {
        Networks::parse(networks).unwrap().contains(address.parse::<IpAddr>().unwrap())
    };
    for (networks, address, wanted) in [
        ("10.0.0.0/8", "10.255.255.255", true),
        ("10.0.0.0/8", "11.0.0.0", false),
        ("10.0.0.0/8", "::ffff:10.0.0.1", true),
        ("::ffff:10.0.0.0/104", "10.0.0.1", true),
        ("::ffff:10.0.0.0/104", "11.0.0.1", false),
        ("::ffff:10.0.0.1", "10.0.0.1", true),
        ("2001:db8::/32", "2001:db8:1::1", true),
        ("2001:db8::/32", "2001:db9::1", false),
        ("0.0.0.0/0", "2001:db8::1", false),
        ("::/0", "9.9.9.9", false),
        ("::/0", "2001:db8::1", true),
        ("", "127.0.0.1", false),
    ] {
        assert_eq!(inside(networks, address), wanted, "{networks} {address}");
    }
    for wrong in ["10.0.0.0/33", "10.0.0/8", "::/129", "proxy.example", "10.0.0.1:80"] {
        assert!(Networks::parse(wrong).is_err(), "{wrong}");
    }
}

#[tokio::test]
async fn saying_to_be_a_thousand_others_frees_nobody_who_guesses() {
    let (server, begun) = (start().await, Instant::now());
    let mut passed = 0;
    for number in 0..1_000 {
        let told = guess(&server, &format!("6.6.{}.{}", number / 250, number % 250)).await;
        assert!(
            told == "unknown_key" || (number >= 20 && told == "too_many_unknown_keys"),
            "{number}: {told}"
        );
        passed += u64::from(told == "unknown_key");
    }
    // Twenty, and twenty more in every minute after the first.
    let minutes = 1 + begun.elapsed().as_secs() / 60;
    assert!((20..=20 * minutes).contains(&passed), "{passed} within {minutes}");
    server.stop().await;
    // Behind a proxy that adds the address it sees, to what it was sent or as a line of its own.
    let server = behind("127.0.0.0/8").await;
    for number in 0..100 {
        let wanted = if number < 20 { "unknown_key" } else { "too_many_unknown_keys" };
        assert_eq!(guess(&server, &format!("6.6.6.{number}, 9.9.9.9")).await, wanted, "{number}");
    }
    assert_eq!(guess(&server, "6.6.6.6, 9.9.9.8").await, "unknown_key", "its neighbour is not concerned");
    assert_eq!(guess(&server, "::ffff:9.9.9.9").await, "too_many_unknown_keys", "the same address");
    // A valid key is served whoever sends it.
    assert_eq!(server.echo(&[(FORWARDED, "9.9.9.9")], b"{}").await.status, 200);
    server.stop().await;
}

#[test]
fn the_addresses_of_a_whole_network_are_not_remembered_one_by_one() {
    let throttle = Throttle::with_capacity(100);
    let start = Instant::now();
    let address =
        |n: u32| IpAddr::from(std::net::Ipv6Addr::from((0x2001_0db8_u128 << 96) | (u128::from(n) << 64)));
    let passed = (0..1_000).filter(|n| throttle.unknown_key(address(*n), start).is_ok()).count();
    assert_eq!(passed, 100 + 20, "past what is remembered all together have as many as one");
    assert_eq!(throttle.remembered(), 100);
    // Who was known before is not concerned, and a minute later there is room.
    assert!(throttle.unknown_key(address(0), start).is_ok());
    let later = start + Duration::from_secs(61);
    assert!(throttle.unknown_key(address(2_000), later).is_ok());
    assert_eq!(throttle.remembered(), 1);
}
