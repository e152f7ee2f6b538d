//! The participants of a call: lists, rosters, mute, invitations, hold music.

use axum::http::{Method, StatusCode};
use graphophone_sip::phone::AnswerPolicy;
use graphophone_testkit::{TestCall, audio, is_end_of, soon};
use serde_json::{Value, json};

use crate::conference::{Group, TONES, hears, invitation};

fn code(answer: &graphophone::bot::Answer) -> (u16, String) {
    let code = answer.body["error"]["code"].as_str().unwrap_or("-").to_owned();
    (answer.status.as_u16(), code)
}

#[tokio::test]
async fn a_call_between_two_has_two_participants_and_no_group_verbs() {
    let call = TestCall::start().await;
    let path = |tail: &str| format!("/v1.0/communications/calls/{}{tail}", call.id);
    let send = |method: Method, tail: &str, body: Option<Value>| {
        let path = path(tail);
        let bot = &call.bot;
        async move { bot.send(method, &path, body).await.unwrap() }
    };
    let list = send(Method::GET, "/participants", None).await.ok().unwrap();
    let shown = list["value"].as_array().unwrap();
    assert_eq!(shown.len(), 2);
    let context = list["@odata.context"].as_str().unwrap();
    assert!(context.ends_with(&format!("calls('{}')/participants", call.id)), "{context}");
    assert!(shown[0]["info"]["identity"]["application"]["id"].is_string());
    let phone = call.server.server().ready().phone.clone().unwrap();
    assert_eq!(shown[1]["info"]["identity"]["user"]["id"], phone.as_str());
    let peer = shown[1]["id"].as_str().unwrap();
    let one = send(Method::GET, &format!("/participants/{peer}"), None).await.ok().unwrap();
    assert_eq!(one["id"], peer);
    let absent = "/participants/0fe0623f-d628-42ed-b4bd-8ac290072cc5";
    assert_eq!(code(&send(Method::GET, absent, None).await), (404, "8558".into()));
    assert_eq!(code(&send(Method::GET, "/participants/x", None).await), (404, "8558".into()));

    let invite = json!({"participants": [{"identity": {"user": {"id": phone}}}]});
    for (tail, body) in [
        ("/mute".to_owned(), json!({})),
        ("/unmute".to_owned(), json!({})),
        (format!("/participants/{peer}/mute"), json!({})),
        (format!("/participants/{peer}/startHoldMusic"), json!({})),
        ("/participants/invite".to_owned(), invite),
        ("/audioRoutingGroups".to_owned(), json!({})),
    ] {
        let answer = send(Method::POST, &tail, Some(body)).await;
        assert_eq!(code(&answer), (400, "8548".into()), "{tail}");
    }
    let answer = send(Method::DELETE, &format!("/participants/{peer}"), None).await;
    assert_eq!(code(&answer), (400, "8548".into()));

    let status = json!({"status": "recording", "clientContext": "c"});
    let answer = send(Method::POST, "/updateRecordingStatus", Some(status)).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.body["@odata.type"], "#microsoft.graph.updateRecordingStatusOperation");
    assert_eq!(answer.body["status"], "completed");
    let list = send(Method::GET, "/participants", None).await.ok().unwrap();
    assert_eq!(list["value"][0]["recordingInfo"]["recordingStatus"], "recording");
}

#[tokio::test]
async fn a_muted_phone_is_heard_by_nobody_and_still_hears() {
    let mut group = Group::of(3).await;
    group.speak();
    group.each_hears(&[&[1, 2], &[0, 2], &[0, 1]]).await;
    let muted = group.participant(0).await;
    let path = format!("/participants/{muted}/mute");
    let answer = group.post(&path, json!({"clientContext": "m"})).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.body["@odata.type"], "#microsoft.graph.muteParticipantOperation");
    assert_eq!(
        (&answer.body["status"], &answer.body["clientContext"]),
        (&json!("completed"), &json!("m"))
    );
    assert!(answer.headers.contains_key("location"));
    let is_muted = |roster: &[Value]| {
        roster.iter().any(|shown| shown["id"] == muted.as_str() && shown["isMuted"] == true)
    };
    group.roster_that(is_muted).await;
    group.each_hears(&[&[1, 2], &[2], &[1]]).await;
    let path = format!("/participants/{muted}/graphophoneUnmute");
    group.post(&path, json!({})).await.ok().unwrap();
    group.each_hears(&[&[1, 2], &[0, 2], &[0, 1]]).await;

    let all = group.send_to("beta", Method::POST, "/participants/muteAll", Some(json!({}))).await;
    assert_eq!(all.body["@odata.type"], "#microsoft.graph.muteParticipantsOperation");
    group.each_hears(&[&[], &[], &[]]).await;
}

#[tokio::test]
async fn a_bot_that_mutes_itself_is_not_heard() {
    let mut group = Group::of(2).await;
    group.post("/mute", json!({})).await.ok().unwrap();
    group.roster_that(|roster| roster[0]["isMuted"] == true).await;
    let uri = group.bot.serve("long.wav", audio::tone_wav(TONES[3], 20_000));
    group.bot.play(&group.id, &[uri], false).await.unwrap();
    group.speak();
    group.each_hears(&[&[1], &[0]]).await;
    hears(&group.lines[0].call, &[TONES[1]], &[TONES[3]]).await;
    let answer = group.post("/unmute", json!({})).await;
    assert_eq!(answer.body["@odata.type"], "#microsoft.graph.unmuteParticipantOperation");
    hears(&group.lines[0].call, &[TONES[1], TONES[3]], &[TONES[0]]).await;
    hears(&group.lines[1].call, &[TONES[0], TONES[3]], &[TONES[1]]).await;
}

#[tokio::test]
async fn invited_ones_come_in_and_removed_ones_go_and_rosters_tell_each_step_in_order() {
    let mut group = Group::of(2).await;
    let (third, busy) = (
        group.server.unregistered_phone("third").await,
        group.server.unregistered_phone("busy").await,
    );
    busy.set_answer(AnswerPolicy::Busy);
    let body = json!({"participants": [invitation(&third)], "clientContext": "i"});
    let answer = group.post("/participants/invite", body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert_eq!(answer.body["@odata.type"], "#microsoft.graph.inviteParticipantsOperation");
    assert_eq!(answer.body["status"], "running");
    let invited = answer.body["participants"][0]["participantId"].as_str().unwrap().to_owned();
    let operation = answer.body["id"].as_str().unwrap().to_owned();
    let call = soon("the third phone is called", third.next_call()).await;
    let ended = group.until(|value| is_end_of(value, &operation)).await;
    assert_eq!(ended.value["resourceData"]["status"], "completed");
    assert_eq!(ended.value["resourceData"]["clientContext"], "i");
    let roster = group.roster_of(4).await;
    assert_eq!(roster[3]["id"], invited.as_str());
    group.speak();
    hears(&call, &TONES[..2], &[]).await;

    let body = json!({"participants": [invitation(&busy)]});
    let answer = group.post("/participants/invite", body).await;
    let operation = answer.body["id"].as_str().unwrap().to_owned();
    let ended = group.until(|value| is_end_of(value, &operation)).await;
    let data = &ended.value["resourceData"];
    assert_eq!((&data["status"], &data["resultInfo"]["code"]), (&json!("failed"), &json!(486)));
    let message = data["resultInfo"]["message"].as_str().unwrap();
    assert!(message.starts_with("addParticipants failed for participant"), "{message}");

    let gone = group.send(Method::DELETE, &format!("/participants/{invited}"), None).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    soon("the removed phone is hung up", call.ended()).await;
    group.roster_of(3).await;
    let again = group.send(Method::DELETE, &format!("/participants/{invited}"), None).await;
    assert_eq!(code(&again), (404, "8558".into()));
    let sequences: Vec<u64> = group
        .rosters()
        .iter()
        .map(|roster| roster[0]["rosterSequenceNumber"].as_u64().unwrap())
        .collect();
    let expected: Vec<u64> = (1..=sequences.len() as u64).collect();
    assert_eq!(sequences, expected, "one snapshot for each change, in order");
}

#[tokio::test]
async fn hold_music_is_heard_by_one_only_and_one_at_a_time() {
    let mut group = Group::of(3).await;
    group.speak();
    group.each_hears(&[&[1, 2], &[0, 2], &[0, 1]]).await;
    let (held, other) = (group.participant(0).await, group.participant(1).await);
    let uri = group.bot.serve("hold.wav", audio::tone_wav(TONES[3], 700));
    let custom = json!({
        "customPrompt": {
            "@odata.type": "#microsoft.graph.mediaPrompt",
            "mediaInfo": {"@odata.type": "#microsoft.graph.mediaInfo", "uri": uri},
        },
        "clientContext": "h",
    });
    let answer = group.post(&format!("/participants/{held}/startHoldMusic"), custom).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.body);
    assert_eq!(answer.body["@odata.type"], "#microsoft.graph.startHoldMusicOperation");
    assert_eq!(answer.body["status"], "running");
    let operation = answer.body["id"].as_str().unwrap().to_owned();
    let second = group.post(&format!("/participants/{other}/startHoldMusic"), json!({})).await;
    assert_eq!(code(&second), (409, "8519".into()));
    let ended = group.until(|value| is_end_of(value, &operation)).await;
    assert_eq!(ended.value["resourceData"]["status"], "completed");
    // Longer than the prompt: it is played over and over.
    hears(&group.lines[0].call, &[TONES[3]], &TONES[..3]).await;
    hears(&group.lines[1].call, &[TONES[2]], &[TONES[0], TONES[3]]).await;
    hears(&group.lines[2].call, &[TONES[1]], &[TONES[0], TONES[3]]).await;

    let path = format!("/participants/{held}/stopHoldMusic");
    let answer = group.post(&path, json!({})).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    let operation = answer.body["id"].as_str().unwrap().to_owned();
    group.until(|value| is_end_of(value, &operation)).await;
    group.each_hears(&[&[1, 2], &[0, 2], &[0, 1]]).await;
    let again = group.post(&path, json!({})).await;
    assert_eq!(code(&again), (400, "8585".into()));

    // The built-in tune is no tone of ours, and it is loud.
    group.post(&format!("/participants/{other}/startHoldMusic"), json!({})).await.ok().unwrap();
    hears(&group.lines[0].call, &[TONES[2]], &[TONES[1]]).await;
    hears(&group.lines[1].call, &[], &[TONES[0], TONES[2]]).await;
    let heard = group.lines[1].call.heard();
    let tail = &heard.samples[heard.samples.len() - audio::ms_to_samples(400)..];
    assert!(tail.iter().any(|sample| sample.unsigned_abs() > 1_000), "music plays");
}

#[tokio::test]
async fn hold_music_that_cannot_be_had_fails_and_lets_its_listener_back_in() {
    let mut group = Group::of(2).await;
    group.speak();
    let held = group.participant(0).await;
    let uri = format!("{}/nothing-here", group.bot.callback_uri());
    let custom = json!({"customPrompt": {"mediaInfo": {"uri": uri}}});
    let answer = group.post(&format!("/participants/{held}/startHoldMusic"), custom).await;
    let operation = answer.body["id"].as_str().unwrap().to_owned();
    let ended = group.until(|value| is_end_of(value, &operation)).await;
    let data = &ended.value["resourceData"];
    assert_eq!((&data["status"], &data["resultInfo"]["subcode"]), (&json!("failed"), &json!(8536)));
    group.each_hears(&[&[1], &[0]]).await;
}

#[tokio::test]
async fn mixer_levels_are_heard_by_one_listener_only() {
    let mut group = Group::of(3).await;
    group.speak();
    group.each_hears(&[&[1, 2], &[0, 2], &[0, 1]]).await;
    let (listener, source) = (group.participant(0).await, group.participant(1).await);
    let body = json!({"participantMixerLevels": [{
        "participant": listener,
        "exclusive": true,
        "sourceLevels": [{"participant": source, "level": 100}],
    }]});
    let path = "/participants/configureMixer";
    let answer = group.send_to("beta", Method::POST, path, Some(body)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert_eq!(answer.body["status"], "running");
    let operation = answer.body["id"].as_str().unwrap().to_owned();
    group.until(|value| is_end_of(value, &operation)).await;
    group.each_hears(&[&[1], &[0, 2], &[0, 1]]).await;
}

#[tokio::test]
async fn others_make_way_for_a_named_speaker_as_far_as_one_listener_is_concerned() {
    let mut group = Group::of(3).await;
    group.lines[2].speak();
    let (listener, named) = (group.participant(0).await, group.participant(1).await);
    let body = json!({"participantMixerLevels": [{
        "participant": listener,
        "ducking": {"lowerLevel": 0, "upperLevel": 100, "rampActive": 40, "rampInactive": 40},
        "sourceLevels": [{"participant": named}],
    }]});
    let path = "/participants/configureMixer";
    let answer = group.send_to("beta", Method::POST, path, Some(body)).await;
    let operation = answer.ok().unwrap()["id"].as_str().unwrap().to_owned();
    group.until(|value| is_end_of(value, &operation)).await;
    hears(&group.lines[0].call, &[TONES[2]], &TONES[..2]).await;
    group.lines[1].speak();
    hears(&group.lines[0].call, &[TONES[1]], &[TONES[0], TONES[2]]).await;
    hears(&group.lines[1].call, &[TONES[2]], &TONES[..2]).await;
    // The named one says nothing any more, and the others come back.
    let silence = graphophone_media::wav::to_bytes(audio::RATE, &vec![0; 160]);
    let accept = graphophone_media::prompt::Accept::Any;
    let silence = graphophone_media::prompt::Prompt::decode(silence.as_slice(), accept).unwrap();
    group.lines[1].call.say(&silence).unwrap();
    hears(&group.lines[0].call, &[TONES[2]], &TONES[..2]).await;
}
