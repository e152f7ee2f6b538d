//! What goes beyond Graph: interrupting, overlays, keys and speech that end a prompt, and the control
//! of one operation.

use std::time::Duration;

use super::sim::{ALL, Sim, id, play};
use crate::{
    Command, Input, LegEvent, PlayControl, PlayMode, PlayOptions, Rejection, StopOn, Tone, ToneSet,
};

fn with(name: char, prompts: usize, looping: bool, options: PlayOptions) -> Command {
    let Command::PlayPrompt { operation, prompts, client_context, .. } =
        play(name, prompts, looping)
    else {
        unreachable!("it is one");
    };
    Command::PlayPrompt { operation, prompts, looping, options, client_context }
}

fn mode(mode: PlayMode) -> PlayOptions {
    PlayOptions { mode, ..PlayOptions::default() }
}

fn stop_on(tones: &[Tone], speech: bool) -> PlayOptions {
    let tones: ToneSet = tones.iter().copied().collect();
    PlayOptions { stop_on: StopOn { tones, speech }, ..PlayOptions::default() }
}

fn control(name: char, control: PlayControl) -> Command {
    Command::Control { operation: id(name), control }
}

fn cancelled(name: char) -> [String; 2] {
    ["commit", "notify"].map(|verb| format!("{verb} {name} failed cancelled 400/8508"))
}

fn completed(name: char) -> [String; 2] {
    ["commit", "notify"].map(|verb| format!("{verb} {name} completed successfully 200/0"))
}

#[test]
fn an_interrupting_prompt_cuts_all_before_it_once_it_can_be_played() {
    let mut sim = Sim::talking();
    sim.play_ready('a', 1);
    sim.play_ready('b', 1);
    let asked = sim.command(with('i', 2, false, mode(PlayMode::Interrupt)));
    assert_eq!(asked, ["commit i running", "fetch i 2"], "nothing is cut for a promise");
    sim.play_ready('c', 1);
    let outputs = sim.ready('i', 0);
    assert_eq!(outputs[0], "stop a");
    assert_eq!(outputs[1..5], ['a', 'b'].map(cancelled).concat());
    assert_eq!(outputs[5..], ["start i 1"], "the rest of it follows");
    assert_eq!(sim.ready('i', 1), ["extend i 2 sealed"]);
    let outputs = sim.finished('i');
    assert_eq!(outputs[..2], completed('i'));
    assert_eq!(outputs[2..], ["start c 1 sealed"], "what came later stays");
}

#[test]
fn an_interrupting_prompt_that_cannot_be_played_cuts_nothing_and_is_told_at_once() {
    let mut sim = Sim::talking();
    sim.play_loop('a', 1);
    sim.ready('a', 0);
    sim.command(with('i', 1, false, mode(PlayMode::Interrupt)));
    assert_eq!(
        sim.failed('i', 0),
        ["commit i failed unknown 400/8536", "notify i failed unknown 400/8536"]
    );
    assert!(sim.call.operation(id('a')).is_some());
}

#[test]
fn an_interrupting_prompt_alone_does_not_wait_for_its_others() {
    let mut sim = Sim::talking();
    sim.command(with('i', 2, false, mode(PlayMode::Interrupt)));
    assert_eq!(sim.ready('i', 0), ["start i 1"]);
}

#[test]
fn on_hold_an_interrupting_prompt_waits_and_then_takes_the_place() {
    let mut sim = Sim::talking();
    sim.play_ready('a', 1);
    sim.media(false);
    sim.command(with('i', 1, false, mode(PlayMode::Interrupt)));
    assert!(sim.ready('i', 0).is_empty());
    let outputs = sim.media(true);
    assert_eq!(outputs[..2], ["notify media active", "stop a"]);
    assert_eq!(outputs[2..4], cancelled('a'));
    assert_eq!(outputs[4..], ["start i 1 sealed"]);
}

#[test]
fn an_overlay_plays_beside_the_queue_and_ends_by_itself() {
    let mut sim = Sim::talking();
    sim.play_ready('a', 1);
    sim.command(with('o', 2, false, mode(PlayMode::Overlay)));
    assert!(sim.ready('o', 0).is_empty(), "it is mixed as a whole");
    assert_eq!(sim.ready('o', 1), ["overlay o 2"]);
    sim.play_ready('b', 1);
    assert_eq!(sim.finished('o'), completed('o'));
    let outputs = sim.finished('a');
    assert_eq!(outputs[2..], ["start b 1 sealed"]);
}

#[test]
fn overlays_are_few_and_end_with_a_cancel_of_all_or_with_the_call() {
    let mut sim = Sim::talking();
    sim.play_ready('a', 1);
    for name in ['o', 'p', 'q', 'r'] {
        sim.command(with(name, 1, true, mode(PlayMode::Overlay)));
        assert_eq!(sim.ready(name, 0), [format!("overlay {name} 1 looping")]);
    }
    let fifth = sim.try_command(with('s', 1, false, mode(PlayMode::Overlay)));
    assert_eq!(fifth, Err(Rejection::QueueFull));
    let outputs = sim.command(control('p', PlayControl::Stop));
    assert_eq!(outputs[0], "stop p");
    assert_eq!(outputs[1..], cancelled('p'));
    let outputs = sim.cancel('z', ALL);
    assert_eq!(outputs[1], "stop o");
    let ended = |name| cancelled(name).iter().all(|line| outputs.contains(line));
    assert!(['a', 'o', 'q', 'r'].into_iter().all(ended), "{outputs:?}");

    sim.command(with('t', 1, true, mode(PlayMode::Overlay)));
    sim.ready('t', 0);
    let outputs = sim.hang_up();
    assert!(outputs.contains(&"stop t".to_owned()), "{outputs:?}");
    assert!(outputs.contains(&"commit t failed cancelled 400/8508".to_owned()), "{outputs:?}");
}

#[test]
fn a_key_ends_what_plays_as_completed_and_says_which_it_was() {
    let mut sim = Sim::talking();
    let options = stop_on(&[Tone::Tone5, Tone::Pound], false);
    sim.command(with('a', 1, true, options));
    sim.command(with('b', 1, false, options));
    sim.ready('a', 0);
    sim.ready('b', 0);
    assert!(sim.leg(LegEvent::Tone(Tone::Tone1)).is_empty(), "another key");
    assert_eq!(
        sim.leg(LegEvent::Tone(Tone::Tone5)),
        [
            "stop a",
            "commit a completed by tone5 200/0",
            "notify a completed by tone5 200/0",
            "start b 1 sealed"
        ],
        "what waits goes on"
    );
}

#[test]
fn speech_is_asked_for_only_while_something_minds_it() {
    let mut sim = Sim::talking();
    sim.command(with('a', 1, false, stop_on(&[], true)));
    assert!(!sim.call.minds_speech(), "it does not play yet");
    sim.ready('a', 0);
    assert!(sim.call.minds_speech());
    assert_eq!(
        sim.input(Input::Speech),
        ["stop a", "commit a completed by speech 200/0", "notify a completed by speech 200/0"]
    );
    assert!(!sim.call.minds_speech());
    assert!(sim.input(Input::Speech).is_empty());
}

#[test]
fn an_operation_that_plays_is_paused_moved_and_stopped() {
    let mut sim = Sim::talking();
    sim.play('a', 2);
    sim.ready_after('a', 0, Duration::from_secs(2));
    let early = sim.try_command(control('a', PlayControl::Pause));
    assert_eq!(early, Err(Rejection::NotPlaying), "it waits for its prompts");
    sim.ready_after('a', 1, Duration::from_secs(3));
    sim.play_ready('b', 1);
    assert_eq!(sim.command(control('a', PlayControl::Pause)), ["pause a"]);
    assert_eq!(sim.command(control('a', PlayControl::Resume)), ["resume a"]);
    let seek = |ms| PlayControl::Seek(Duration::from_millis(ms));
    assert_eq!(sim.command(control('a', seek(4_999))), ["seek a 4999"]);
    let beyond = sim.try_command(control('a', seek(5_001)));
    assert_eq!(beyond, Err(Rejection::SeekBeyondEnd(Duration::from_secs(5))));
    let waits = sim.try_command(control('b', seek(1)));
    assert_eq!(waits, Err(Rejection::NotPlaying));
    let outputs = sim.command(control('a', PlayControl::Stop));
    assert_eq!(outputs[0], "stop a");
    assert_eq!(outputs[1..3], cancelled('a'));
    assert_eq!(outputs[3..], ["start b 1 sealed"]);
    let ended = sim.try_command(control('a', PlayControl::Stop));
    assert_eq!(ended, Err(Rejection::NotPlaying));
}

#[test]
fn an_operation_that_waits_is_stopped_without_a_sound() {
    let mut sim = Sim::talking();
    sim.play_ready('a', 1);
    sim.play_ready('b', 1);
    assert_eq!(sim.command(control('b', PlayControl::Stop)), cancelled('b'));
    let ended = sim.finished('a');
    assert_eq!(ended, completed('a'));
}

#[test]
fn nothing_is_controlled_before_the_call_is_established_or_after_it() {
    let mut sim = Sim::outgoing();
    let pause = || control('a', PlayControl::Pause);
    assert_eq!(sim.try_command(pause()), Err(Rejection::NotEstablished));
    let mut sim = Sim::app_hosted();
    sim.leg(LegEvent::Answered);
    assert_eq!(sim.try_command(pause()), Err(Rejection::NotServiceHosted));
    sim.hang_up();
    assert_eq!(sim.try_command(pause()), Err(Rejection::Terminated));
}
