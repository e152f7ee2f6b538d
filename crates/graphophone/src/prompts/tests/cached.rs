//! What is kept, shared, asked for again, and never mixed up.

use std::time::Instant;

use futures::future::join_all;
use graphophone_media::{
    codec::{Codec, SampleCodec},
    prompt::Prompt,
};
use graphophone_testkit::prompt_host::{PromptHost, Step, response, within};

use super::*;
use crate::prompts::{GateLimits, Prepared};

#[tokio::test]
async fn a_hundred_plays_at_once_share_one_download_and_one_encoding() {
    let host =
        PromptHost::doing(|| vec![Step::Gate, Step::Send(response("200 OK", "", &wav(1)))]).await;
    let fixture = Fixture::new();
    for resource_id in [None, Some("r")] {
        let prompt = prompt(host.uri("/a.wav"), resource_id);
        let plays = (0..100).map(|_| fixture.prompts.prepare(app(1), &prompt, Codec::Pcmu));
        let before = host.requests().len();
        let all = async {
            let all = join_all(plays);
            let opened = async {
                host.asked(before + 1).await;
                host.open_gate();
            };
            tokio::join!(all, opened).0
        };
        let all: Vec<_> = within(all).await.into_iter().map(Result::unwrap).collect();
        assert!(all.iter().all(|play| Arc::ptr_eq(&play.encoded, &all[0].encoded)));
        assert_eq!(host.requests().len(), before + 1);
    }
}

#[tokio::test]
async fn all_who_wait_for_a_failing_download_get_its_reason_and_the_next_one_tries_again() {
    let host = PromptHost::start(|_, number| match number {
        0 => vec![Step::Gate, Step::Send(response("404 Not Found", "", b""))],
        _ => vec![Step::Send(response("200 OK", "", &wav(1)))],
    })
    .await;
    let fixture = Fixture::new();
    let prompt = prompt(host.uri("/a.wav"), Some("r"));
    let plays = join_all((0..20).map(|_| fixture.prompts.prepare(app(1), &prompt, Codec::Pcmu)));
    let opened = async {
        host.asked(1).await;
        host.open_gate();
    };
    for play in within(async { tokio::join!(plays, opened).0 }).await {
        assert!(told(&play.unwrap_err()).1.contains("404"));
    }
    assert_eq!(host.requests().len(), 1);
    play(&fixture, 1, &prompt).await.unwrap();
}

#[tokio::test]
async fn a_play_that_is_abandoned_takes_the_download_from_nobody() {
    let host =
        PromptHost::doing(|| vec![Step::Gate, Step::Send(response("200 OK", "", &wav(1)))]).await;
    let fixture = Fixture::new();
    let prompt = prompt(host.uri("/a.wav"), Some("r"));
    let mut first = Box::pin(play(&fixture, 1, &prompt));
    assert!(futures::poll!(first.as_mut()).is_pending());
    let mut second = Box::pin(play(&fixture, 1, &prompt));
    assert!(futures::poll!(second.as_mut()).is_pending());
    host.asked(1).await;
    drop(first);
    host.open_gate();
    second.await.unwrap();
    assert_eq!(host.requests().len(), 1);
}

#[tokio::test]
async fn a_download_that_nobody_waits_for_any_more_gives_its_place_up() {
    let slow = PromptHost::doing(|| vec![Step::Hang]).await;
    let fast = PromptHost::doing(|| vec![Step::Send(response("200 OK", "", &wav(1)))]).await;
    let guard = Guard::new(GuardSettings::dev("prompts.allow", vec![]));
    let fixture = Fixture::with(|settings| settings.gate.total = 1, guard);
    let prompt_of_slow = prompt(slow.uri("/"), None);
    let mut abandoned = Box::pin(play(&fixture, 1, &prompt_of_slow));
    assert!(futures::poll!(abandoned.as_mut()).is_pending());
    slow.asked(1).await;
    drop(abandoned);
    play(&fixture, 2, &prompt(fast.uri("/"), None)).await.unwrap();
}

#[tokio::test]
async fn with_a_resource_id_a_fresh_file_is_not_asked_for_again() {
    let host = PromptHost::doing(|| vec![Step::Send(response("200 OK", "", &wav(1)))]).await;
    let fixture = Fixture::new();
    let prompt = prompt(host.uri("/a.wav"), Some("r"));
    let first = play(&fixture, 1, &prompt).await.unwrap();
    let again = play(&fixture, 1, &prompt).await.unwrap();
    assert!(Arc::ptr_eq(&first.encoded, &again.encoded));
    let alaw = within(fixture.prompts.prepare(app(1), &prompt, Codec::Pcma)).await.unwrap();
    assert_eq!((alaw.encoded.codec(), alaw.sha256), (Codec::Pcma, first.sha256));
    let direct = Prompt::decode(wav(1).as_slice(), graphophone_media::prompt::Accept::Any).unwrap();
    assert_eq!(alaw.encoded.decode(), direct.encode(SampleCodec::Pcma).decode());
    assert_eq!(host.requests().len(), 1);
}

#[tokio::test]
async fn a_cached_prompt_is_ready_without_waiting() {
    let host = PromptHost::doing(|| vec![Step::Send(response("200 OK", "", &wav(1)))]).await;
    let fixture = Fixture::new();
    let prompt = prompt(host.uri("/a.wav"), Some("r"));
    play(&fixture, 1, &prompt).await.unwrap();
    let started = Instant::now();
    for _ in 0..1_000 {
        let ready = fixture.prompts.prepare(app(1), &prompt, Codec::Pcmu);
        futures::FutureExt::now_or_never(ready).expect("no await point").unwrap();
    }
    let each = started.elapsed() / 1_000;
    eprintln!("cached prepare: {each:?}");
    assert!(each < Duration::from_millis(1), "{each:?}");
}

#[tokio::test]
async fn without_a_resource_id_every_play_asks_again_by_the_validator_it_has() {
    for (fields, condition) in [
        ("ETag: \"v1\"\r\nCache-Control: max-age=3600\r\n", "if-none-match: \"v1\"\r\n"),
        (
            "Last-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\n",
            "if-modified-since: Wed, 21 Oct 2015 07:28:00 GMT\r\n",
        ),
    ] {
        let host = revalidating(fields, condition).await;
        let fixture = Fixture::new();
        let prompt = prompt(host.uri("/a.wav"), None);
        let first = play(&fixture, 1, &prompt).await.unwrap();
        for _ in 0..2 {
            let again = play(&fixture, 1, &prompt).await.unwrap();
            assert!(Arc::ptr_eq(&first.encoded, &again.encoded));
        }
        let asked: Vec<_> =
            host.requests().iter().map(|request| request.contains(condition)).collect();
        assert_eq!(asked, [false, true, true]);
        assert_eq!(host.connections(), 1, "the connection is used again");
    }
}

#[tokio::test]
async fn a_stale_file_is_revalidated_and_its_freshness_renewed() {
    let condition = "if-none-match: \"v1\"\r\n";
    let host = PromptHost::start(move |request, number| {
        assert_eq!(request.contains(condition), number > 0, "{request}");
        let fields = "ETag: \"v1\"\r\nCache-Control: max-age=";
        vec![Step::Send(match number {
            0 => response("200 OK", &format!("{fields}0\r\n"), &wav(1)),
            1 => format!("HTTP/1.1 304 Not Modified\r\n{fields}0\r\n\r\n").into_bytes(),
            _ => format!("HTTP/1.1 304 Not Modified\r\n{fields}3600\r\n\r\n").into_bytes(),
        })]
    })
    .await;
    let fixture = Fixture::new();
    let prompt = prompt(host.uri("/a.wav"), Some("r"));
    for _ in 0..5 {
        play(&fixture, 1, &prompt).await.unwrap();
    }
    assert_eq!(host.requests().len(), 3);
}

#[tokio::test]
async fn a_changed_file_is_heard_at_once_and_its_validator_replaces_the_old_one() {
    let host = PromptHost::start(|_, number| {
        let fields = format!("ETag: \"v{number}\"\r\nCache-Control: no-cache\r\n");
        vec![Step::Send(response("200 OK", &fields, &wav(number as i16)))]
    })
    .await;
    let fixture = Fixture::new();
    let prompt = prompt(host.uri("/a.wav"), Some("r"));
    for level in 0..4 {
        assert_plays(&play(&fixture, 1, &prompt).await.unwrap(), level);
    }
    let asked: Vec<_> = host.requests().iter().map(|r| r.contains("if-none-match")).collect();
    assert_eq!(asked, [false, true, true, true]);
    assert!(host.requests()[3].contains("if-none-match: \"v2\"\r\n"));
    assert_eq!(fixture.spooled(), 1);
}

#[tokio::test]
async fn what_must_not_be_stored_is_not() {
    let field = "Cache-Control: no-store\r\nETag: \"v1\"\r\n";
    let body = response("200 OK", field, &wav(1));
    let host = PromptHost::doing(move || vec![Step::Send(body.clone())]).await;
    let fixture = Fixture::new();
    let prompt = prompt(host.uri("/a.wav"), Some("r"));
    for _ in 0..2 {
        play(&fixture, 1, &prompt).await.unwrap();
        assert_eq!(fixture.spooled(), 0);
    }
    assert!(host.requests().iter().all(|request| !request.contains("if-none-match")));
}

#[tokio::test]
async fn two_applications_with_the_same_resource_id_never_share() {
    let host = PromptHost::start(|_, number| {
        vec![Step::Send(response("200 OK", "", &wav(number as i16)))]
    })
    .await;
    let fixture = Fixture::new();
    let prompt = prompt(host.uri("/a.wav"), Some("defaultPrompt"));
    for (number, level) in [(1, 0), (2, 1), (1, 0), (2, 1)] {
        assert_plays(&play(&fixture, number, &prompt).await.unwrap(), level);
    }
    let other_tenant = (TenantId::new(Uuid::from_u128(2)), app(1).1);
    let play = fixture.prompts.prepare(other_tenant, &prompt, Codec::Pcmu);
    assert_plays(&within(play).await.unwrap(), 2);
}

#[tokio::test]
async fn one_resource_id_with_two_uris_and_two_cases_of_it_are_all_heard_right() {
    let host = by_path().await;
    let fixture = Fixture::new();
    for _ in 0..2 {
        for (path, resource_id) in [("/1", "r"), ("/2", "r"), ("/3", "R"), ("/2", ""), ("/4", "r")]
        {
            let prompt = prompt(host.uri(path), Some(resource_id));
            let level = path[1..].parse().unwrap();
            assert_plays(&play(&fixture, 1, &prompt).await.unwrap(), level);
        }
    }
    assert_eq!(host.requests().len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_hears_anybody_elses_audio_whatever_happens_at_once() {
    let host = PromptHost::start(|request, _| {
        let path = request.split(' ').nth(1).unwrap();
        let level: i16 = path[1..].parse().unwrap();
        let control = ["max-age=3600", "no-cache", "no-store"][level as usize % 3];
        let fields = format!("ETag: \"v\"\r\nCache-Control: {control}\r\n");
        vec![Step::Send(response("200 OK", &fields, &wav(level)))]
    })
    .await;
    // Budgets so small that everything is evicted all the time.
    let guard = Guard::new(GuardSettings::dev("prompts.allow", vec![]));
    let fixture = Fixture::with(
        |settings| {
            settings.disk_budget = 40_000;
            settings.memory_budget = 2_000;
            settings.gate =
                GateLimits { total: 8, per_host: 8, per_app: 4, ..GateLimits::default() };
        },
        guard,
    );
    let mut random = 7_u32;
    let mut next = |below: u32| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 16) % below
    };
    for _ in 0..20 {
        let plays: Vec<_> = (0..40)
            .map(|_| {
                let resource_id = [None, Some("a"), Some("b")][next(3) as usize];
                (
                    next(8) as i16,
                    next(3) as u128,
                    resource_id,
                    SampleCodec::ALL[next(2) as usize].codec(),
                )
            })
            .collect();
        let played = plays.iter().map(|(level, owner, resource_id, codec)| {
            let prompt = prompt(host.uri(&format!("/{level}")), *resource_id);
            let prompts = fixture.prompts.clone();
            let (owner, codec, level) = (app(*owner), *codec, *level);
            async move { (prompts.prepare(owner, &prompt, codec).await, codec, level) }
        });
        for (prepared, codec, level) in within(join_all(played)).await {
            let prepared = prepared.unwrap();
            assert_eq!(prepared.encoded.codec(), codec);
            assert_plays(&prepared, level);
        }
    }
    // What was in use could stay above the budget; with the next file it has to go.
    play(&fixture, 1, &prompt(host.uri("/1"), Some("last"))).await.unwrap();
    assert_eq!(fixture.spooled(), 2);
}

#[tokio::test]
async fn the_same_audio_under_two_names_is_held_once() {
    let host = PromptHost::doing(|| vec![Step::Send(response("200 OK", "", &wav(1)))]).await;
    let fixture = Fixture::new();
    let one = play(&fixture, 1, &prompt(host.uri("/1"), Some("1"))).await.unwrap();
    let two = play(&fixture, 2, &prompt(host.uri("/2"), None)).await.unwrap();
    assert!(Arc::ptr_eq(&one.encoded, &two.encoded));
    assert_eq!(host.requests().len(), 2);
}

#[tokio::test]
async fn the_same_samples_at_another_rate_are_other_audio() {
    let mut slow = wav(1);
    slow[24..28].copy_from_slice(&8_000_u32.to_le_bytes());
    slow[28..32].copy_from_slice(&16_000_u32.to_le_bytes());
    let host = PromptHost::start(move |request, _| {
        let body = if request.starts_with("GET /slow") { slow.clone() } else { wav(1) };
        vec![Step::Send(response("200 OK", "", &body))]
    })
    .await;
    let fixture = Fixture::new();
    let fast = play(&fixture, 1, &prompt(host.uri("/fast"), None)).await.unwrap();
    let slow = play(&fixture, 1, &prompt(host.uri("/slow"), None)).await.unwrap();
    assert_eq!(fast.sha256, slow.sha256);
    assert_eq!((fast.duration.as_millis(), slow.duration.as_millis()), (100, 200));
}

#[tokio::test]
async fn a_resource_id_leaves_no_file_outside_the_directory() {
    let host = PromptHost::doing(|| vec![Step::Send(response("200 OK", "", &wav(1)))]).await;
    let fixture = Fixture::new();
    let odd =
        ["../../../../tmp/pwn", "a\0/b\\c:*?", "/etc/passwd", "..", "\u{202e}", &"x".repeat(999)];
    for resource_id in odd {
        play(&fixture, 1, &prompt(host.uri("/a.wav"), Some(resource_id))).await.unwrap();
    }
    assert_eq!(fixture.spooled(), odd.len());
    let around: Vec<_> = std::fs::read_dir(fixture.directory.path()).unwrap().collect();
    assert_eq!(around.len(), 1);
    for file in std::fs::read_dir(fixture.directory.path().join("prompts")).unwrap() {
        let file = file.unwrap();
        let name = file.file_name().into_string().unwrap();
        assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b)), "{name}");
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o077, 0, "{name}");
    }
    assert!(!std::path::Path::new("/tmp/pwn").exists());
}

#[tokio::test]
async fn a_prefetched_prompt_needs_no_download_at_its_play() {
    let host = PromptHost::doing(|| vec![Step::Send(response("200 OK", "", &wav(1)))]).await;
    let fixture = Fixture::new();
    let good = prompt(host.uri("/a.wav"), Some("r"));
    let bad = prompt("https://10.0.0.1/", Some("r"));
    fixture.prompts.prefetch(app(1), &[bad, good.clone()]);
    host.asked(1).await;
    let ready = async {
        while futures::FutureExt::now_or_never(play(&fixture, 1, &good)).is_none() {
            tokio::task::yield_now().await;
        }
    };
    within(ready).await;
    within(fixture.prompts.prepare(app(1), &good, Codec::Pcma)).await.unwrap();
    assert_eq!(host.requests().len(), 1);
}

#[tokio::test]
async fn a_slow_host_holds_up_its_own_prompts_only() {
    let slow = PromptHost::doing(|| vec![Step::Hang]).await;
    let fast = PromptHost::doing(|| vec![Step::Send(response("200 OK", "", &wav(1)))]).await;
    let fixture = Fixture::limited(|limits| {
        limits.first_byte = Duration::from_secs(60);
        limits.total = Duration::from_secs(2);
    });
    let stuck: Vec<_> = (0..100)
        .map(|number| {
            let prompts = fixture.prompts.clone();
            let prompt = prompt(slow.uri(&format!("/{number}")), None);
            tokio::spawn(async move { prompts.prepare(app(1), &prompt, Codec::Pcmu).await })
        })
        .collect();
    slow.asked(8).await;
    play(&fixture, 2, &prompt(fast.uri("/"), None)).await.unwrap();
    assert!(!stuck.iter().any(tokio::task::JoinHandle::is_finished));
    assert_eq!(slow.connections(), 8);
    // Waiting counts: nobody's deadline begins with the turn.
    let started = Instant::now();
    for outcome in within(join_all(stuck)).await {
        assert_eq!(told(&outcome.unwrap().unwrap_err()).0, 8536);
    }
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_file_that_vanished_is_fetched_again() {
    let host = by_path().await;
    // No room for audio: the file has to be read again for the next play.
    let guard = Guard::new(GuardSettings::dev("prompts.allow", vec![]));
    let fixture = Fixture::with(|settings| settings.memory_budget = 1, guard);
    let prompts = ["/1", "/2"].map(|path| prompt(host.uri(path), Some("r")));
    for prompt in &prompts {
        play(&fixture, 1, prompt).await.unwrap();
    }
    for file in std::fs::read_dir(fixture.directory.path().join("prompts")).unwrap() {
        let path = file.unwrap().path();
        // Uploads have a folder of their own.
        if path.is_file() {
            std::fs::remove_file(path).unwrap();
        }
    }
    let error = play(&fixture, 1, &prompts[0]).await.unwrap_err();
    assert!(matches!(error, PrepareError::Internal { .. }), "{error:?}");
    play(&fixture, 1, &prompts[0]).await.unwrap();
}

async fn play(
    fixture: &Fixture,
    owner: u128,
    prompt: &MediaPrompt,
) -> Result<Prepared, PrepareError> {
    within(fixture.prompts.prepare(app(owner), prompt, Codec::Pcmu)).await
}

/// Serves 100 ms of the level that the path names.
async fn by_path() -> PromptHost {
    PromptHost::start(|request, _| {
        let path = request.split(' ').nth(1).unwrap();
        vec![Step::Send(response("200 OK", "", &wav(path[1..].parse().unwrap())))]
    })
    .await
}

/// Answers 304 to a request that carries `condition`.
async fn revalidating(fields: &'static str, condition: &'static str) -> PromptHost {
    PromptHost::start(move |request, _| {
        if request.contains(condition) {
            let head = format!("HTTP/1.1 304 Not Modified\r\nContent-Length: 0\r\n{fields}\r\n");
            return vec![Step::Send(head.into_bytes())];
        }
        vec![Step::Send(response("200 OK", fields, &wav(1)))]
    })
    .await
}

fn assert_plays(prepared: &Prepared, level: i16) {
    let expected = Prompt::decode(wav(level).as_slice(), graphophone_media::prompt::Accept::Any);
    assert_eq!(prepared.sha256, expected.unwrap().sha256, "level {level}");
}
