//! playPrompt: the queue, prompts that come late or break, loops, hold.

use std::time::Duration;

use super::sim::{ALL, CURRENT, Sim, failed, id, play};
use crate::{
    CallState, Command, CompletionReason, Input, LegEvent, Notification, OperationKind,
    OperationStatus, Output, PromptEvent, Rejection, ResultInfo, Settings,
};

const A_COMPLETED: [&str; 2] =
    ["commit a completed successfully 200/0", "notify a completed successfully 200/0"];
const A_NOT_FETCHED: [&str; 2] =
    ["commit a failed unknown 400/8536", "notify a failed unknown 400/8536"];

#[test]
fn a_prompt_is_committed_fetched_played_and_completed() {
    let mut sim = Sim::talking();
    assert_eq!(sim.play('a', 1), ["commit a running", "fetch a 1"]);
    assert_eq!(sim.ready('a', 0), ["start a 1 sealed"]);
    assert_eq!(sim.finished('a'), A_COMPLETED);
    assert!(sim.call.operation(id('a')).is_none());
}

#[test]
fn an_operation_carries_what_the_bot_sent_to_its_end() {
    let mut sim = Sim::talking();
    sim.play('a', 2);
    let accepted = sim.call.operation(id('a')).expect("it is queued").clone();
    assert_eq!(accepted.client_context.as_deref(), Some("context of a"));
    assert_eq!((accepted.status, &accepted.result), (OperationStatus::Running, &None));
    sim.call.handle_input(sim.now, Input::Prompt(failed('a', 0))).expect("no command");
    let commit = sim.call.poll_output().expect("a commit");
    let Output::CommitOperation(ended) = commit else { panic!("{commit:?}") };
    let notify = sim.call.poll_output().expect("a notification");
    assert_eq!(notify, Output::Notify(Notification::OperationEnded(ended.clone())));
    assert_eq!((ended.id, &ended.kind), (accepted.id, &accepted.kind));
    assert_eq!(ended.client_context, accepted.client_context);
    assert_eq!(ended.completion_reason, Some(CompletionReason::Unknown));
    let result = ended.result.expect("a result");
    assert_eq!(result, ResultInfo::download_failed("The host answered 404."));
    assert!(matches!(ended.kind, OperationKind::PlayPrompt { prompts, .. } if prompts.len() == 2));
}

#[test]
fn a_second_prompt_waits_for_the_first() {
    let mut sim = Sim::talking();
    sim.play_ready('a', 1);
    assert_eq!(sim.play_ready('b', 1), ["commit b running", "fetch b 1"]);
    let outputs = sim.finished('a');
    assert_eq!(outputs[..2], A_COMPLETED);
    assert_eq!(outputs[2..], ["start b 1 sealed"]);
}

#[test]
fn operations_are_carried_out_in_the_order_of_their_requests() {
    let mut sim = Sim::talking();
    for name in ['a', 'b', 'c'] {
        sim.play(name, 1);
    }
    for name in ['c', 'b', 'a'] {
        sim.ready(name, 0);
    }
    sim.finished('a');
    sim.finished('b');
    sim.finished('c');
    let starts: Vec<_> = sim.log.iter().filter(|line| line.starts_with("start")).collect();
    assert_eq!(starts, ["start a 1 sealed", "start b 1 sealed", "start c 1 sealed"]);
}

#[test]
fn a_prompt_that_is_ready_before_its_turn_waits_for_its_turn() {
    let mut sim = Sim::talking();
    sim.play('a', 1);
    sim.play('b', 1);
    assert!(sim.ready('b', 0).is_empty());
    assert_eq!(sim.ready('a', 0), ["start a 1 sealed"]);
}

#[test]
fn several_prompts_are_one_playout_and_one_notification() {
    let mut sim = Sim::talking();
    sim.play('a', 3);
    assert!(sim.ready('a', 0).is_empty());
    assert!(sim.ready('a', 1).is_empty());
    assert_eq!(sim.ready('a', 2), ["start a 3 sealed"]);
    assert_eq!(sim.finished('a'), A_COMPLETED);
}

#[test]
fn prompts_may_be_prepared_in_any_order() {
    let mut sim = Sim::talking();
    sim.play('a', 3);
    assert!(sim.ready('a', 2).is_empty());
    assert!(sim.ready('a', 0).is_empty());
    assert_eq!(sim.ready('a', 1), ["start a 3 sealed"]);
}

#[test]
fn after_the_grace_time_a_playback_starts_with_what_is_there() {
    let mut sim = Sim::talking();
    sim.play('a', 3);
    sim.ready('a', 0);
    assert!(sim.wait(Duration::from_millis(1_999)).is_empty());
    assert_eq!(sim.wait(Duration::from_millis(1)), ["start a 1"]);
}

#[test]
fn a_playback_that_started_early_is_extended_as_prompts_come() {
    let mut sim = Sim::talking();
    sim.play('a', 4);
    sim.ready('a', 0);
    sim.wait_s(2);
    assert!(sim.ready('a', 2).is_empty(), "prompt 1 is missing in between");
    assert_eq!(sim.ready('a', 1), ["extend a 3"]);
    assert_eq!(sim.ready('a', 3), ["extend a 4 sealed"]);
    assert_eq!(sim.finished('a'), A_COMPLETED);
}

#[test]
fn the_grace_time_runs_from_the_first_playable_prompt_and_is_not_renewed() {
    let mut sim = Sim::talking();
    sim.play('a', 4);
    sim.wait_s(10);
    sim.ready('a', 1);
    assert!(sim.wait_s(10).is_empty(), "nothing can be played without the first prompt");
    sim.ready('a', 0);
    sim.wait_s(1);
    sim.ready('a', 2);
    assert_eq!(sim.wait_s(1), ["start a 3"]);
}

#[test]
fn the_grace_time_of_a_queued_playback_begins_with_its_turn() {
    let mut sim = Sim::talking();
    sim.play_ready('a', 1);
    sim.play('b', 2);
    sim.ready('b', 0);
    sim.wait_s(30);
    sim.finished('a');
    assert!(sim.wait(Duration::from_millis(1_999)).is_empty());
    assert_eq!(sim.wait(Duration::from_millis(1)), ["start b 1"]);
}

#[test]
fn the_grace_timer_of_an_ended_playback_does_not_start_the_next() {
    let mut sim = Sim::talking();
    sim.play('a', 2);
    sim.ready('a', 0);
    sim.wait_s(1);
    sim.play('b', 2);
    sim.ready('b', 0);
    sim.cancel('z', CURRENT);
    assert!(sim.wait(Duration::from_millis(1_999)).is_empty());
    assert_eq!(sim.wait(Duration::from_millis(1)), ["start b 1"]);
}

#[test]
fn a_finish_of_a_playout_that_still_waits_for_prompts_is_absorbed() {
    let mut sim = Sim::talking();
    sim.play('a', 2);
    sim.ready('a', 0);
    sim.wait_s(2);
    assert!(sim.finished('a').is_empty());
    assert_eq!(sim.ready('a', 1), ["extend a 2 sealed"]);
    assert_eq!(sim.finished('a'), A_COMPLETED);
}

#[test]
fn a_broken_first_prompt_fails_the_operation_at_once() {
    let mut sim = Sim::talking();
    sim.play('a', 2);
    assert_eq!(sim.failed('a', 0), A_NOT_FETCHED);
}

#[test]
fn a_broken_first_prompt_fails_the_operation_before_there_is_audio() {
    let mut sim = Sim::outgoing();
    sim.leg(LegEvent::Answered);
    sim.play('a', 1);
    assert_eq!(sim.failed('a', 0), A_NOT_FETCHED);
}

#[test]
fn prompts_before_a_broken_one_are_played_and_then_the_operation_fails() {
    let mut sim = Sim::talking();
    sim.play('a', 4);
    sim.ready('a', 0);
    sim.ready('a', 1);
    assert_eq!(sim.failed('a', 2), ["start a 2 sealed"]);
    assert!(sim.ready('a', 3).is_empty(), "what stands behind the broken prompt is not played");
    assert_eq!(sim.finished('a'), A_NOT_FETCHED);
}

#[test]
fn a_prompt_that_breaks_while_earlier_ones_play_seals_the_playout() {
    let mut sim = Sim::talking();
    sim.play('a', 2);
    sim.ready('a', 0);
    sim.wait_s(2);
    assert_eq!(sim.failed('a', 1), ["extend a 1 sealed"]);
    assert_eq!(sim.finished('a'), A_NOT_FETCHED);
}

#[test]
fn the_first_broken_prompt_in_the_list_is_the_one_reported() {
    let mut sim = Sim::talking();
    sim.play('a', 3);
    let result = ResultInfo::format_invalid("Found HTML.");
    sim.input(Input::Prompt(PromptEvent::Failed { operation: id('a'), index: 2, result }));
    sim.ready('a', 0);
    assert_eq!(sim.failed('a', 1), ["start a 1 sealed"]);
    assert_eq!(sim.finished('a'), A_NOT_FETCHED);
}

#[test]
fn after_a_failed_operation_the_next_one_starts() {
    let mut sim = Sim::talking();
    sim.play('a', 1);
    sim.play_ready('b', 1);
    let outputs = sim.failed('a', 0);
    assert_eq!(outputs[..2], A_NOT_FETCHED);
    assert_eq!(outputs[2..], ["start b 1 sealed"]);
}

#[test]
fn a_broken_operation_in_the_queue_fails_when_its_turn_comes() {
    let mut sim = Sim::talking();
    sim.play_ready('x', 1);
    sim.play('a', 1);
    sim.play_ready('b', 1);
    assert!(sim.failed('a', 0).is_empty());
    let outputs = sim.finished('x');
    assert_eq!(outputs[2..4], A_NOT_FETCHED);
    assert_eq!(outputs[4..], ["start b 1 sealed"]);
}

#[test]
fn zero_length_prompts_before_a_broken_one_are_not_worth_a_playout() {
    let mut sim = Sim::talking();
    sim.play('a', 2);
    sim.ready_after('a', 0, Duration::ZERO);
    assert_eq!(sim.failed('a', 1), A_NOT_FETCHED);
}

#[test]
fn a_zero_length_prompt_is_played_and_completes() {
    let mut sim = Sim::talking();
    sim.play('a', 1);
    assert_eq!(sim.ready_after('a', 0, Duration::ZERO), ["start a 1 sealed"]);
    assert_eq!(sim.finished('a'), A_COMPLETED);
}

#[test]
fn a_doubled_or_contradicting_prompt_event_is_absorbed() {
    let mut sim = Sim::talking();
    sim.play('a', 2);
    sim.ready('a', 0);
    assert!(sim.ready('a', 0).is_empty());
    assert!(sim.failed('a', 0).is_empty());
    assert_eq!(sim.ready('a', 1), ["start a 2 sealed"]);
    assert!(sim.failed('a', 1).is_empty());
    assert_eq!(sim.finished('a'), A_COMPLETED);
}

#[test]
fn events_of_unknown_prompts_and_operations_are_absorbed() {
    let mut sim = Sim::talking();
    sim.play('a', 1);
    assert!(sim.ready('a', 7).is_empty());
    assert!(sim.failed('q', 0).is_empty());
    assert!(sim.finished('q').is_empty());
    assert!(sim.finished('a').is_empty(), "it has not begun");
    assert_eq!(sim.ready('a', 0), ["start a 1 sealed"]);
}

#[test]
fn a_doubled_finish_does_not_touch_the_next_operation() {
    let mut sim = Sim::talking();
    sim.play_ready('a', 1);
    sim.play_ready('b', 1);
    sim.finished('a');
    assert!(sim.finished('a').is_empty());
    assert_eq!(sim.call.operation(id('b')).expect("it plays").status, OperationStatus::Running);
}

#[test]
fn a_playout_that_breaks_is_stopped_and_fails_its_operation_and_the_next_one_starts() {
    let mut sim = Sim::talking();
    sim.play_ready('a', 1);
    sim.play_ready('b', 1);
    let failed = ["commit", "notify"].map(|verb| format!("{verb} a failed unknown 500/8511"));
    let outputs = sim.broke('a');
    assert_eq!(outputs[0], "stop a");
    assert_eq!(outputs[1..3], failed);
    assert_eq!(outputs[3..], ["start b 1 sealed"]);
    assert!(sim.broke('a').is_empty(), "doubled");
}

#[test]
fn a_loop_whose_playout_breaks_fails() {
    let mut sim = Sim::talking();
    sim.play_loop('a', 1);
    sim.ready('a', 0);
    assert_eq!(sim.broke('a').len(), 3);
    assert!(sim.call.operation(id('a')).is_none());
}

#[test]
fn a_break_of_what_does_not_play_is_absorbed() {
    let mut sim = Sim::talking();
    sim.play('a', 1);
    assert!(sim.broke('a').is_empty());
    assert_eq!(sim.ready('a', 0), ["start a 1 sealed"]);
    sim.cancel('z', ALL);
    assert!(sim.broke('a').is_empty());
}

#[test]
fn a_loop_starts_over_and_never_completes_by_itself() {
    let mut sim = Sim::talking();
    sim.play_loop('a', 2);
    sim.ready('a', 0);
    assert_eq!(sim.ready('a', 1), ["start a 2 sealed looping"]);
    assert!(sim.wait_s(40 * 60).is_empty());
    assert!(sim.finished('a').is_empty());
    assert_eq!(
        sim.cancel('z', ALL)[1..],
        ["stop a", "commit a failed cancelled 400/8508", "notify a failed cancelled 400/8508"]
    );
}

#[test]
fn a_loop_starts_only_with_its_whole_list() {
    let mut sim = Sim::talking();
    sim.play_loop('a', 2);
    sim.ready('a', 0);
    assert!(sim.wait_s(60).is_empty());
    assert_eq!(sim.ready('a', 1), ["start a 2 sealed looping"]);
}

#[test]
fn a_loop_with_a_broken_prompt_plays_the_good_ones_once_and_fails() {
    let mut sim = Sim::talking();
    sim.play_loop('a', 3);
    sim.ready('a', 0);
    sim.wait_s(60);
    assert_eq!(sim.failed('a', 1), ["start a 1 sealed"], "not looping");
    assert_eq!(sim.finished('a'), A_NOT_FETCHED);
}

#[test]
fn a_loop_of_zero_samples_fails_instead_of_spinning() {
    let mut sim = Sim::talking();
    sim.play_loop('a', 2);
    sim.ready_after('a', 0, Duration::ZERO);
    sim.wait_s(5);
    assert_eq!(
        sim.ready_after('a', 1, Duration::ZERO),
        ["commit a failed unknown 400/8535", "notify a failed unknown 400/8535"]
    );
}

#[test]
fn a_loop_with_one_sample_somewhere_is_played() {
    let mut sim = Sim::talking();
    sim.play_loop('a', 2);
    sim.ready_after('a', 0, Duration::ZERO);
    assert_eq!(sim.ready_after('a', 1, Duration::from_micros(125)), ["start a 2 sealed looping"]);
}

#[test]
fn a_loop_blocks_the_queue_until_it_is_cancelled() {
    let mut sim = Sim::talking();
    sim.play_loop('a', 1);
    sim.ready('a', 0);
    assert_eq!(sim.play_ready('b', 1).len(), 2);
    assert_eq!(sim.cancel('z', CURRENT).last().expect("outputs"), "start b 1 sealed");
}

#[test]
fn prompts_asked_for_before_there_is_audio_start_with_the_audio() {
    let mut sim = Sim::outgoing();
    sim.leg(LegEvent::Answered);
    assert_eq!(sim.play_ready('a', 1), ["commit a running", "fetch a 1"]);
    assert_eq!(sim.media(true), ["notify media active", "start a 1 sealed"]);
}

#[test]
fn a_playback_that_is_held_goes_on_and_may_finish() {
    let mut sim = Sim::talking();
    sim.play_ready('a', 1);
    assert_eq!(sim.media(false), ["notify media inactive"]);
    assert_eq!(sim.media(true), ["notify media active"], "it is not started twice");
    sim.media(false);
    assert_eq!(sim.finished('a'), A_COMPLETED);
}

#[test]
fn no_playback_starts_on_hold() {
    let mut sim = Sim::talking();
    sim.play_ready('a', 1);
    sim.play_ready('b', 1);
    sim.media(false);
    assert_eq!(sim.finished('a'), A_COMPLETED);
    assert_eq!(sim.media(true), ["notify media active", "start b 1 sealed"]);
}

#[test]
fn a_grace_time_that_ends_on_hold_starts_nothing_until_the_hold_ends() {
    let mut sim = Sim::talking();
    sim.play('a', 2);
    sim.ready('a', 0);
    sim.media(false);
    assert!(sim.wait_s(5).is_empty());
    assert_eq!(sim.media(true), ["notify media active"]);
    assert_eq!(sim.wait_s(2), ["start a 1"]);
}

#[test]
fn a_full_queue_refuses_until_an_operation_ends() {
    let mut sim = Sim::talking_with(Settings { queue_limit: 2, ..Settings::default() });
    sim.play_ready('a', 1);
    sim.play_ready('b', 1);
    assert_eq!(sim.try_command(play('c', 1, false)), Err(Rejection::QueueFull));
    assert!(sim.call.operation(id('c')).is_none());
    sim.finished('a');
    assert_eq!(sim.play('c', 1), ["commit c running", "fetch c 1"]);
}

#[test]
fn a_full_queue_can_still_be_cancelled_and_hung_up() {
    let full = || {
        let mut sim = Sim::talking_with(Settings { queue_limit: 1, ..Settings::default() });
        sim.play_ready('a', 1);
        sim
    };
    assert_eq!(full().cancel('z', ALL).len(), 4);
    let mut sim = full();
    sim.command(Command::HangUp);
    assert_eq!(sim.call.state(), CallState::Terminating);
}
