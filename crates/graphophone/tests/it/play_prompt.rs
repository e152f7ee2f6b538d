//! What a caller hears of prompts: everything, once, in order, at the right pitch.

use graphophone_media::{
    analysis,
    codec::{Codec, SampleCodec},
};
use graphophone_testkit::{
    TestCall, TestServer, WirePhone,
    audio::{
        as_heard, assert_heard, assert_tones, float_stereo_wav, length_ms, ms_to_samples, tone_wav,
    },
    is_audio_active, is_end_of, patience, seen, sent_ms, states,
};
use serde_json::json;

/// Longest silence between two operations: a playout waits for no disk.
const LONGEST_BREAK_MS: usize = 40;

#[tokio::test]
async fn three_prompts_are_heard_whole_in_order_and_without_a_gap() {
    let mut call = TestCall::start().await;
    let files = [tone_wav(440.0, 400), tone_wav(880.0, 320), tone_wav(1_320.0, 500)];
    let files: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
    let operation = call.play(&files).await;
    let ended = call.ended(&operation).await;
    assert_eq!(ended.value["resourceData"]["completionReason"], "completedSuccessfully");

    let heard = call.heard(1_220).await;
    assert_heard(&heard.samples, &as_heard(&files, Codec::Pcmu));
    assert_tones(&heard.samples, &[(440.0, 400), (880.0, 320), (1_320.0, 500)]);
    assert_eq!((heard.lost, heard.longest_hole.as_millis()), (0, 0));
    call.server.stop().await;
}

#[tokio::test]
async fn twenty_prompts_are_one_piece() {
    let mut call = TestCall::start().await;
    let tones: Vec<(f64, usize)> =
        (0..20_u32).map(|n| (300.0 + f64::from(n) * 120.0, 80)).collect();
    let files: Vec<Vec<u8>> = tones.iter().map(|(hz, _)| tone_wav(*hz, 80)).collect();
    let files: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
    let operation = call.play(&files).await;
    call.ended(&operation).await;

    let heard = call.heard(1_600).await;
    assert_heard(&heard.samples, &as_heard(&files, Codec::Pcmu));
    assert_tones(&heard.samples, &tones);
}

#[tokio::test]
async fn prompts_that_do_not_fill_their_last_packet_join_without_silence() {
    let mut call = TestCall::start().await;
    // 333, 107 and 211 ms: none is a multiple of 20 ms, nor is their sum.
    let files = [tone_wav(500.0, 333), tone_wav(900.0, 107), tone_wav(700.0, 211)];
    let files: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
    let operation = call.play(&files).await;
    call.ended(&operation).await;

    let heard = call.heard(660).await;
    let expected = as_heard(&files, Codec::Pcmu);
    assert_eq!(expected.len(), ms_to_samples(651));
    assert_heard(&heard.samples, &expected);
    assert_eq!(heard.samples.len(), ms_to_samples(660), "the last packet is filled, once");
    assert_eq!(heard.packets.len(), 33);
}

#[tokio::test]
async fn a_phone_of_another_make_that_speaks_a_law_only_hears_the_same() {
    let server = TestServer::start().await;
    let phone = WirePhone::start().await;
    let mut bot = server.bot().await;
    let id = bot.call(phone.identity(), &[]).await.unwrap();
    bot.until(patience(), is_audio_active).await.unwrap();
    let files = [tone_wav(440.0, 333), tone_wav(1_000.0, 300)];
    let uris = [bot.serve("a", files[0].clone()), bot.serve("b", files[1].clone())];
    let operation = bot.play(&id, &uris, false).await.unwrap();
    let ended = bot.until(patience(), |value| is_end_of(value, &operation)).await.unwrap();

    let heard = seen("all packets", || async {
        Some(phone.heard()).filter(|heard| heard.packets.len() >= 32)
    })
    .await;
    let samples = SampleCodec::Pcma.decode(&heard.alaw);
    assert_heard(&samples, &as_heard(&[&files[0], &files[1]], Codec::Pcma));
    assert_tones(&samples, &[(440.0, 333), (1_000.0, 300)]);
    let (first, start) = heard.packets[0];
    for (index, (sequence, timestamp)) in heard.packets.iter().enumerate() {
        let index = index as u16;
        assert_eq!(*sequence, first.wrapping_add(index));
        assert_eq!(*timestamp, start.wrapping_add(u32::from(index) * 160));
    }
    assert_eq!(heard.foreign, 0);

    // It sends no RTCP, so nobody knows what has arrived.
    let receipt = &ended.last().unwrap().value["resourceData"]["graphophoneReceipt"];
    assert_eq!(receipt["prompts"][0]["millisecondsSent"], 333);
    assert!(receipt["prompts"][0]["millisecondsAcknowledged"].is_null(), "{receipt}");
}

#[tokio::test]
async fn stereo_float_at_44100_hz_is_heard_at_its_pitch_and_without_aliases() {
    let mut call = TestCall::start().await;
    // What would come back, folded at 8 or 16 kHz: 5300 → 2700, 6500 → 1500, 9700 → 1700,
    // 15500 → 500. None of it is a harmonic of 613 Hz.
    let parts: Vec<(f64, f64)> =
        [613.0, 5_300.0, 6_500.0, 9_700.0, 15_500.0].map(|hz| (hz, 0.18)).to_vec();
    let file = float_stereo_wav(44_100, 800, &parts);
    let operation = call.play(&[&file]).await;
    call.ended(&operation).await;

    let heard = call.heard(800).await;
    assert!((length_ms(&heard.samples) - 800.0).abs() <= 20.0);
    // Without the edges, where the steps of the source's own beginning and end are.
    let middle = &heard.samples[ms_to_samples(40)..ms_to_samples(760)];
    let pitch = analysis::dominant_frequency(middle, 8_000).unwrap();
    assert!((pitch - 613.0).abs() < 2.0, "{pitch}");
    let wanted = analysis::tone_level_db(middle, 8_000, 613.0);
    assert!((wanted - 20.0 * 0.18_f64.log10()).abs() < 0.5, "{wanted} dB");
    for alias in [2_700.0, 1_500.0, 1_700.0, 500.0] {
        let level = analysis::tone_level_db(middle, 8_000, alias) - wanted;
        assert!(level < -50.0, "{alias} Hz is at {level} dB");
    }
}

#[tokio::test]
async fn a_second_operation_waits_and_follows_the_first_at_once() {
    let mut call = TestCall::start().await;
    let (low, high) = (tone_wav(440.0, 600), tone_wav(1_000.0, 400));
    let first = call.play(&[&low]).await;
    let second = call.play(&[&high]).await;
    let waiting = call.operation(&second).await;
    assert_eq!(waiting["status"], "running");
    assert_eq!(waiting["graphophoneReceipt"]["prompts"][0]["reason"], "waiting");
    call.ended(&first).await;
    call.ended(&second).await;
    assert_eq!(states(&call.told[3..]), ["deleted operation completed"; 2]);

    let heard = call.heard(1_000).await;
    assert_tones(&heard.samples, &[(440.0, 600)]);
    let found = analysis::align(&heard.samples, &as_heard(&[&high], Codec::Pcmu), 8_000).unwrap();
    assert!(found.correlation >= 0.99, "{found:?}");
    let between = found.offset_ms - 600.0;
    assert!((0.0..=LONGEST_BREAK_MS as f64).contains(&between), "{between} ms between them");
}

#[tokio::test]
async fn a_prompt_with_a_repeat_count_is_played_so_often() {
    let mut call = TestCall::start().await;
    let (low, high) = (tone_wav(440.0, 215), tone_wav(1_000.0, 200));
    let mut body = call.prompts(&[&low, &high]);
    body["prompts"][0]["loop"] = json!(3);
    let operation = call.play_body("beta", body).await;
    let ended = call.ended(&operation).await;
    assert_eq!(ended.value["resourceData"]["status"], "completed");

    let heard = call.heard(845).await;
    assert_heard(&heard.samples, &as_heard(&[&low, &low, &low, &high], Codec::Pcmu));
    let receipt = &ended.value["resourceData"]["graphophoneReceipt"]["prompts"][0];
    assert_eq!(receipt["millisecondsSent"], 645);
    assert_eq!(receipt["durationMs"], 645, "with all repeats");
    assert_eq!(receipt["reason"], "completed");
}

#[tokio::test]
async fn both_versions_loop_for_ever_and_tell_nothing_by_themselves() {
    let mut call = TestCall::start().await;
    let (low, high) = (tone_wav(440.0, 110), tone_wav(1_000.0, 130));
    let round = as_heard(&[&low, &high], Codec::Pcmu);
    let mut before = 0;
    for version in ["beta", "v1.0"] {
        let mut body = call.prompts(&[&low, &high]);
        body["loop"] = json!(true);
        let operation = call.play_body(version, body).await;
        // Three rounds and a bit, each of 240 ms.
        let heard = call.heard(before + 800).await;
        let (fresh, from) = heard.packets.iter().fold((0, None), |(arrived, from), packet| {
            let is_old = arrived < ms_to_samples(before);
            (arrived + packet.length, if is_old { from } else { from.or(Some(packet.start)) })
        });
        assert!(fresh >= ms_to_samples(before + 800));
        let heard = &heard.samples[from.expect("a packet of this loop")..];
        let expected: Vec<i16> = round.iter().copied().cycle().take(heard.len()).collect();
        assert_heard(heard, &expected);
        assert_eq!(call.operation(&operation).await["status"], "running");

        // What comes next is the answer to the cancel: nothing was told before.
        call.cancel().await;
        let told = call.told.len();
        let ended = call.ended(&operation).await;
        assert_eq!(call.states()[told..], ["deleted operation failed"], "{version}");
        before += sent_ms(&ended.value["resourceData"]) as usize;
    }
}

#[tokio::test]
async fn two_calls_at_one_time_do_not_hear_each_other() {
    let mut first = TestCall::start().await;
    let id = first.bot.call(first.server.phone_identity(), &[]).await.unwrap();
    let other = graphophone_testkit::soon("a second call", first.server.phone().next_call()).await;
    first
        .until(|value| is_audio_active(value) && value["resource"].as_str().unwrap().ends_with(&id))
        .await;
    let (low, high) = (tone_wav(440.0, 500), tone_wav(1_000.0, 500));
    let uri = first.serve(&high);
    let one = first.play(&[&low]).await;
    let two = first.bot.play(&id, &[uri], false).await.unwrap();
    // Either may end first.
    let mut open = vec![one, two];
    while !open.is_empty() {
        let ended = first.until(|value| value["resourceData"]["status"] == "completed").await;
        open.retain(|operation| ended.value["resourceData"]["id"] != operation.as_str());
    }
    let (here, there) = (first.heard(500).await, graphophone_testkit::heard(&other, 500).await);
    assert_heard(&here.samples, &as_heard(&[&low], Codec::Pcmu));
    assert_heard(&there.samples, &as_heard(&[&high], Codec::Pcmu));
}
