//! Receipts without a call: what each prompt is said to have come to.

use graphophone_media::codec::SampleCodec;

use super::*;

const WHOLE: u64 = 1_600;

#[test]
fn each_prompt_says_why_it_ended() {
    use PromptEnd as End;
    use Stage::{CallEnded, Cancelled, PlayedOut, Running, Unsendable};
    // How far the prompt was sent; whether its list loops; how the operation ended; the reason.
    let table = [
        (0, false, Running, End::Waiting),
        (800, false, Running, End::Playing),
        (WHOLE, false, Running, End::Completed),
        (WHOLE, true, Running, End::Playing),
        (WHOLE, false, PlayedOut, End::Completed),
        // A list with a broken prompt is played once, also if it was to loop.
        (WHOLE, true, PlayedOut, End::Completed),
        (800, false, Cancelled, End::Cancelled),
        (WHOLE, false, Cancelled, End::Completed),
        (0, false, Cancelled, End::NotPlayed),
        (0, true, Cancelled, End::NotPlayed),
        (800, true, Cancelled, End::Cancelled),
        // On the border of a round.
        (3 * WHOLE, true, Cancelled, End::Cancelled),
        (800, false, CallEnded, End::CallEnded),
        (WHOLE, false, CallEnded, End::Completed),
        (0, false, CallEnded, End::NotPlayed),
        (2 * WHOLE, true, CallEnded, End::CallEnded),
        (0, false, Unsendable, End::Failed),
        (WHOLE - 160, false, Unsendable, End::Failed),
        (WHOLE, false, Unsendable, End::Completed),
        (2 * WHOLE, true, Unsendable, End::Failed),
    ];
    for (sent, is_looping, stage, reason) in table {
        let prompt = Standing {
            is_broken: false,
            is_handed_over: true,
            sent,
            skipped: 0,
            whole: Some(WHOLE),
        };
        assert_eq!(prompt.reason(stage, is_looping), reason, "{sent} {is_looping} {stage:?}");
        let broken = Standing { is_broken: true, ..prompt };
        assert_eq!(broken.reason(stage, is_looping), End::Failed);
    }
    let behind = Standing {
        is_broken: false,
        is_handed_over: false,
        sent: 0,
        skipped: 0,
        whole: Some(WHOLE),
    };
    assert_eq!(behind.reason(Unsendable, false), End::NotPlayed);
    assert_eq!(behind.reason(PlayedOut, false), End::NotPlayed);
    let empty = Standing { is_handed_over: true, whole: Some(0), ..behind };
    assert_eq!(empty.reason(PlayedOut, false), End::Completed);
    assert_eq!(empty.reason(Cancelled, false), End::NotPlayed);
}

#[test]
fn audio_is_let_go_when_the_engine_has_it_or_its_operation_ends() {
    let mut playouts = Playouts::default();
    let (encoded, operation) = (encoded(), playing(1, 2));
    playouts.add(&operation);
    for index in 0..2 {
        playouts.set_prepared(operation.id, index, Arc::clone(&encoded).into());
    }
    let segments = playouts.hand_over(operation.id, 1);
    assert_eq!((segments.len(), Arc::strong_count(&encoded)), (1, 3), "one there, one waits");
    drop(segments);
    assert!(playouts.end(&cancelled(&operation), false).is_none());
    assert_eq!(Arc::strong_count(&encoded), 1);
    let receipt = playouts.receipt(operation.id).unwrap();
    assert_eq!(receipt.prompts[1].duration_ms, Some(200), "the numbers stay");
    assert_eq!(receipt.prompts[1].sha256, Some(encoded.sha256.to_string()));
}

#[test]
fn what_comes_late_does_not_change_a_receipt() {
    let mut playouts = Playouts::default();
    let operation = playing(1, 2);
    playouts.add(&operation);
    assert!(playouts.end(&cancelled(&operation), false).is_none());
    let before = playouts.receipt(operation.id);
    playouts.set_broken(operation.id, 0);
    playouts.set_prepared(operation.id, 1, encoded().into());
    assert_eq!(playouts.receipt(operation.id), before);
}

#[test]
fn an_ended_operation_that_must_make_room_is_handed_back() {
    let mut playouts = Playouts::default();
    for number in 0..=KEPT_ENDED as u128 {
        let operation = playing(number, 1);
        playouts.add(&operation);
        let gone = playouts.end(&cancelled(&operation), false).map(|(gone, _)| gone.id);
        let first = (number == KEPT_ENDED as u128).then_some(playing(0, 1).id);
        assert_eq!(gone, first);
    }
    assert!(playouts.get(playing(0, 1).id).is_none());
    assert_eq!(playouts.all().count(), KEPT_ENDED);
}

#[test]
fn a_playout_of_which_nothing_left_was_not_sent() {
    let mut playouts = Playouts::default();
    let operation = playing(1, 1);
    playouts.add(&operation);
    playouts.set_prepared(operation.id, 0, encoded().into());
    assert!(playouts.is_sent(operation.id), "nothing was to be sent");
    playouts.hand_over(operation.id, 1);
    assert!(!playouts.is_sent(operation.id));
}

fn playing(number: u128, count: usize) -> Operation {
    let prompt = MediaPrompt {
        uri: "http://a/b.wav".into(),
        resource_id: None,
        repeat: 1,
        shaping: Default::default(),
    };
    Operation {
        id: OperationId::new(uuid::Uuid::from_u128(number)),
        kind: OperationKind::PlayPrompt {
            prompts: vec![prompt; count].into(),
            looping: false,
            options: Default::default(),
        },
        status: OperationStatus::Running,
        client_context: None,
        completion_reason: None,
        result: None,
    }
}

fn cancelled(operation: &Operation) -> Operation {
    Operation {
        status: OperationStatus::Failed,
        completion_reason: Some(CompletionReason::MediaOperationCanceled),
        result: Some(ResultInfo::cancelled()),
        ..operation.clone()
    }
}

/// 200 ms.
fn encoded() -> Arc<EncodedPrompt> {
    let bytes = vec![0xFF; WHOLE as usize];
    Arc::new(EncodedPrompt::samples(SampleCodec::Pcmu, Sha256([7; 32]), bytes))
}
