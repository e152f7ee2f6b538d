//! One failed notification with the right code and a message a person can act on, for every way in
//! which a host can fail to deliver a file.

use graphophone_media::codec::Codec;
use graphophone_testkit::prompt_host::{PromptHost, Step, redirect, response, within};

use super::*;

#[tokio::test]
async fn a_file_is_fetched_with_a_plain_get_and_played() {
    let host = PromptHost::doing(|| vec![Step::Send(response("200 OK", "", &wav(1)))]).await;
    let prepared = fetch(&Fixture::new(), &host.uri("/a%20b.wav?sig=1#x")).await.unwrap();
    assert_eq!(prepared.duration, Duration::from_millis(100));
    assert_eq!(prepared.encoded.units(), 800);
    let request = host.requests().remove(0).to_ascii_lowercase();
    assert!(request.starts_with("get /a%20b.wav?sig=1 http/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("host: {}\r\n", host.address)), "{request}");
    assert!(request.contains("accept-encoding: identity\r\n"), "{request}");
    for unwanted in ["authorization", "cookie", "if-", "referer"] {
        assert!(!request.contains(unwanted), "{request}");
    }
}

#[tokio::test]
async fn bodies_framed_by_chunks_or_by_the_end_of_the_connection_are_whole() {
    let chunked = |file: Vec<u8>| {
        let mut bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for part in file.chunks(1_000) {
            bytes.extend(format!("{:x}\r\n", part.len()).bytes());
            bytes.extend(part);
            bytes.extend(b"\r\n");
        }
        bytes.extend(b"0\r\n\r\n");
        bytes
    };
    let to_the_end = |file: Vec<u8>| [b"HTTP/1.0 200 OK\r\n\r\n".to_vec(), file].concat();
    for bytes in [chunked(wav(1)), to_the_end(wav(1))] {
        let host = PromptHost::doing(move || vec![Step::Send(bytes.clone())]).await;
        let prepared = fetch(&Fixture::new(), &host.uri("/a.wav")).await.unwrap();
        assert_eq!(prepared.encoded.units(), 800);
    }
}

#[tokio::test]
async fn a_status_other_than_200_is_named_with_what_came_with_it() {
    let table = [
        ("404 Not Found", "answered 404 Not Found, Content-Type text/html, beginning with \"<h1>"),
        ("403 Forbidden", "answered 403 Forbidden"),
        ("401 Unauthorized", "answered 401 Unauthorized"),
        ("500 Internal Server Error", "answered 500 Internal Server Error"),
        ("206 Partial Content", "answered 206 Partial Content"),
        ("300 Multiple Choices", "answered 300 Multiple Choices"),
    ];
    for (status, cause) in table {
        let body = response(status, "Content-Type: text/html\r\n", b"<h1>Not\x1b here</h1>");
        let host = PromptHost::doing(move || vec![Step::Send(body.clone())]).await;
        fails(&Fixture::new(), &host, 8536, cause).await;
    }
    for status in ["204 No Content", "304 Not Modified"] {
        let head = format!("HTTP/1.1 {status}\r\n\r\n").into_bytes();
        let host = PromptHost::doing(move || vec![Step::Send(head.clone())]).await;
        fails(&Fixture::new(), &host, 8536, status).await;
    }
}

#[tokio::test]
async fn a_page_instead_of_audio_is_a_format_fault_that_shows_the_page() {
    let page = response("200 OK", "Content-Type: text/html\r\n", b"<!DOCTYPE html><p>Log in</p>");
    let host = PromptHost::doing(move || vec![Step::Send(page.clone())]).await;
    let fixture = Fixture::new();
    fails(&fixture, &host, 8535, "<!DOCTYPE").await;
    fails(&fixture, &host, 8535, "Content-Type text/html").await;
    let empty = PromptHost::doing(|| vec![Step::Send(response("200 OK", "", b""))]).await;
    fails(&fixture, &empty, 8535, "empty").await;
    assert_eq!(fixture.spooled(), 0);
}

#[tokio::test]
async fn audio_named_html_is_played() {
    let body = response("200 OK", "Content-Type: text/html\r\n", &wav(1));
    let host = PromptHost::doing(move || vec![Step::Send(body.clone())]).await;
    fetch(&Fixture::new(), &host.uri("/a.wav")).await.unwrap();
}

#[tokio::test]
async fn a_truncated_body_is_never_played() {
    let cut = |head: &str, body: &[u8]| [head.as_bytes(), body].concat();
    let file = wav(1);
    let half = &file[..1_000];
    let table = [
        (cut("HTTP/1.1 200 OK\r\nContent-Length: 3244\r\n\r\n", half), "after 1000 bytes of 3244"),
        (
            cut("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n", half),
            "broke off after 1000 bytes.",
        ),
        (cut("HTTP/1.1 200 OK\r\nContent-Length: 3244\r\n\r\n", b""), "after 0 bytes of 3244"),
    ];
    for (bytes, cause) in table {
        let host = PromptHost::doing(move || vec![Step::Send(bytes.clone())]).await;
        let fixture = Fixture::new();
        fails(&fixture, &host, 8536, cause).await;
        assert_eq!(fixture.spooled(), 0);
    }
}

#[tokio::test]
async fn a_file_cut_where_only_the_connection_ends_it_is_never_played() {
    let head = |fields: &str| format!("HTTP/1.1 200 OK\r\n{fields}\r\n").into_bytes();
    let file = wav(1);
    let half = &file[..1_000];
    for fields in ["", "Connection: close\r\n", "Transfer-Encoding: gzip\r\n"] {
        let cut = [head(fields), half.to_vec()].concat();
        let host = PromptHost::doing(move || vec![Step::Send(cut.clone())]).await;
        let fixture = Fixture::new();
        fails(&fixture, &host, 8536, "broke off after 1000 bytes of 3244").await;
        assert_eq!(fixture.spooled(), 0);
    }
    // Half a file that is whole by its framing is what it holds, as the corpus wants (b05).
    let whole = response("200 OK", "", half);
    let host = PromptHost::doing(move || vec![Step::Send(whole.clone())]).await;
    assert!(fetch(&Fixture::new(), &host.uri("/a.wav")).await.is_ok());
    // What a writer to a pipe left behind is no promise.
    for size in [0, 0x7FFF_FF00, 0x7FFF_FFFF, 0x8000_0000, u32::MAX] {
        let mut piped = wav(1);
        piped[4..8].copy_from_slice(&size.to_le_bytes());
        piped[40..44].copy_from_slice(&size.to_le_bytes());
        let piped = [head(""), piped].concat();
        let host = PromptHost::doing(move || vec![Step::Send(piped.clone())]).await;
        let prepared = fetch(&Fixture::new(), &host.uri("/a.wav")).await.unwrap();
        assert_eq!(prepared.encoded.units(), 800, "{size:#x}");
    }
}

#[tokio::test]
async fn audio_longer_than_a_prompt_may_be_is_refused_with_the_setting() {
    let host = PromptHost::doing(|| vec![Step::Send(response("200 OK", "", &wav(1)))]).await;
    let guard = || Guard::new(GuardSettings::dev("prompts.allow", vec![]));
    let limited =
        |ms| Fixture::with(|settings| settings.max_duration = Duration::from_millis(ms), guard());
    fails(&limited(99), &host, 8535, "longer than 99ms, the limit (prompts.max_duration)").await;
    fetch(&limited(100), &host.uri("/a.wav")).await.unwrap();
}

#[tokio::test]
async fn a_body_above_the_cap_is_refused_at_once_or_when_it_gets_there() {
    let fixture = Fixture::limited(|limits| limits.max_bytes = 100_000);
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n".to_vec();
    let host = PromptHost::doing(move || vec![Step::Send(head.clone()), Step::Hang]).await;
    fails(&fixture, &host, 8536, "longer than 100000 bytes: Content-Length 10000000000").await;
    let endless = || {
        let chunk = [b"1000\r\n".to_vec(), vec![0; 0x1000], b"\r\n".to_vec()].concat();
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        vec![Step::Send(head), Step::Flood(chunk)]
    };
    let host = PromptHost::doing(endless).await;
    fails(&fixture, &host, 8536, "longer than 100000 bytes.").await;
    let unframed =
        || vec![Step::Send(b"HTTP/1.1 200 OK\r\n\r\n".to_vec()), Step::Flood(vec![0; 999])];
    let host = PromptHost::doing(unframed).await;
    fails(&fixture, &host, 8536, "longer than 100000 bytes.").await;
    assert_eq!(fixture.spooled(), 0);
}

#[tokio::test]
async fn three_redirects_are_followed_and_a_fourth_is_not() {
    let host = PromptHost::start(|head, _| match head.split(' ').nth(1) {
        Some("/0") => vec![Step::Send(response("200 OK", "", &wav(1)))],
        Some("/loop") => redirect("/loop"),
        Some(path) => redirect(&format!("/{}", path[1..].parse::<u32>().unwrap() - 1)),
        None => vec![],
    })
    .await;
    let fixture = Fixture::new();
    fetch(&fixture, &host.uri("/3")).await.unwrap();
    for path in ["/4", "/loop"] {
        let (subcode, message) = told(&fetch(&fixture, &host.uri(path)).await.unwrap_err());
        assert!(message.contains("more than 3 redirects"), "{message}");
        assert_eq!(subcode, 8536);
    }
    assert_eq!(host.requests().len(), 4 + 4 + 4);
}

#[tokio::test]
async fn a_redirect_to_a_denied_address_reaches_nobody() {
    let inside = PromptHost::doing(|| vec![Step::Send(response("200 OK", "", &wav(1)))]).await;
    let port = inside.address.port();
    let allow = |outside: &PromptHost| vec![format!("http://{}", outside.address).parse().unwrap()];
    for (target, cause) in [
        (format!("http://127.0.0.1:{port}/"), "prompts.allow"),
        (format!("http://127.1:{port}/"), "prompts.allow"),
        (format!("//127.0.0.1:{port}/"), "prompts.allow"),
        (format!("http://[::ffff:127.0.0.1]:{port}/"), "carries an IPv4 address"),
        (format!("http://localhost:{port}/"), "a loopback address"),
        (format!("http://u:p@127.0.0.1:{port}/"), "a user name or a password"),
        ("http://169.254.169.254/latest/meta-data/".to_owned(), "a link-local address"),
        ("file:///etc/passwd".to_owned(), "neither http nor https"),
        ("gopher://127.0.0.1/".to_owned(), "neither http nor https"),
        ("http://\\evil".to_owned(), "without a usable Location"),
    ] {
        let outside = PromptHost::start(move |_, _| redirect(&target)).await;
        let settings = GuardSettings::production("prompts.allow", allow(&outside));
        let fixture = Fixture::with(|_| {}, Guard::new(settings));
        fails(&fixture, &outside, 8536, cause).await;
    }
    assert_eq!(inside.connections(), 0);
}

#[tokio::test]
async fn a_name_that_leads_inside_reaches_nobody() {
    let inside = PromptHost::doing(|| vec![Step::Send(response("200 OK", "", &wav(1)))]).await;
    let allow = vec!["http://rebind.test:*".parse().unwrap()];
    let settings = GuardSettings::production("prompts.allow", allow);
    let guard = Guard::with_resolver(settings, resolves("rebind.test", [127, 0, 0, 1]));
    let fixture = Fixture::with(|_| {}, guard);
    let uri = format!("http://rebind.test:{}/x.wav", inside.address.port());
    let (subcode, message) = told(&fetch(&fixture, &uri).await.unwrap_err());
    assert_eq!(subcode, 8536);
    assert!(message.contains("rebind.test resolves to a loopback address"), "{message}");
    let error = fetch(&fixture, "http://unknown.test/").await.unwrap_err();
    assert!(told(&error).1.contains("http://unknown.test is not allowed"), "{error:?}");
    assert_eq!(inside.connections(), 0);
}

#[tokio::test]
async fn a_listed_name_is_fetched_at_the_address_its_network_allows() {
    let host = PromptHost::doing(|| vec![Step::Send(response("200 OK", "", &wav(1)))]).await;
    let allow = ["http://cdn.test:*", "127.0.0.0/8"].map(|rule| rule.parse().unwrap());
    let settings = GuardSettings::production("prompts.allow", allow.to_vec());
    let guard = Guard::with_resolver(settings, resolves("cdn.test", [127, 0, 0, 1]));
    let uri = format!("http://cdn.test:{}/x.wav", host.address.port());
    fetch(&Fixture::with(|_| {}, guard.clone()), &uri).await.unwrap();
    let error = fetch(&Fixture::with(|_| {}, guard), "http://nxdomain.test:1/").await.unwrap_err();
    assert!(told(&error).1.contains("not allowed"), "{error:?}");
}

#[tokio::test]
async fn a_host_that_stalls_is_given_up_in_every_phase() {
    let brief = || Fixture::limited(|limits| limits.first_byte = short());
    let strict = || Fixture::limited(|limits| limits.floor_window = short());
    let head = || Step::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 3244\r\n\r\n".to_vec());
    let host = PromptHost::doing(|| vec![Step::Hang]).await;
    fails(&brief(), &host, 8536, "sent no response within 150ms").await;
    let host = PromptHost::doing(|| vec![Step::Send(b"HTTP/1.1 2".to_vec()), Step::Hang]).await;
    fails(&brief(), &host, 8536, "sent no response within 150ms").await;
    let slow_head = || vec![Step::Send(b"HTTP/1.1 200 OK\r\nX: ".to_vec()), trickle(b"x")];
    let host = PromptHost::doing(slow_head).await;
    fails(&brief(), &host, 8536, "sent no response within 150ms").await;
    let host = PromptHost::doing(move || vec![head(), Step::Hang]).await;
    fails(&strict(), &host, 8536, "sent 0 bytes in the last 150ms").await;
    let host = PromptHost::doing(move || vec![head(), trickle(b"x")]).await;
    fails(&strict(), &host, 8536, "less than 1000 bytes per second").await;
    let informing = || vec![Step::Flood(b"HTTP/1.1 103 Early Hints\r\n\r\n".to_vec())];
    let host = PromptHost::doing(informing).await;
    fails(&brief(), &host, 8536, "sent no response within 150ms").await;
}

#[tokio::test]
async fn a_body_at_just_the_floor_rate_ends_with_the_total_deadline() {
    let fixture = Fixture::limited(|limits| limits.total = Duration::from_millis(300));
    let head = || Step::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n".to_vec());
    let host = PromptHost::doing(move || vec![head(), trickle(&[b'x'; 100])]).await;
    fails(&fixture, &host, 8536, "not complete within 300ms").await;
    assert_eq!(fixture.spooled(), 0);
}

#[tokio::test]
async fn a_pause_within_the_floor_is_waited_for() {
    let fixture = Fixture::new();
    let file = wav(1);
    let (first, second) = (file[..1_000].to_vec(), file[1_000..].to_vec());
    let host = PromptHost::doing(move || {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 3244\r\n\r\n".to_vec();
        vec![Step::Send(head), Step::Send(first.clone()), Step::Gate, Step::Send(second.clone())]
    })
    .await;
    let uri = host.uri("/a.wav");
    let half = async {
        while fixture.spooled_bytes() < 1_000 {
            tokio::task::yield_now().await;
        }
        host.open_gate();
    };
    let (prepared, ()) = tokio::join!(fetch(&fixture, &uri), within(half));
    assert_eq!(prepared.unwrap().encoded.units(), 800);
}

#[tokio::test]
async fn packed_bodies_are_refused_and_nothing_is_unpacked() {
    for encoding in ["gzip", "br", "zstd", "GZIP", "identity, gzip", "gzip, gzip"] {
        let field = format!("Content-Encoding: {encoding}\r\n");
        let body = response("200 OK", &field, &wav(1));
        let host = PromptHost::doing(move || vec![Step::Send(body.clone())]).await;
        fails(&Fixture::new(), &host, 8536, "only identity is accepted").await;
    }
    let body = response("200 OK", "Content-Encoding: identity\r\n", &wav(1));
    let host = PromptHost::doing(move || vec![Step::Send(body.clone())]).await;
    fetch(&Fixture::new(), &host.uri("/a.wav")).await.unwrap();
}

#[tokio::test]
async fn what_is_not_http_is_said_to_be_so() {
    let many = "X: 1\r\n".repeat(10_000);
    let long = format!("X: {}\r\n", "x".repeat(1 << 20));
    let table = [
        "RIFF\0\0\0\0WAVEfmt \r\n\r\n".to_owned(),
        "<html>HTTP/0.9</html>\r\n\r\n".to_owned(),
        format!("HTTP/1.1 200 OK\r\n{many}\r\n"),
        format!("HTTP/1.1 200 OK\r\n{long}\r\n"),
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8000000000000000\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n".to_owned(),
        String::new(),
    ];
    for bytes in table {
        let start: String = bytes.chars().take(60).collect();
        let host = PromptHost::doing(move || vec![Step::Send(bytes.clone().into_bytes())]).await;
        let (subcode, message) = told(&fetch(&Fixture::new(), &host.uri("/")).await.unwrap_err());
        assert_eq!(subcode, 8536, "{start}: {message}");
        assert!(
            message.contains("no valid HTTP response") || message.contains("broke off"),
            "{start}: {message}"
        );
        assert!(message.len() < 400, "{message}");
    }
}

#[tokio::test]
async fn a_connection_that_ends_without_an_answer_is_tried_once_more() {
    let host = PromptHost::start(|_, number| match number {
        0 => vec![],
        _ => vec![Step::Send(response("200 OK", "", &wav(1)))],
    })
    .await;
    fetch(&Fixture::new(), &host.uri("/a.wav")).await.unwrap();
    let host = PromptHost::doing(Vec::new).await;
    fails(&Fixture::new(), &host, 8536, "no valid HTTP response").await;
    assert_eq!(host.requests().len(), 2);
}

#[tokio::test]
async fn a_closed_port_is_named_by_its_host_without_the_query() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let uri = format!("http://{address}/a.wav?sig=secret");
    let (subcode, message) = told(&fetch(&Fixture::new(), &uri).await.unwrap_err());
    assert_eq!(subcode, 8536);
    let expected = format!("http://{address}/a.wav: http://{address} cannot be connected to");
    assert!(message.contains(&expected), "{message}");
    assert!(!message.contains("secret"), "{message}");
}

#[tokio::test]
async fn tls_is_checked_and_never_left_for_plain_http() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (issued.cert.der().clone(), issued.signing_key.serialize_der());
    let config = axum_server::tls_rustls::RustlsConfig::from_der(vec![certificate.to_vec()], key)
        .await
        .unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let plain = PromptHost::doing(|| vec![Step::Send(response("200 OK", "", &wav(1)))]).await;
    let down = axum::response::Redirect::temporary(&plain.uri("/a.wav"));
    let app = axum::Router::new()
        .route("/a.wav", axum::routing::get(|| async { wav(1) }))
        .route("/down", axum::routing::get(move || async { down }));
    let server = axum_server::from_tcp_rustls(listener, config).unwrap();
    let server = tokio::spawn(server.serve(app.into_make_service()));

    let guard = || Guard::new(GuardSettings::dev("prompts.allow", vec![]));
    let trusting = Fixture::with(|settings| settings.extra_roots = vec![certificate], guard());
    let uri = |path| format!("https://localhost:{port}{path}");
    fetch(&trusting, &uri("/a.wav")).await.unwrap();
    let (_, message) = told(&fetch(&trusting, &uri("/down")).await.unwrap_err());
    assert!(message.contains("redirects from https to http://127.0.0.1"), "{message}");
    assert_eq!(plain.connections(), 0);
    let (subcode, message) = told(&fetch(&Fixture::new(), &uri("/a.wav")).await.unwrap_err());
    assert!(message.contains("TLS with https://localhost"), "{message}");
    assert!(message.contains("certificate"), "{message}");
    assert_eq!(subcode, 8536);
    server.abort();
    let silent = PromptHost::doing(|| vec![Step::Hang]).await;
    let hasty = Fixture::limited(|limits| limits.connect = short());
    let uri = format!("https://{}/", silent.address);
    let (_, message) = told(&fetch(&hasty, &uri).await.unwrap_err());
    assert!(message.contains("accepted no connection within 150ms"), "{message}");
}

async fn fetch(fixture: &Fixture, uri: &str) -> Result<super::super::Prepared, PrepareError> {
    within(fixture.prompts.prepare(app(1), &prompt(uri, None), Codec::Pcmu)).await
}

async fn fails(fixture: &Fixture, host: &PromptHost, subcode: u32, cause: &str) {
    let uri = host.uri("/a.wav");
    let error = fetch(fixture, &format!("{uri}?sig=secret")).await.unwrap_err();
    let (told_subcode, message) = told(&error);
    assert_eq!(told_subcode, subcode, "{message}");
    assert!(message.contains(cause), "{message} / {cause}");
    assert!(message.contains(&uri) && !message.contains("secret"), "{message}");
}

fn trickle(bytes: &[u8]) -> Step {
    Step::Trickle(bytes.to_vec(), Duration::from_millis(10))
}
