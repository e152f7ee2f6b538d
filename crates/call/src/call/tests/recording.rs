//! recordResponse in the queue, from its prompt to each of its ends.

use std::time::Duration;

use super::sim::{ALL, Sim, id, play, record};
use crate::{
    AccessToken, Command, Input, LegEvent, MediaPrompt, OperationKind, Recorded, RecordingEvent,
    Rejection, ResultInfo, Settings, Tone,
};

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn hear(sim: &mut Sim, event: RecordingEvent) -> Vec<String> {
    sim.input(Input::Recording(event))
}

fn began(sim: &mut Sim, name: char, ago: u64) -> Vec<String> {
    hear(sim, RecordingEvent::Began { operation: id(name), ago: ms(ago) })
}

fn silent(sim: &mut Sim, name: char, ago: u64) -> Vec<String> {
    hear(sim, RecordingEvent::FellSilent { operation: id(name), ago: ms(ago) })
}

fn recorded(name: char) -> Recorded {
    let location = format!("http://127.0.0.1:1/recordings/{name}");
    Recorded { location, access_token: AccessToken("secret".to_owned()) }
}

fn saved(sim: &mut Sim, name: char) -> Vec<String> {
    hear(sim, RecordingEvent::Saved { operation: id(name), recorded: recorded(name) })
}

/// A call that has beeped and listens, by default settings.
fn listening() -> Sim {
    let mut sim = Sim::talking();
    assert_eq!(sim.command(record('a', |_| {})), ["commit a running", "fetch a 0"]);
    assert_eq!(sim.ready('a', 0), ["start a 1 sealed"]);
    assert_eq!(sim.finished('a'), ["record a 5s"]);
    sim
}

fn prompted(name: char) -> Command {
    record(name, |settings| {
        let prompt = MediaPrompt {
            uri: "http://x/p.wav".into(),
            resource_id: None,
            repeat: 1,
            shaping: Default::default(),
        };
        settings.prompts = [prompt].into();
    })
}

#[test]
fn a_prompt_and_the_beep_come_first_and_the_timers_run_from_their_end() {
    let mut sim = Sim::talking();
    assert_eq!(sim.command(prompted('a')), ["commit a running", "fetch a 1"]);
    assert_eq!(sim.ready('a', 0), ["start a 1 sealed"]);
    assert_eq!(sim.wait_s(20), [""; 0], "no timer runs while it plays");
    assert!(sim.leg(LegEvent::Tone(Tone::Pound)).is_empty(), "nor does a stop tone stop it");
    assert_eq!(sim.finished('a'), ["record a 5s"]);
    hear(&mut sim, RecordingEvent::Hearing(id('a')));
    assert_eq!(sim.wait(ms(4_999)), [""; 0]);
    assert_eq!(
        sim.wait(ms(1)),
        [
            "drop a",
            "commit a failed initial silence 400/8510",
            "notify a failed initial silence 400/8510"
        ]
    );
}

#[test]
fn a_stop_tone_ends_it_once_the_file_is_durable_and_is_told_to_who_has_subscribed() {
    let mut sim = listening();
    sim.command(super::sim::subscribe('s'));
    began(&mut sim, 'a', 300);
    assert_eq!(sim.leg(LegEvent::Tone(Tone::Tone1)), ["notify tone1 1"], "no stop tone");
    assert_eq!(sim.leg(LegEvent::Tone(Tone::Pound)), ["notify pound 2", "finish a"]);
    assert_eq!(sim.leg(LegEvent::Tone(Tone::Pound)), ["notify pound 3"], "once is enough");
    assert_eq!(sim.wait_s(60), [""; 0], "its timers are off");
    assert_eq!(
        saved(&mut sim, 'a'),
        ["commit a completed stop tone 200/8514", "notify a completed stop tone 200/8514"]
    );
    assert!(saved(&mut sim, 'a').is_empty(), "told twice");
}

#[test]
fn the_longest_time_counts_from_the_first_sample() {
    let mut sim = listening();
    sim.wait_s(4);
    began(&mut sim, 'a', 700);
    assert_eq!(sim.wait(ms(4_299)), [""; 0], "also past the initial silence");
    assert_eq!(sim.wait(ms(1)), ["finish a"]);
    assert_eq!(saved(&mut sim, 'a')[1], "notify a completed longest 200/8515");
}

#[test]
fn a_silence_counts_from_the_last_sound_and_speech_restarts_it() {
    let mut sim = Sim::talking();
    sim.command(record('a', |settings| {
        settings.max_silence = Duration::from_secs(2);
        settings.longest = Duration::from_secs(60);
    }));
    sim.ready('a', 0);
    sim.finished('a');
    began(&mut sim, 'a', 0);
    sim.wait_s(3);
    silent(&mut sim, 'a', 450);
    assert_eq!(sim.wait(ms(1_500)), [""; 0]);
    hear(&mut sim, RecordingEvent::Spoke(id('a')));
    assert_eq!(sim.wait_s(9), [""; 0]);
    silent(&mut sim, 'a', 500);
    assert_eq!(sim.wait(ms(1_499)), [""; 0]);
    assert_eq!(sim.wait(ms(1)), ["finish a"]);
    assert_eq!(saved(&mut sim, 'a')[0], "commit a completed max silence 200/8509");
}

#[test]
fn a_far_end_that_sends_nothing_at_all_is_told_from_one_that_is_silent() {
    let mut sim = listening();
    assert_eq!(sim.wait_s(5)[2], "notify a failed no media 400/8513");
}

#[test]
fn a_cancel_keeps_nothing_and_the_next_one_follows() {
    let mut sim = listening();
    began(&mut sim, 'a', 0);
    sim.play('p', 1);
    sim.ready('p', 0);
    assert_eq!(
        sim.cancel('z', super::sim::CURRENT),
        [
            "commit z completed 200/0",
            "drop a",
            "commit a failed cancelled 400/8508",
            "notify a failed cancelled 400/8508",
            "start p 1 sealed"
        ]
    );
    assert!(saved(&mut sim, 'a').is_empty(), "late");
    assert_eq!(sim.wait_s(60), [""; 0]);
}

#[test]
fn who_barges_in_cancels_what_was_before() {
    let mut sim = Sim::talking();
    sim.play_loop('p', 1);
    sim.ready('p', 0);
    sim.play('q', 1);
    assert_eq!(
        sim.command(record('a', |settings| settings.barge_in = true)),
        [
            "commit a running",
            "stop p",
            "commit p failed cancelled 400/8508",
            "notify p failed cancelled 400/8508",
            "commit q failed cancelled 400/8508",
            "notify q failed cancelled 400/8508",
            "fetch a 0"
        ]
    );
    sim.ready('a', 0);
    // Who does not, waits.
    assert_eq!(sim.command(record('b', |_| {})), ["commit b running", "fetch b 0"]);
    assert!(sim.ready('b', 0).is_empty());
    sim.finished('a');
    sim.leg(LegEvent::Tone(Tone::Pound));
    assert_eq!(saved(&mut sim, 'a').last().expect("the next one"), "start b 1 sealed");
}

#[test]
fn a_prompt_that_cannot_be_had_and_a_beep_that_cannot_be_sent_fail_it() {
    let mut sim = Sim::talking();
    sim.command(prompted('a'));
    assert_eq!(sim.failed('a', 0)[1], "notify a failed prompt failed 400/8511");
    sim.command(record('b', |_| {}));
    sim.ready('b', 0);
    assert_eq!(sim.broke('b')[2], "notify b failed beep failed 500/8512");
    sim.command(prompted('c'));
    sim.ready('c', 0);
    assert_eq!(sim.broke('c')[2], "notify c failed prompt failed 500/8511");
}

#[test]
fn a_file_that_cannot_be_kept_fails_it() {
    let mut sim = listening();
    let result = ResultInfo::record_failed("The disk is full.");
    let failed = RecordingEvent::Failed { operation: id('a'), result };
    assert_eq!(hear(&mut sim, failed)[2], "notify a failed unknown 500/9999");
}

#[test]
fn a_hang_up_ends_it_silently_and_a_stop_of_the_server_tells() {
    let mut sim = listening();
    began(&mut sim, 'a', 0);
    let outputs = sim.bye();
    assert_eq!(outputs[..2], ["drop a", "commit a failed cancelled 400/8508"]);
    assert!(!outputs.iter().any(|line| line.starts_with("notify a")), "{outputs:?}");

    let mut sim = listening();
    let outputs = sim.input(Input::ServerStops);
    assert!(outputs.contains(&"notify a failed unknown 500/9999".to_owned()), "{outputs:?}");
}

#[test]
fn a_server_that_drains_waits_for_it_and_a_full_queue_refuses_it() {
    let sim = listening();
    assert!(sim.call.is_playing_to_an_end());
    let mut sim = Sim::talking_with(Settings { queue_limit: 1, ..Settings::default() });
    sim.play('p', 1);
    assert_eq!(sim.try_command(record('a', |_| {})), Err(Rejection::QueueFull));
    sim.command(record('b', |settings| settings.barge_in = true));
    assert_eq!(sim.try_command(play('q', 1, false)), Err(Rejection::QueueFull));
    sim.cancel('z', ALL);
}

#[test]
fn the_token_is_on_the_operation_and_in_no_debug_text() {
    let kept = recorded('a');
    assert!(!format!("{kept:?}").contains("secret"));
    let mut sim = listening();
    sim.leg(LegEvent::Tone(Tone::Pound));
    let event = RecordingEvent::Saved { operation: id('a'), recorded: kept.clone() };
    sim.call.handle_input(sim.now, Input::Recording(event)).expect("it is no command");
    let crate::Output::CommitOperation(operation) = sim.call.poll_output().expect("its end") else {
        panic!("not its end")
    };
    let OperationKind::RecordResponse { recorded, .. } = operation.kind else { panic!("not it") };
    assert_eq!(recorded, Some(kept));
}
