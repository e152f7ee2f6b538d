//! When packets arrive: a prompt is sent as it is spoken, not in bursts.

use graphophone_testkit::{TestCall, audio::tone_wav};

/// Longest time between two packets, in milliseconds: two packets.
const LONGEST_STALL_MS: u128 = 40;
/// A busy machine holds a thread up now and then, but not again and again; a stall of ours is in
/// every play.
const TRIES: usize = 5;

#[tokio::test]
async fn packets_of_a_prompt_arrive_without_a_stall() {
    let mut stalls = Vec::new();
    while stalls.len() < TRIES {
        let mut call = TestCall::start().await;
        // Two prompts: there is a join between them.
        let operation = call.play(&[&tone_wav(440.0, 300), &tone_wav(880.0, 300)]).await;
        call.ended(&operation).await;
        let stall = call.heard(600).await.longest_stall.as_millis();
        call.server.stop().await;
        if stall <= LONGEST_STALL_MS {
            return;
        }
        stalls.push(stall);
    }
    panic!("the longest stalls of {TRIES} plays, in ms: {stalls:?}");
}
