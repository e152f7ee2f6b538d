//! Each verb in each state of a call: accepted, or refused with the code of the specification.

use std::time::Duration;

use uuid::Uuid;

use super::sim::{ALL, ANSWER, Sim, cancel, id, play, press, record, subscribe};
use crate::{
    BridgeEvent, Command, GroupCommand, GroupVerb, Input, LegEvent, ParticipantId, PlayControl,
    RecordingStatus, RejectReason, Rejection, Tone,
};

/// What is expected, by verb and state: `-` is accepted, numbers are Graph's `error.code`
/// (spec/api.md §0.5).
const TABLE: &str = "
verb                  | incoming | establishing | established | app-hosted | transferring | transferAccepted | redirecting | terminating | terminated
answer                | -        | 8585         | 8585        | 8585       | 8585         | 8585             | 8585        | 8528        | 8528
reject                | -        | 8585         | 8585        | 8585       | 8585         | 8585             | 8585        | 8528        | 8528
redirect              | -        | 8585         | 8585        | 8585       | 8585         | 8585             | 8585        | 8528        | 8528
transfer              | 8501     | 8501         | -           | -          | 8585         | 8585             | 8501        | 8528        | 8528
DELETE                | -        | -            | -           | -          | -            | -                | -           | 8528        | 8528
keepAlive             | 8585     | -            | -           | -          | -            | -                | 8585        | 8528        | 8528
playPrompt            | 8501     | 8501         | -           | 8500       | 8585         | 8585             | 8501        | 8528        | 8528
recordResponse        | 8501     | 8501         | -           | 8500       | 8585         | 8585             | 8501        | 8528        | 8528
cancelMediaProcessing | 8501     | 8501         | -           | 8500       | 8585         | 8585             | 8501        | 8528        | 8528
subscribeToTone       | 8501     | 8501         | -           | 8500       | 8585         | 8585             | 8501        | 8528        | 8528
sendDtmfTones         | 8501     | 8501         | -           | 8500       | 8585         | 8585             | 8501        | 8528        | 8528
updateRecordingStatus | 8501     | 8501         | -           | -          | 8585         | 8585             | 8501        | 8528        | 8528
mute                  | 8501     | 8501         | 8548        | 8548       | 8585         | 8585             | 8501        | 8528        | 8528
unmute                | 8501     | 8501         | 8548        | 8548       | 8585         | 8585             | 8501        | 8528        | 8528
DELETE participant    | 8501     | 8501         | 8548        | 8548       | 8585         | 8585             | 8501        | 8528        | 8528
audioRoutingGroups    | 8501     | 8501         | 8548        | 8548       | 8585         | 8585             | 8501        | 8528        | 8528
graphophone.pause     | 8501     | 8501         | 8585        | 8500       | 8585         | 8585             | 8501        | 8528        | 8528
";

fn command(verb: &str) -> Command {
    match verb {
        "answer" => ANSWER,
        "reject" => Command::Reject(RejectReason::None),
        "DELETE" => Command::HangUp,
        "redirect" => Command::Redirect { ring_for: Duration::from_secs(30) },
        "transfer" => Command::Transfer { transferee: None, refer: None, is_consultative: false },
        "keepAlive" => Command::KeepAlive,
        "playPrompt" => play('x', 1, false),
        "recordResponse" => record('x', |_| {}),
        "cancelMediaProcessing" => cancel('y', ALL),
        "subscribeToTone" => subscribe('y'),
        "sendDtmfTones" => press('x', &[Tone::Star]),
        "updateRecordingStatus" => {
            act(GroupVerb::UpdateRecordingStatus(RecordingStatus::Recording))
        }
        "mute" => act(GroupVerb::MuteSelf),
        "unmute" => act(GroupVerb::UnmuteSelf),
        "DELETE participant" => {
            Command::Group(GroupCommand::Remove(ParticipantId::new(Uuid::from_u128(1))))
        }
        "audioRoutingGroups" => Command::Group(GroupCommand::DeleteRoutingGroup("g".into())),
        // Of an operation that there is not.
        "graphophone.pause" => Command::Control { operation: id('x'), control: PlayControl::Pause },
        other => panic!("{other}"),
    }
}

fn act(verb: GroupVerb) -> Command {
    Command::Group(GroupCommand::Act { operation: id('y'), verb, client_context: None })
}

fn call(state: &str) -> Sim {
    let mut sim = match state {
        "incoming" | "redirecting" => Sim::incoming(),
        "establishing" => Sim::outgoing(),
        "app-hosted" => Sim::app_hosted(),
        "established" | "transferring" | "transferAccepted" | "terminating" | "terminated" => {
            Sim::talking()
        }
        other => panic!("{other}"),
    };
    match state {
        "app-hosted" => drop(sim.leg(LegEvent::Answered)),
        "transferring" => drop(sim.command(command("transfer"))),
        "transferAccepted" => {
            sim.command(command("transfer"));
            sim.input(Input::Bridge(BridgeEvent::Ringing));
        }
        "redirecting" => drop(sim.command(command("redirect"))),
        "terminating" => drop(sim.hang_up()),
        "terminated" => drop(sim.bye()),
        _ => {}
    }
    sim
}

fn code(answer: Result<(), Rejection>) -> &'static str {
    match answer {
        Ok(()) => "-",
        Err(Rejection::NotServiceHosted) => "8500",
        Err(Rejection::NotEstablished) => "8501",
        Err(Rejection::Terminated) => "8528",
        Err(Rejection::WrongState | Rejection::NotPlaying) => "8585",
        Err(Rejection::SeekBeyondEnd(_)) => "8523",
        Err(Rejection::QueueFull | Rejection::HoldMusicBusy | Rejection::RoutingGroupExists) => {
            "8519"
        }
        Err(Rejection::NotGroupCall) => "8548",
        Err(Rejection::ParticipantAbsent) => "8558",
        Err(Rejection::NotOnHold) => "8585",
        Err(Rejection::RoutingGroupAbsent) => "8522",
        Err(Rejection::BadRoutingGroup(_) | Rejection::NoTransferee) => "8523",
    }
}

#[test]
fn every_verb_in_every_state_is_accepted_or_refused_as_graph_does() {
    let cells = |line: &'static str| line.split('|').map(str::trim).collect::<Vec<_>>();
    let mut lines = TABLE.trim().lines();
    let states = cells(lines.next().expect("a heading"));
    for line in lines {
        let row = cells(line);
        assert_eq!(row.len(), states.len(), "{line}");
        for (state, expected) in states.iter().zip(&row).skip(1) {
            let mut sim = call(state);
            let (before, timeout) = (sim.call.state(), sim.call.poll_timeout());
            let answer = sim.try_command(command(row[0])).map(drop);
            assert_eq!(code(answer), *expected, "{} while {state}", row[0]);
            if answer.is_err() {
                assert_eq!(sim.call.state(), before, "{} while {state}", row[0]);
                assert_eq!(sim.call.poll_timeout(), timeout, "{} while {state}", row[0]);
            }
        }
    }
}
