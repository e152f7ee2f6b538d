//! Hosts that fail to deliver a prompt, each in its own way: one failed notification whose message
//! names the cause, and nothing else is disturbed.

use std::{sync::LazyLock, time::Duration};

use graphophone::config::Interval;
use graphophone_media::codec::Codec;
use graphophone_testkit::{
    TestServer, audio,
    prompt_host::{PromptHost, Step, redirect, response},
};

use crate::line::{Line, result_of, times_ended};

/// How long these tests let a host stall. Good ones have to be done in it on a busy machine, too.
const DEADLINE: Duration = Duration::from_secs(5);
/// Length of [`SHORT`].
const SHORT_MS: u32 = 60;

static SHORT: LazyLock<Vec<u8>> = LazyLock::new(|| audio::tone_wav(1_000.0, SHORT_MS));

/// What a host does, and what the bot is told of it.
struct Evil {
    path: &'static str,
    subcode: u64,
    /// All of these stand in the message.
    names: &'static [&'static str],
}

const EVIL: [Evil; 9] = [
    Evil {
        path: "/404",
        subcode: 8536,
        names: &["404 Not Found", "Content-Type text/plain", "no such file"],
    },
    Evil {
        path: "/html",
        subcode: 8535,
        names: &["not a WAV file", "<!doctype html>", "an HTML page", "Content-Type text/html"],
    },
    Evil { path: "/truncated", subcode: 8536, names: &["broke off after", "bytes of 1964"] },
    Evil {
        path: "/10GB",
        subcode: 8536,
        names: &["longer than 33554432 bytes", "Content-Length 10000000000"],
    },
    Evil { path: "/loop", subcode: 8536, names: &["more than 3 redirects"] },
    Evil { path: "/stall", subcode: 8536, names: &["within 5s", "44 bytes received"] },
    Evil { path: "/silent", subcode: 8536, names: &["within 5s"] },
    Evil { path: "/mp3", subcode: 8535, names: &["the MP3 file cannot be read", "audio/mpeg"] },
    Evil { path: "/text", subcode: 8535, names: &["not a WAV file", "Hello, world"] },
];

fn act(path: &str) -> Vec<Step> {
    let send = |status: &str, kind: &str, body: &[u8]| {
        vec![Step::Send(response(status, &format!("Content-Type: {kind}\r\n"), body))]
    };
    match path {
        "/short" => send("200 OK", "audio/wav", &SHORT),
        "/404" => send("404 Not Found", "text/plain", b"no such file"),
        "/html" => send("200 OK", "text/html", b"<!doctype html><title>Sign in</title>"),
        "/truncated" => {
            let whole = response("200 OK", "", &SHORT);
            vec![Step::Send(whole[..whole.len() - 500].to_vec())]
        }
        "/10GB" => {
            let head = b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n".to_vec();
            vec![Step::Send(head), Step::Flood(vec![0; 65_536])]
        }
        "/loop" => redirect("/loop"),
        "/stall" => {
            let whole = response("200 OK", "", &SHORT);
            let head = whole.len() - SHORT.len() + 44;
            vec![Step::Send(whole[..head].to_vec()), Step::Hang]
        }
        "/silent" => vec![Step::Hang],
        "/mp3" => send("200 OK", "audio/mpeg", b"ID3\x04\0\0\0\0\0\x7fTIT2\0\0\0\x05\0\0\0Demo"),
        "/text" => send("200 OK", "text/plain", b"Hello, world"),
        other => panic!("nobody asks for {other}"),
    }
}

async fn evil_host() -> PromptHost {
    PromptHost::start(|request, _| act(request.split(' ').nth(1).unwrap_or_default())).await
}

async fn impatient_server() -> TestServer {
    TestServer::start_with(|config| config.prompts.timeout = Interval(DEADLINE)).await
}

#[tokio::test]
async fn every_failing_host_gives_one_failed_notification_that_names_the_cause() {
    let (server, host) = (impatient_server().await, evil_host().await);
    // A call that plays all the while, and must not notice.
    let bystander = Line::open(&server).await;
    let hums: Vec<Vec<u8>> = [440.0, 660.0].iter().map(|hz| audio::tone_wav(*hz, 2_000)).collect();
    let uris: Vec<String> = hums
        .iter()
        .enumerate()
        .map(|(index, hum)| bystander.bot.serve(&index.to_string(), hum.clone()))
        .collect();
    let mut line = Line::open(&server).await;
    let humming = bystander.play(&uris).await;

    let refused = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = refused.local_addr().unwrap();
    drop(refused);
    let mut plays: Vec<(String, u64, Vec<String>)> = EVIL
        .iter()
        .map(|evil| {
            let names = evil.names.iter().map(|name| (*name).to_owned()).collect();
            (host.uri(evil.path), evil.subcode, names)
        })
        .collect();
    let cause = format!("http://{closed} cannot be connected to: connection refused");
    plays.push((format!("http://{closed}/a.wav"), 8536, vec![cause]));
    let cause = "https://nowhere.invalid cannot be resolved".to_owned();
    plays.push(("https://nowhere.invalid/a.wav".to_owned(), 8536, vec![cause]));

    // Everything is queued at once: each failure is followed by a prompt that must be heard.
    let mut asked = Vec::new();
    for (uri, ..) in &plays {
        let broken = line.play(std::slice::from_ref(uri)).await;
        let good = line.play(&[host.uri("/short")]).await;
        asked.push((broken, good));
    }
    for ((uri, subcode, names), (broken, good)) in plays.iter().zip(&asked) {
        let end = line.end_of(broken).await;
        assert_eq!(end["status"], "failed", "{uri}");
        assert_eq!(end["completionReason"], "unknown", "{uri}");
        let (code, found, message) = result_of(&end);
        assert_eq!((code, found), (400, *subcode), "{uri}: {message}");
        assert!(message.contains(uri.as_str()), "{message}");
        for name in names {
            assert!(message.contains(name.as_str()), "{uri}: {name:?} is not in {message}");
        }
        let end = line.end_of(good).await;
        assert_eq!(end["status"], "completed", "behind {uri}");
        let read = line.bot.operation(&line.call, broken).await.unwrap();
        assert_eq!(read["resultInfo"], end_of(&line, broken)["resultInfo"], "{uri}");
    }
    let heard = line.phone.heard();
    let call = line.call.clone();
    let told = line.hang_up().await;
    for (broken, good) in &asked {
        assert_eq!((times_ended(&told, broken), times_ended(&told, good)), (1, 1));
    }
    // Only the good ones were heard.
    let millisecond = Codec::Pcmu.rate() as usize / 1_000;
    let is_loud = |part: &&[i16]| part.iter().any(|sample| sample.unsigned_abs() > 1_000);
    let loud = heard.samples.chunks(millisecond).filter(is_loud).count();
    let expected = plays.len() * SHORT_MS as usize;
    // Each may begin and end within a millisecond.
    assert!(loud <= expected + plays.len(), "{loud} ms of sound in {call}");
    assert!(loud * 10 >= expected * 8, "{loud} ms of sound instead of {expected}");

    let mut bystander = bystander;
    assert_eq!(bystander.end_of(&humming).await["status"], "completed");
    assert_undisturbed(&bystander, &hums);
}

/// What the bystander heard is what it was sent: order, pitch, length, no hole.
fn assert_undisturbed(bystander: &Line, hums: &[Vec<u8>]) {
    let heard = bystander.phone.heard();
    let files: Vec<&[u8]> = hums.iter().map(Vec::as_slice).collect();
    let sent = audio::as_heard(&files, Codec::Pcmu);
    let lengths = (audio::length_ms(&heard.samples), audio::length_ms(&sent));
    assert!((lengths.0 - lengths.1).abs() <= 20.0, "{lengths:?}");
    assert!(heard.longest_hole <= Duration::from_millis(40), "{:?}", heard.longest_hole);
    let found = graphophone_media::analysis::align(&heard.samples, &sent, Codec::Pcmu.rate());
    assert!(found.is_some_and(|found| found.correlation >= 0.99), "{found:?}");
}

fn end_of<'a>(line: &'a Line, operation: &'a str) -> &'a serde_json::Value {
    &line.ends_of(operation).next().expect("it has ended")["resourceData"]
}

#[tokio::test]
async fn a_list_with_a_broken_second_prompt_plays_the_first_and_then_fails() {
    let (server, host) = (TestServer::start().await, evil_host().await);
    let mut line = Line::open(&server).await;
    let first = line.bot.serve("first.wav", audio::tone_wav(440.0, 200));
    let broken = line.play(&[first, host.uri("/404"), host.uri("/short")]).await;
    let next = line.play(&[host.uri("/short")]).await;
    let end = line.end_of(&broken).await;
    assert_eq!(end["status"], "failed");
    let (code, subcode, message) = result_of(&end);
    assert_eq!((code, subcode), (400, 8536));
    assert!(message.contains(&host.uri("/404")), "{message}");
    let sent: Vec<_> = graphophone_testkit::receipts(&end)
        .map(|prompt| prompt["millisecondsSent"].clone())
        .collect();
    assert_eq!(sent, [200, 0, 0], "{end}");
    assert_eq!(line.end_of(&next).await["status"], "completed");
    let heard = line.phone.heard().samples;
    let pitch = audio::frequency_at(&heard, 20, 180).expect("a tone");
    assert!((pitch - 440.0).abs() < 5.0, "{pitch} Hz");
    let told = line.hang_up().await;
    assert_eq!((times_ended(&told, &broken), times_ended(&told, &next)), (1, 1));
}
