//! The 170 messages of `../shared/corpus/sip`, over UDP, over TCP in one write and over TCP byte by
//! byte, against whole servers: one where this machine is a trunk ("open") and one that knows only
//! its phones ("digest"). Outcomes are the index's, or a row of the table of differences in
//! `docs/sip-interop.md`, which must be neither too short nor too long.

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
    process::Command,
    sync::LazyLock,
    time::Duration,
};

use axum::http::Method;
use graphophone::config::Config;
use graphophone_testkit::{Bot, TestServer, patience, seen};
use serde_json::{Value, json};

use crate::sip_wire::{Response, TcpEnd, UdpEnd, Way, options};

/// What is due at once comes within this on any machine.
const WITHIN: Duration = Duration::from_secs(5);
/// A connection on which a message began and does not end is closed after 10 s.
const CLOSED_WITHIN: Duration = Duration::from_secs(20);
/// A server that has not answered by then is not alive. The promise says 100 ms; the figure that
/// was measured is printed.
const ALIVE_WITHIN: Duration = Duration::from_secs(1);

/// A message of the corpus and what the index says about it.
struct Row {
    name: String,
    is_ipv6: bool,
    profile: String,
    transport: String,
    expect: String,
    codes: BTreeSet<u16>,
    bytes: Vec<u8>,
}

/// The corpus, generated into a directory of its own.
static CORPUS: LazyLock<Vec<Row>> = LazyLock::new(|| {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus");
    assert!(shared.is_dir(), "the shared corpus is missing: no {}", shared.display());
    let folder = tempfile::tempdir().expect("a temporary directory");
    let status = Command::new("python3")
        .arg(shared.join("gen_sip.py"))
        .arg(folder.path())
        .stdout(std::process::Stdio::null())
        .status()
        .expect("python3 runs the corpus generator");
    assert!(status.success(), "the corpus generator failed: {status}");
    let index = fs::read(folder.path().join("index.json")).expect("the corpus index");
    let index: Vec<Value> = serde_json::from_slice(&index).expect("the index is a list of rows");
    let row = |row: &Value| {
        let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        Row {
            name: text("file").trim_end_matches(".dat").to_owned(),
            is_ipv6: text("category") == "5118",
            profile: text("profile"),
            transport: text("transport").to_uppercase(),
            expect: text("expect"),
            codes: codes(&text("codes")),
            bytes: fs::read(folder.path().join(text("file"))).expect("a message"),
        }
    };
    let rows: Vec<Row> = index.iter().map(row).collect();
    assert_eq!(rows.len(), 170);
    rows
});

fn codes(text: &str) -> BTreeSet<u16> {
    let number = |text: &str| text.parse::<u16>().expect("a status");
    let ranges = text.split(',').filter(|part| !part.is_empty()).map(|part| {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        number(low)..=number(high)
    });
    ranges.flatten().collect()
}

/// A row of the table in `docs/sip-interop.md`.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Difference {
    name: String,
    transport: String,
    outcome: String,
}

fn differences() -> Vec<Difference> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/sip-interop.md");
    let page = fs::read_to_string(page).expect("the page");
    let table = page.split("## The torture corpus").nth(1).expect("the chapter");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| {
        let mut cells = row.split('|').map(|cell| cell.trim().trim_end_matches('`').to_owned());
        let mut cell = || cells.next().expect("a cell");
        let (name, transport, _index, outcome) = (cell(), cell(), cell(), cell());
        Difference { name, transport, outcome }
    })
    .collect()
}

/// What became of a message.
struct Outcome {
    responses: Vec<Response>,
    is_closed: bool,
}

impl Outcome {
    fn finals(&self) -> impl Iterator<Item = u16> {
        self.responses.iter().map(|response| response.status).filter(|status| *status >= 200)
    }

    /// In the words of the table: final responses, or silence, and whether the connection is over.
    fn words(&self) -> String {
        let mut finals: Vec<u16> = self.finals().collect();
        finals.dedup();
        let said = match finals.as_slice() {
            [] => "silence".to_owned(),
            some => some.iter().map(u16::to_string).collect::<Vec<_>>().join(" "),
        };
        said + if self.is_closed { ", closed" } else { "" }
    }

    /// Whether it is what the index wants.
    fn is_as_wanted(&self, row: &Row, way: Way) -> bool {
        let allowed =
            self.finals().all(|status| row.codes.contains(&status)) && self.answers_fit(row);
        match row.expect.as_str() {
            "ok" => allowed && self.finals().count() > 0 && !self.is_closed,
            "reject" => allowed && self.finals().count() > 0,
            "reject-or-drop" => allowed,
            "drop" | "ignore" => self.responses.is_empty(),
            "close" => allowed && (self.is_closed || way == Way::Udp),
            other => panic!("{other}?"),
        }
    }

    /// One request, one final response; three for three.
    fn answers_fit(&self, row: &Row) -> bool {
        let is_pipelined = row.name == "r12_tcp_pipelined" && row.transport == "TCP";
        self.finals().count() <= if is_pipelined { 3 } else { 1 }
    }
}

/// A server and both our ends of it.
struct Rig {
    server: TestServer,
    udp: UdpEnd,
    at: IpAddr,
}

impl Rig {
    async fn start(at: IpAddr, profile: &str, number: u16) -> (Self, Bot) {
        let is_open = profile == "open";
        let (server, bot) = TestServer::start_with_webhook(|config| {
            set_up(config, at, is_open, number);
        })
        .await;
        let udp = UdpEnd::open(at, server.sip()).await;
        (Self { server, udp, at }, bot)
    }

    /// The message as this socket and this server would have it.
    fn bytes(&self, row: &Row, way: Way) -> Vec<u8> {
        let mut bytes = row.bytes.clone();
        let port = self.udp.address().port().to_string();
        replace(&mut bytes, b"15060", port.as_bytes());
        let host = match self.at {
            IpAddr::V4(ip) => format!("{ip}:{port}"),
            IpAddr::V6(ip) => format!("[{ip}]:{port}"),
        };
        let via = |transport: &str| format!("SIP/2.0/{transport} {host}");
        let (from, to) = if way == Way::Udp { ("TCP", "UDP") } else { ("UDP", "TCP") };
        replace(&mut bytes, via(from).as_bytes(), via(to).as_bytes());
        if row.name == "d05_c_self_sip" {
            let port = self.server.sip().port().to_string();
            let old = row.bytes.windows(16).position(|it| it == b"Content-Length: ");
            let old = &row.bytes[old.expect("it has one")..];
            let old: Vec<u8> = old.iter().take_while(|it| **it != b'\r').copied().collect();
            let body: usize = String::from_utf8_lossy(&old[16..]).parse().expect("a number");
            let new = format!("Content-Length: {}", body - 4 + port.len());
            replace(&mut bytes, &old, new.as_bytes());
            replace(&mut bytes, b"audio 5060 ", format!("audio {port} ").as_bytes());
        }
        bytes
    }

    async fn over_udp(&mut self, row: &Row) -> Outcome {
        let bytes = self.bytes(row, Way::Udp);
        let ids = call_ids(&bytes);
        let is_ours = |response: &Response| ids.contains(&response.call_id);
        let is_final = |response: &Response| response.status >= 200 && is_ours(response);
        if !self.udp.send(&bytes).await {
            return Outcome { responses: Vec::new(), is_closed: false };
        }
        let mut responses = self.udp.probe().await;
        let is_due = matches!(row.expect.as_str(), "ok" | "reject");
        if (is_due || responses.iter().any(is_ours)) && !responses.iter().any(is_final) {
            responses.extend(self.udp.until(WITHIN, is_final).await);
        }
        responses.retain(is_ours);
        let via = format!("SIP/2.0/UDP {}", self.udp.address());
        for message in responses.iter().flat_map(|response| response.farewell(&via)) {
            self.udp.send(message.as_bytes()).await;
        }
        Outcome { responses, is_closed: false }
    }

    async fn over_tcp(&mut self, row: &Row, way: Way) -> Outcome {
        let bytes = self.bytes(row, way);
        let mut tcp = TcpEnd::open(self.server.server().ready().sip.tcp.expect("it listens")).await;
        tcp.send(&bytes, way).await;
        let is_final = |all: &[Response]| all.iter().any(|response| response.status >= 200);
        match row.expect.as_str() {
            "ok" if row.name == "r12_tcp_pipelined" => {
                tcp.until(WITHIN, |all| all.len() == 3).await;
            }
            "ok" | "reject" => tcp.until(WITHIN, is_final).await,
            "close" if row.transport == "TCP" => tcp.until(CLOSED_WITHIN, |_| false).await,
            _ => {}
        }
        // Whether more comes, the next request tells, if the server is ready for one.
        let probe = format!("probe-{}", row.name);
        if !tcp.is_closed {
            let next = options(&probe, self.udp.address(), "TCP");
            tcp.send(next.as_bytes(), Way::TcpOneWrite).await;
            let within = if row.expect == "ok" { WITHIN } else { CLOSED_WITHIN };
            tcp.until(within, |all| all.iter().any(|it| it.call_id == probe)).await;
        }
        let via = format!("SIP/2.0/TCP {}", self.udp.address());
        let mut responses = tcp.responses();
        for message in responses.iter().flat_map(|response| response.farewell(&via)) {
            tcp.send(message.as_bytes(), Way::TcpOneWrite).await;
            if message.starts_with("BYE") {
                tcp.until(WITHIN, |all| all.len() > responses.len()).await;
            }
        }
        responses.retain(|response| response.call_id != probe);
        Outcome { responses, is_closed: tcp.is_closed }
    }
}

/// Eight pairs of ports: a call that kept its own would soon cost others theirs.
fn set_up(config: &mut Config, at: IpAddr, is_open: bool, number: u16) {
    let listen = |transport: &str| match at {
        IpAddr::V4(ip) => format!("{transport}:{ip}:0").parse().expect("an address"),
        IpAddr::V6(ip) => format!("{transport}:[{ip}]:0").parse().expect("an address"),
    };
    config.sip.listen = vec![listen("udp"), listen("tcp")];
    config.rtp.bind = at;
    let first = 10_000 + (std::process::id() % 300) as u16 * 32 + number * 20;
    config.rtp.ports = format!("{first}-{}", first + 15).parse().expect("ports");
    config.routes[0].to = "bot".parse().expect("a pattern");
    if !is_open {
        config.trunks.clear();
    }
}

fn replace(bytes: &mut Vec<u8>, from: &[u8], to: &[u8]) {
    let mut at = 0;
    while let Some(found) = bytes[at..].windows(from.len()).position(|window| window == from) {
        bytes.splice(at + found..at + found + from.len(), to.iter().copied());
        at += found + to.len();
    }
}

/// The Call-IDs that responses to these bytes may have.
fn call_ids(bytes: &[u8]) -> BTreeSet<String> {
    let text = String::from_utf8_lossy(bytes);
    let ids = text.lines().filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_id = ["call-id", "i"].contains(&name.trim().to_ascii_lowercase().as_str());
        is_id.then(|| value.trim().to_owned())
    });
    ids.chain([String::new()]).collect()
}

/// Answers every call, until the server is gone.
async fn answer_all(mut bot: Bot) {
    while let Ok(received) = bot.next(patience()).await {
        let data = &received.value["resourceData"];
        if data["state"] != "incoming" {
            continue;
        }
        let url = received.value["resourceUrl"].as_str().unwrap_or_default();
        let id = url.rsplit('/').next().unwrap_or_default();
        let body = json!({
            "callbackUri": bot.callback_uri(),
            "acceptedModalities": ["audio"],
            "mediaConfig": {"@odata.type": "#microsoft.graph.serviceHostedMediaConfig"},
        });
        let path = format!("/v1.0/communications/calls/{id}/answer");
        // A caller may have gone.
        let _ = bot.send(Method::POST, &path, Some(body)).await;
    }
}

/// Sends all rows of one address family; the differences that were seen come back.
async fn send_all(at: IpAddr, profile: &str, way: Way, number: u16) -> BTreeSet<String> {
    let (mut rig, bot) = Rig::start(at, profile, number).await;
    let asking = rig.server.bot().await;
    let answering = tokio::spawn(answer_all(bot));
    let known = differences();
    let (mut seen_differences, mut faults) = (BTreeSet::new(), Vec::new());
    for row in CORPUS.iter().filter(|row| row.is_ipv6 == at.is_ipv6()) {
        let outcome = match way {
            Way::Udp => rig.over_udp(row).await,
            Way::TcpOneWrite | Way::TcpByteByByte => rig.over_tcp(row, way).await,
        };
        rig.udp.probe().await;
        assert!(
            rig.udp.slowest < ALIVE_WITHIN,
            "{} after {}",
            rig.udp.slowest.as_millis(),
            row.name
        );
        if row.profile != profile {
            // What it is sent by others it takes or not, but it makes no call of it.
            let is_taken = outcome.responses.iter().any(|it| it.status < 200);
            assert!(profile == "open" || !is_taken, "{}: a stranger rings", row.name);
        }
        if profile == "digest" && way == Way::Udp {
            // A stranger gets back no more than it sent, but for a few challenges a second (P34).
            let answers = outcome.responses.iter().filter(|it| it.status != 401);
            let back: usize = answers.map(|response| response.text.len()).sum();
            let sent = rig.bytes(row, way).len();
            assert!(back <= sent, "{}: {back} bytes for {sent}", row.name);
        }
        if row.profile != profile {
            continue;
        }
        let said = outcome.words();
        let listed = known.iter().find(|it| it.name == row.name && it.transport == way.transport());
        match (outcome.is_as_wanted(row, way), listed) {
            (true, None) => {}
            (false, Some(listed)) if listed.outcome == said => {
                seen_differences.insert(row.name.clone());
            }
            (_, listed) => faults.push(format!(
                "{} over {way:?}: {said}; the index: {} {:?}; the table: {listed:?}",
                row.name, row.expect, row.codes
            )),
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    let left = || async {
        let calls = asking.send(Method::GET, "/v1.0/communications/calls", None).await;
        calls.expect("the list of calls").body["value"].as_array().cloned().expect("a list")
    };
    let none = || async { left().await.is_empty().then_some(()) };
    let over = tokio::time::timeout(WITHIN, seen("no call is left", none)).await;
    assert!(over.is_ok(), "calls are left: {:#?}", left().await);
    println!(
        "{at} {profile} {way:?}: the slowest OPTIONS took {:.1} ms",
        rig.udp.slowest.as_secs_f64() * 1e3
    );
    answering.abort();
    seen_differences
}

async fn send_everything(way: Way, number: u16) {
    let (v4, v6) = (IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST));
    let mut seen = BTreeSet::new();
    for (at, profile) in [(v4, "open"), (v4, "digest"), (v6, "open"), (v6, "digest")] {
        seen.extend(send_all(at, profile, way, number).await);
    }
    let listed = differences().into_iter().filter(|it| it.transport == way.transport());
    let unneeded: Vec<_> = listed.map(|it| it.name).filter(|name| !seen.contains(name)).collect();
    assert!(unneeded.is_empty(), "differences that are none: {unneeded:?}");
}

#[tokio::test]
async fn the_sip_corpus_over_udp_has_the_outcomes_of_its_index() {
    send_everything(Way::Udp, 0).await;
}

#[tokio::test]
async fn the_sip_corpus_over_tcp_in_one_write_has_the_outcomes_of_its_index() {
    send_everything(Way::TcpOneWrite, 1).await;
}

#[tokio::test]
async fn the_sip_corpus_over_tcp_byte_by_byte_has_the_outcomes_of_its_index() {
    send_everything(Way::TcpByteByByte, 2).await;
}
