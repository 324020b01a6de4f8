//! Where a webhook may be.

use analyzer::webhooks::target::{BadTarget, Target, Unresolved, permitted};
use service::http::Networks;

fn none() -> Networks {
    Networks::parse("").unwrap()
}

#[test]
fn only_addresses_that_anybody_can_reach_are_permitted() {
    let public = [
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
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "203.0.114.0",
        "223.255.255.255",
        "2606:4700:4700::1111",
        "2001:4860:4860::8888",
        "2a00::1",
        "2003::1",
        "3fff:1000::1",
    ];
    let private = [
        // Whatever resolves to nowhere, and this host.
        "0.0.0.0",
        "0.1.2.3",
        "127.0.0.1",
        "127.255.255.254",
        "::",
        "::1",
        // Neighbours.
        "10.0.0.1",
        "10.255.255.255",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.0.1",
        "192.168.255.255",
        "100.64.0.1",
        "100.127.255.255",
        "fc00::1",
        "fd00:ec2::254",
        "fdff::1",
        // Link-local, clouds' metadata among them.
        "169.254.169.254",
        "169.254.0.1",
        "fe80::1",
        "febf::1",
        "fec0::1",
        // Special purposes.
        "192.0.0.1",
        "192.0.0.192",
        "192.0.2.1",
        "192.88.99.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "ff02::1",
        "100::1",
        "2001:db8::1",
        "3fff::1",
        "5f00::1",
        // IPv4 inside IPv6: mapped, compatible, translated, tunnelled.
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:8.8.8.8",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::1",
        "2002:7f00:1::",
        "2002:808:808::1",
        "2001:0:4136:e378::1",
        "2001:20::1",
    ];
    for address in public {
        assert!(permitted(address.parse().unwrap(), &none()), "{address}");
    }
    for address in private {
        assert!(!permitted(address.parse().unwrap(), &none()), "{address}");
    }
}

#[test]
fn what_is_allowed_is_permitted_and_nothing_beside_it() {
    let allowed = Networks::parse("10.1.0.0/16, ::1").unwrap();
    for (address, is) in [
        ("10.1.2.3", true),
        ("10.2.0.0", false),
        ("::ffff:10.1.2.3", true),
        ("::1", true),
        ("127.0.0.1", false),
        ("8.8.8.8", true),
    ] {
        assert_eq!(permitted(address.parse().unwrap(), &allowed), is, "{address}");
    }
}

#[test]
fn urls_are_read_as_the_connection_will_be_made() {
    let target = Target::parse("http://Example.com:8080/a/b?c=d").unwrap();
    assert_eq!((target.host.as_str(), target.port, target.tls), ("Example.com", 8080, false));
    assert_eq!((target.authority.as_str(), target.path.as_str()), ("Example.com:8080", "/a/b?c=d"));
    let target = Target::parse("http://[2606:4700::1]").unwrap();
    assert_eq!((target.host.as_str(), target.port, target.path.as_str()), ("2606:4700::1", 80, "/"));
    assert_eq!(target.authority, "[2606:4700::1]");
    let long = format!("http://example.com/{}", "a".repeat(2_000));
    for (url, bad) in [
        ("", BadTarget::Shape),
        ("/hook", BadTarget::Shape),
        ("example.com", BadTarget::Shape),
        ("ftp://example.com/", BadTarget::Shape),
        ("file:///etc/passwd", BadTarget::Shape),
        ("gopher://example.com/", BadTarget::Shape),
        ("http://", BadTarget::Shape),
        ("http:///hook", BadTarget::Shape),
        ("http://example.com:0/", BadTarget::Shape),
        ("http://example.com:/", BadTarget::Shape),
        ("http://example.com:99999/", BadTarget::Shape),
        ("http://example.com/#there", BadTarget::Shape),
        ("http://exa mple.com/", BadTarget::Shape),
        ("http://example.com/\r\nx: y", BadTarget::Shape),
        (&long, BadTarget::Shape),
        ("http://me:secret@example.com/", BadTarget::Credentials),
        ("http://10.0.0.1@example.com/", BadTarget::Credentials),
        ("http://127.0.0.1/", BadTarget::Private),
        ("http://127.0.0.1:8009/api", BadTarget::Private),
        ("http://169.254.169.254/latest/meta-data/", BadTarget::Private),
        ("http://[::1]/", BadTarget::Private),
        ("http://[::ffff:10.0.0.1]/", BadTarget::Private),
    ] {
        assert_eq!(Target::checked(url, &none()).err(), Some(bad), "{url}");
    }
    let https = Target::checked("https://example.com/", &none());
    match cfg!(feature = "tls") {
        true => assert_eq!(https.map(|target| (target.tls, target.port)), Ok((true, 443))),
        false => assert_eq!(https, Err(BadTarget::NoTls)),
    }
}

/// Names, and the spellings of addresses that only a resolver reads as such, are judged by what they resolve to.
#[tokio::test]
async fn what_a_name_resolves_to_is_checked() {
    for url in
        ["http://localhost/", "http://127.1/", "http://2130706433/", "http://0x7f.1/", "http://0177.0.0.1/"]
    {
        let target = Target::checked(url, &none()).unwrap();
        // Resolvers differ in which of these they know; none may lead anywhere.
        let resolved = target.resolve(&none()).await;
        assert!(matches!(resolved, Err(Unresolved::Forbidden | Unresolved::Unknown)), "{url} {resolved:?}");
    }
    let target = Target::checked("http://localhost:81/", &none()).unwrap();
    assert_eq!(target.resolve(&none()).await, Err(Unresolved::Forbidden));
    let allowed = Networks::parse("127.0.0.0/8,::1").unwrap();
    let address = target.resolve(&allowed).await.unwrap();
    assert!(address.ip().is_loopback() && address.port() == 81);
}
