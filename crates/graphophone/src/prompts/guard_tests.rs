//! What the guard refuses and what its refusals say.

use std::path::Path;

use proptest::prelude::*;

use super::*;

#[test]
fn default_deny_refuses_every_spelling_of_an_address_that_is_not_public() {
    let guard = public_https();
    let hosts = [
        "127.0.0.1",
        "127.0.0.1.",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "017700000001",
        "0.0.0.0",
        "0",
        "[::]",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[2001:0:7f00:1::]",
        "169.254.169.254",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "224.0.0.1",
        "[ff02::1]",
        "255.255.255.255",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "app.localhost",
        "１２７.0.0.1",
        "①②⑦.0.0.1",
        "127。0。0。1",
        "%31%32%37.0.0.1",
    ];
    for host in hosts {
        for suffix in ["/x.wav", ":8443/x.wav"] {
            let uri = format!("https://{host}{suffix}");
            let refusal = guard.check_uri(&uri).expect_err(&uri);
            assert!(matches!(refusal, Refusal::LiteralNotAllowed { .. }), "{uri}: {refusal:?}");
        }
    }
    guard.check_uri("https://cdn.example.com/x.wav").unwrap();
    guard.check_uri("https://8.8.8.8/x.wav").unwrap();
}

#[test]
fn the_corpus_rows_about_server_side_requests_are_answered_as_its_index_says() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus/json");
    let Ok(index) = std::fs::read_to_string(corpus.join("index.json")) else {
        eprintln!("skipped: no corpus at {}", corpus.display());
        return;
    };
    let index: Vec<serde_json::Value> = serde_json::from_str(&index).unwrap();
    let guard = public_https();
    let mut rows = 0;
    for row in &index {
        let file = row["file"].as_str().unwrap();
        let is_ours = ["_ssrf_", "_uri_"].iter().any(|part| file.contains(part));
        let body = std::fs::read(corpus.join(file)).unwrap();
        let Ok(body) = serde_json::from_slice::<serde_json::Value>(&body) else { continue };
        // Property and type faults (missing, null, number) are the JSON reader's.
        let Some(uri) = body["prompts"][0]["mediaInfo"]["uri"].as_str() else { continue };
        if is_ours && row["alt"] == "" {
            let accepted = guard.check_uri(uri).is_ok();
            assert_eq!(accepted, row["status"] == 200, "{file}: {uri}");
            rows += 1;
        }
    }
    assert!(rows > 30, "only {rows} rows were looked at");
}

#[test]
fn a_uri_that_parsers_read_differently_is_refused_before_it_is_parsed() {
    let guard = public_https();
    let table = [
        ("https://cdn.test\\@127.0.0.1/x", UriFault::SpaceControlOrBackslash),
        ("https://cdn.te\tst/x", UriFault::SpaceControlOrBackslash),
        ("https://cdn.test/x\r\nHost: y", UriFault::SpaceControlOrBackslash),
        (" https://cdn.test/x", UriFault::SpaceControlOrBackslash),
        ("https://cdn.test/a b", UriFault::SpaceControlOrBackslash),
        ("https:cdn.test/x", UriFault::NotAbsolute),
        ("https:/cdn.test/x", UriFault::NotAbsolute),
        ("https:///cdn.test/x", UriFault::NotAbsolute),
        ("cdn.test/x", UriFault::NotAbsolute),
        ("//cdn.test/x", UriFault::NotAbsolute),
        ("https://", UriFault::NotAbsolute),
        ("https://cdn.test:65536/", UriFault::NotAbsolute),
        ("", UriFault::NotAbsolute),
        ("ftp://cdn.test/x", UriFault::Scheme),
        ("file:///etc/passwd", UriFault::Scheme),
        ("data:audio/wav;base64,AA", UriFault::Scheme),
        ("https://user:pw@cdn.test/", UriFault::Credentials),
        ("https://user@cdn.test/", UriFault::Credentials),
        ("https://@cdn.test/", UriFault::Credentials),
        ("https://cdn.test:0/", UriFault::Port),
    ];
    for (uri, fault) in table {
        assert_eq!(guard.check_uri(uri), Err(Refusal::BotUri(fault)), "{uri}");
    }
    let long = format!("https://cdn.test/{}", "a".repeat(MAX_URI));
    assert_eq!(guard.check_uri(&long), Err(Refusal::BotUri(UriFault::TooLong)));
    let url = guard.check_uri("https://cdn.test#@127.0.0.1/x").unwrap();
    assert_eq!(url.host_str(), Some("cdn.test"));
}

#[test]
fn production_allows_what_the_list_names_and_nothing_else() {
    let allow = rules(&["https://cdn.example.com", "http://10.1.2.3:8080"]);
    let guard = Guard::new(GuardSettings::production("prompts.allow", allow));
    guard.check_uri("https://cdn.example.com/x.wav?sig=1").unwrap();
    guard.check_uri("http://10.1.2.3:8080/x.wav").unwrap();
    for uri in ["http://cdn.example.com/", "https://other.test/", "http://10.1.2.3/"] {
        guard.check_uri(uri).expect_err(uri);
    }
    let unlisted = Url::parse("https://other.test/").unwrap();
    guard
        .check_addr(&unlisted, [8, 8, 8, 8].into())
        .expect_err("a public address does not list it");
    let nothing = Guard::new(GuardSettings::default());
    nothing.check_uri("https://cdn.example.com/").expect_err("an empty list");
}

#[test]
fn dev_allows_loopback_and_public_https_only() {
    let guard = Guard::new(GuardSettings::dev("prompts.allow", vec![]));
    for uri in [
        "http://127.0.0.1:8080/x.wav",
        "http://localhost:3000/",
        "https://[::1]:1/",
        "https://cdn.example.com:8443/x.wav",
    ] {
        guard.check_uri(uri).expect(uri);
    }
    for uri in [
        "http://cdn.example.com/",
        "https://10.0.0.1/",
        "https://169.254.169.254/",
        "http://0.0.0.0:8080/",
        "http://[::ffff:127.0.0.1]/",
    ] {
        guard.check_uri(uri).expect_err(uri);
    }
    let name = Url::parse("https://cdn.example.com/").unwrap();
    guard.check_addr(&name, [127, 0, 0, 1].into()).expect_err("a name that leads to loopback");
}

#[test]
fn a_refusal_names_the_entry_that_would_allow_it_and_that_entry_does() {
    for uri in
        ["https://cdn.test/x", "http://10.0.0.1:81/x", "http://localhost:82/", "https://[::1]/"]
    {
        let refusal = Guard::new(GuardSettings::production("prompts.allow", vec![]))
            .check_uri(uri)
            .unwrap_err()
            .to_string();
        assert!(refusal.contains("prompts.allow"), "{refusal}");
        let entry = refusal.split('"').nth(1).unwrap();
        Guard::new(GuardSettings::production("prompts.allow", rules(&[entry])))
            .check_uri(uri)
            .expect(entry);
    }
}

#[test]
fn the_servers_own_listeners_are_refused_although_loopback_is_allowed() {
    let own_listeners = vec!["127.0.0.1:8080".parse().unwrap(), "0.0.0.0:8443".parse().unwrap()];
    let settings = GuardSettings { own_listeners, ..GuardSettings::dev("callbacks.allow", vec![]) };
    let guard = Guard::new(settings);
    for uri in ["http://127.0.0.1:8080/", "https://127.0.0.1:8443/"] {
        assert!(matches!(guard.check_uri(uri), Err(Refusal::OwnListener { .. })), "{uri}");
    }
    guard.check_uri("http://127.0.0.1:8081/").unwrap();
}

#[test]
fn the_servers_own_listeners_are_refused_by_every_address_that_leads_to_this_machine() {
    // The machine's address towards the world; where there is no network, none leads back.
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    let outward = socket.connect("192.0.2.1:9").and_then(|()| socket.local_addr());
    let Ok(outward) = outward.map(|local| local.ip()) else { return };
    let own_listeners = vec!["0.0.0.0:8443".parse().unwrap()];
    // An operator who allows the whole network allows no loop.
    let allow = rules(&["https://*:*", &outward.to_string()]);
    let settings =
        GuardSettings { own_listeners, ..GuardSettings::production("callbacks.allow", allow) };
    let guard = Guard::new(settings);
    let own = guard.check_uri(&format!("https://{outward}:8443/"));
    assert!(matches!(own, Err(Refusal::OwnListener { .. })), "{own:?}");
    let name = Url::parse("https://calls.test:8443/").unwrap();
    let own = guard.check_addr(&name, outward);
    assert!(matches!(own, Err(Refusal::OwnListener { .. })), "{own:?}");
    guard.check_uri(&format!("https://{outward}:8444/")).expect("another program's port");
    guard.check_uri("https://8.8.8.8:8443/").expect("another machine's");
}

#[tokio::test]
async fn a_name_keeps_only_its_public_addresses() {
    let guard = Guard::with_resolver(
        GuardSettings::dev("prompts.allow", vec![]),
        Arc::new(Fixed(vec!["127.0.0.1", "8.8.8.8", "10.0.0.1", "::1"])),
    );
    let url = Url::parse("https://mixed.test:8443/").unwrap();
    assert_eq!(guard.lookup(&url).await.unwrap(), ["8.8.8.8:8443".parse().unwrap()]);
}

#[tokio::test]
async fn a_name_that_leads_inside_is_refused_without_telling_where() {
    let guard = Guard::with_resolver(
        GuardSettings::dev("prompts.allow", vec![]),
        Arc::new(Fixed(vec!["10.20.30.40", "169.254.169.254"])),
    );
    let url = Url::parse("https://rebind.test/").unwrap();
    let refusal = guard.lookup(&url).await.unwrap_err();
    assert!(matches!(refusal, LookupError::Refused(Refusal::ResolvedNotAllowed { .. })));
    assert!(!refusal.to_string().contains("169.254"), "{refusal}");
    let allow = rules(&["10.0.0.0/8"]);
    let guard = Guard::with_resolver(
        GuardSettings::dev("prompts.allow", allow),
        Arc::new(Fixed(vec!["10.20.30.40"])),
    );
    assert_eq!(guard.lookup(&url).await.unwrap(), ["10.20.30.40:443".parse().unwrap()]);
}

proptest! {
    #[test]
    fn every_spelling_of_an_address_is_judged_like_the_address(
        bits in prop_oneof![
            any::<u32>(),
            // The neighbourhoods where the answer changes.
            (prop::sample::select(vec![0_u32, 10, 100, 127, 169, 172, 192, 198, 203, 224, 255]),
                any::<u32>()).prop_map(|(first, rest)| (first << 24) | (rest & 0x00ff_ffff)),
        ]
    ) {
        let guard = public_https();
        let address = std::net::Ipv4Addr::from(bits);
        let [a, b, c, d] = address.octets();
        let (low16, low24) = (bits & 0xffff, bits & 0xff_ffff);
        let is_public = AddressKind::of(address.into()) == AddressKind::Public;
        for host in [
            format!("{address}"),
            format!("{address}."),
            format!("{bits}"),
            format!("0x{bits:x}"),
            format!("0{bits:o}"),
            format!("{a}.{b}.{low16}"),
            format!("{a}.{low24}"),
            format!("0{a:o}.0x{b:X}.{c}.0{d:o}"),
        ] {
            prop_assert_eq!(guard.check_uri(&format!("https://{host}/")).is_ok(), is_public, "{}", host);
        }
        for host in [
            format!("[::ffff:{address}]"),
            format!("[::{address}]"),
            format!("[64:ff9b::{address}]"),
            format!("[2002:{:x}:{:x}::1]", bits >> 16, bits & 0xffff),
        ] {
            prop_assert!(guard.check_uri(&format!("https://{host}/")).is_err(), "{}", host);
        }
    }

    #[test]
    fn no_text_is_too_odd_to_be_judged(text in "(https?:)?/?/?[\\PC\\x00-\\x20@:\\[\\]\\\\.#%]{0,40}") {
        let guard = Guard::new(GuardSettings::dev("prompts.allow", vec![]));
        if let Ok(url) = guard.check_uri(&text) {
            prop_assert!(guard.check_url(&url).is_ok());
            prop_assert!(url.username().is_empty() && url.has_host());
        }
        let _ = text.parse::<AllowRule>();
    }
}

/// Corpus "default-deny profile": public https hosts and nothing else.
fn public_https() -> Guard {
    Guard::new(GuardSettings::production("prompts.allow", rules(&["https://*:*"])))
}

fn rules(texts: &[&str]) -> Vec<AllowRule> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

struct Fixed(Vec<&'static str>);

impl Resolve for Fixed {
    fn resolve(&self, _name: Name) -> Resolving {
        let found: Vec<_> =
            self.0.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), 0)).collect();
        Box::pin(async move { Ok(Box::new(found.into_iter()) as Addrs) })
    }
}
