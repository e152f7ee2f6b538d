//! Transfers out of a group call: one participant leaves it for somebody else.

use axum::http::Method;
use graphophone::bot::{is_audio_active, is_terminated};
use graphophone_sip::{
    IncomingRefer,
    phone::{AnswerPolicy, Phone, PhoneCall},
};
use graphophone_testkit::{is_end_of, patience, soon, states};
use serde_json::{Value, json};

use crate::{
    conference::{Group, hears, invitation},
    transfer::{assert_hears, phone, target},
};

/// A group of two and alice, whose phone does or does not do what it is referred to; her end of the
/// call, and her participant id.
async fn with_alice(refer: IncomingRefer) -> (Group, Phone, PhoneCall, String) {
    let mut group = Group::of(2).await;
    let alice = phone(&group.server, "alice", refer).await;
    let body = json!({"participants": [invitation(&alice)]});
    let invited = group.post("/participants/invite", body).await.ok().unwrap();
    let call = soon("alice is called", alice.next_call()).await;
    group.until(|value| is_end_of(value, invited["id"].as_str().unwrap())).await;
    group.roster_of(4).await;
    let id = invited["participants"][0]["participantId"].as_str().unwrap().to_owned();
    group.told.clear();
    (group, alice, call, id)
}

fn body(to: Value, transferee: &str) -> Value {
    let transferee = json!({"identity": {"user": {"id": "whoever"}}, "participantId": transferee});
    json!({"transferTarget": to, "transferee": transferee})
}

fn states_told(group: &Group) -> Vec<String> {
    let is_call = |state: &String| state.starts_with("updated t") || state.starts_with("deleted t");
    states(&group.told).into_iter().filter(is_call).collect()
}

#[tokio::test]
async fn who_is_transferred_out_of_a_group_leaves_it_and_talks_with_the_target() {
    for refer in [IncomingRefer::Follow, IncomingRefer::Decline] {
        let (mut group, alice, first, id) = with_alice(refer).await;
        let bob = phone(&group.server, "bob", IncomingRefer::Decline).await;
        let answer = group.post("/transfer", body(target(&bob), &id)).await;
        assert_eq!((answer.status.as_u16(), &answer.body), (202, &Value::Null));
        let ended = group.until(is_terminated).await;
        let result = &ended.value["resourceData"]["resultInfo"];
        assert_eq!((&result["code"], &result["subcode"]), (&json!(0), &json!(7015)));
        let wanted = ["updated transferring", "updated transferAccepted", "deleted terminated"];
        assert_eq!(states_told(&group), wanted, "{refer:?}");

        let his = soon("bob is called", bob.next_call()).await;
        soon("they talk", his.established()).await.unwrap();
        let hers = match refer {
            IncomingRefer::Follow => {
                soon("she has left the group", first.ended()).await;
                alice.latest_call().unwrap()
            }
            IncomingRefer::Decline => first,
        };
        assert_hears(&hers, &his, 500.0).await;
        assert_hears(&his, &hers, 800.0).await;
        // The two of the group go on without the bot, and hear nothing of that.
        group.speak();
        group.each_hears(&[&[1], &[0]]).await;
        hears(&group.lines[0].call, &[group.lines[1].hz], &[]).await;
        his.hang_up();
        soon("it ends for both", hers.ended()).await;
        group.lines[0].call.hang_up();
        soon("the group ends", group.lines[1].call.ended()).await;
    }
}

#[tokio::test]
async fn a_transfer_out_of_a_group_that_fails_leaves_all_in_it() {
    for refer in [IncomingRefer::Follow, IncomingRefer::Decline] {
        let (mut group, _alice, call, id) = with_alice(refer).await;
        let bob = phone(&group.server, "bob", IncomingRefer::Decline).await;
        bob.set_answer(AnswerPolicy::Busy);
        group.post("/transfer", body(target(&bob), &id)).await;
        let failed = |value: &Value| value["resourceData"]["resultInfo"]["code"] == 500;
        let told = group.until(failed).await.value["resourceData"].clone();
        assert_eq!(
            (&told["state"], &told["resultInfo"]["subcode"]),
            (&json!("established"), &json!(7000))
        );
        group.speak();
        hears(&call, &[group.lines[0].hz, group.lines[1].hz], &[]).await;
        // Who leaves while the target rings ends the transfer, and not the call.
        bob.set_answer(AnswerPolicy::Never);
        group.told.clear();
        group.post("/transfer", body(target(&bob), &id)).await;
        soon("bob is called", bob.next_call()).await;
        call.hang_up();
        group.until(failed).await;
        let list = group.send(Method::GET, "/participants", None).await.ok().unwrap();
        assert_eq!(list["value"].as_array().unwrap().len(), 3);
    }
}

#[tokio::test]
async fn a_participant_is_transferred_to_the_far_end_of_another_call() {
    for refer in [IncomingRefer::Follow, IncomingRefer::Decline] {
        let (mut group, alice, first, id) = with_alice(refer).await;
        let carol = phone(&group.server, "carol", IncomingRefer::Decline).await;
        let other = group.bot.call(json!({"user": {"id": carol.uri()}}), &[]).await.unwrap();
        let hers = soon("carol is called", carol.next_call()).await;
        group.bot.until(patience(), is_audio_active).await.unwrap();
        let mut to = target(&carol);
        to["replacesCallId"] = other.clone().into();
        group.post("/transfer", body(to, &id)).await;
        for _ in 0..2 {
            let ended = group.until(is_terminated).await.value["resourceData"].clone();
            assert_eq!(ended["resultInfo"]["subcode"], 7015, "{ended}");
            assert_eq!(ended["terminationReason"], "AppTransferred");
        }
        let alices = match refer {
            IncomingRefer::Follow => alice.latest_call().unwrap(),
            IncomingRefer::Decline => first,
        };
        assert_hears(&alices, &hers, 500.0).await;
        assert_hears(&hers, &alices, 800.0).await;
    }
}

#[tokio::test]
async fn a_transfer_out_of_a_group_names_somebody_of_it() {
    let group = Group::of(2).await;
    let bob = phone(&group.server, "bob", IncomingRefer::Decline).await;
    let nobody = group.post("/transfer", json!({"transferTarget": target(&bob)})).await;
    assert_eq!((nobody.status.as_u16(), &nobody.body["error"]["code"]), (400, &json!("8523")));
    let message = nobody.body["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("transferee: "), "{message}");
    let absent = "0fe0623f-d628-42ed-b4bd-8ac290072cc5";
    let by_name = |uri: String| {
        json!({
            "transferTarget": target(&bob), "transferee": {"identity": {"user": {"id": uri}}},
        })
    };
    for (body, status) in [
        (body(target(&bob), absent), 404),
        (body(target(&bob), "x"), 404),
        (by_name("sip:x@127.0.0.1".to_owned()), 404),
        (by_name(group.lines[0].phone.uri()), 202),
    ] {
        let answer = group.post("/transfer", body).await;
        assert_eq!(answer.status, status, "{}", answer.body);
    }
    soon("bob is called", bob.next_call()).await;
}
