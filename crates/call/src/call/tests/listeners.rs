//! Prompts for one participant of a group: in the queue with all others, and gone with their
//! listener.

use super::{
    groups::{group, person, roster},
    sim::{Sim, id, play},
};
use crate::{Command, PlayMode, PlayOptions, Rejection};

fn play_to(name: char, listener: char, prompts: usize) -> Command {
    play_in(PlayMode::Queue, name, listener, prompts)
}

fn play_in(mode: PlayMode, name: char, listener: char, prompts: usize) -> Command {
    let Command::PlayPrompt { operation, prompts, looping, client_context, .. } =
        play(name, prompts, false)
    else {
        panic!("it plays");
    };
    let participant = Some(person(listener));
    let options = PlayOptions { participant, mode, ..PlayOptions::default() };
    Command::PlayPrompt { operation, prompts, looping, client_context, options }
}

#[test]
fn a_prompt_for_one_waits_for_its_turn_and_begins_whole() {
    let mut sim = group();
    sim.play_ready('x', 1);
    assert_eq!(sim.command(play_to('o', 'a', 2)), ["commit o running", "fetch o 2"]);
    sim.play('y', 1);
    sim.ready('y', 0);
    assert!(sim.ready('o', 0).is_empty(), "it is not its turn");
    let next = sim.finished('x');
    assert_eq!(
        next,
        ["commit x completed successfully 200/0", "notify x completed successfully 200/0"]
    );
    assert!(sim.wait_s(10).is_empty(), "what lies over something else is not extended");
    assert_eq!(sim.ready('o', 1), ["overlay o 2"]);
    let next = sim.finished('o');
    assert_eq!(next[1..], ["notify o completed successfully 200/0", "start y 1 sealed"]);
}

#[test]
fn nobody_hears_a_prompt_alone_who_is_not_a_person_of_the_group() {
    let mut sim = group();
    assert_eq!(sim.try_command(play_to('o', 'z', 1)), Err(Rejection::ParticipantAbsent));
    assert_eq!(sim.try_command(play_to('o', 'B', 1)), Err(Rejection::ParticipantAbsent), "a bot");
    let mut sim = Sim::talking();
    assert_eq!(sim.try_command(play_to('o', 'a', 1)), Err(Rejection::NotGroupCall));
}

#[test]
fn what_was_for_somebody_who_leaves_fails_and_the_queue_goes_on() {
    let mut sim = group();
    sim.command(play_to('o', 'b', 1));
    sim.ready('o', 0);
    sim.play_ready('y', 1);
    sim.command(play_to('p', 'b', 1));
    sim.command(play_in(PlayMode::Overlay, 'q', 'b', 1));
    sim.ready('q', 0);
    let told = sim.leg(roster(2, "Ba", None));
    let expected = [
        "notify roster 2 of 2",
        "stop o",
        "stop q",
        "commit o failed unknown 404/8558",
        "notify o failed unknown 404/8558",
        "commit p failed unknown 404/8558",
        "notify p failed unknown 404/8558",
        "commit q failed unknown 404/8558",
        "notify q failed unknown 404/8558",
        "start y 1 sealed",
    ];
    assert_eq!(told, expected);
    assert!(sim.call.operation(id('p')).is_none());
}

#[test]
fn an_interrupting_prompt_for_one_cuts_nothing_before_it_is_whole() {
    let mut sim = group();
    sim.play_ready('x', 1);
    sim.command(play_in(PlayMode::Interrupt, 'o', 'a', 2));
    assert!(sim.ready('o', 0).is_empty());
    let cut = sim.ready('o', 1);
    assert_eq!(cut.first().map(String::as_str), Some("stop x"));
    assert_eq!(cut.last().map(String::as_str), Some("overlay o 2"));
}
