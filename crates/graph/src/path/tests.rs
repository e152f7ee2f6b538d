//! Paths in all their spellings.

use proptest::prelude::*;

use super::*;

const CALL: &str = "2e1a0b00-2db4-4022-9570-243709c565ab";
const OPERATION: &str = "0fe0623f-d628-42ed-b4bd-8ac290072cc5";

fn call_id() -> CallId {
    CALL.parse().expect("it is a GUID")
}

fn operation_id() -> OperationId {
    OPERATION.parse().expect("it is a GUID")
}

fn participant_id() -> ParticipantId {
    OPERATION.parse().expect("it is a GUID")
}

#[test]
fn the_id_of_a_routing_group_is_any_text() {
    for (path, id) in [
        ("/v1.0/communications/calls/x/audioRoutingGroups/oneToOne", "oneToOne"),
        ("/v1.0/communications/calls/x/audioRoutingGroups/a%20b/", "a b"),
        ("/v1.0/communications/calls('x')/AudioRoutingGroups('One')", "One"),
    ] {
        assert_eq!(routing_group(path).as_deref(), Some(id), "{path}");
    }
}

fn route(path: &str) -> Route {
    parse(path).unwrap_or_else(|| panic!("{path} is under a root")).route
}

#[test]
fn every_spelling_of_play_prompt_is_play_prompt() {
    let spellings = [
        format!("/v1.0/communications/calls/{CALL}/playPrompt"),
        format!("/v1.0//communications///calls/{CALL}//playPrompt/"),
        format!("/beta/communications/calls('{CALL}')/microsoft.graph.playPrompt"),
        format!("/BETA/Communications/Calls({CALL})/Microsoft.Graph.PlayPrompt"),
        format!("/v1.0/app/calls/{}/playprompt", CALL.to_uppercase().replace('-', "")),
        format!("/V1.0/communications/calls(%27{CALL}%27)/microsoft%2Egraph.playPrompt"),
    ];
    for path in spellings {
        assert_eq!(route(&path), Route::Action(call_id(), Action::PlayPrompt), "{path}");
    }
}

#[test]
fn versions_and_the_legacy_root_are_told_apart() {
    let head = |path| parse(path).map(|path| (path.version, path.legacy, path.route));
    let v1 = ApiVersion::V1;
    assert_eq!(head("/v1.0//communications/calls"), Some((v1, false, Route::Calls)));
    assert_eq!(head("/beta/app/calls/"), Some((ApiVersion::Beta, true, Route::Calls)));
    assert_eq!(head("/v1.0/$metadata"), Some((v1, false, Route::Metadata)));
    assert_eq!(head("/beta/%24Batch/"), Some((ApiVersion::Beta, false, Route::Batch)));
    assert_eq!(head("/v1.0/communications/$batch"), Some((v1, false, Route::Unknown)));
    assert_eq!(head("/v1.0"), Some((v1, false, Route::Unknown)));
    assert_eq!(head("/"), None);
    assert_eq!(head("/healthz"), None);
    assert_eq!(head("/v2.0/communications/calls"), None);
}

#[test]
fn resources_are_found_and_bad_ids_are_not_found() {
    let (call, operation) = (call_id(), operation_id());
    let table = [
        ("", Route::Calls),
        ("/{c}", Route::Call(call)),
        ("('{c}')", Route::Call(call)),
        ("/{c}/operations", Route::Operations(call)),
        ("/{c}/operations/{o}", Route::Operation(call, operation)),
        ("('{c}')/operations('{o}')", Route::Operation(call, operation)),
        ("/{c}/operations/xyz", Route::NoSuchOperation(call)),
        ("/{c}/operations('')", Route::NoSuchOperation(call)),
        ("/{c}/operations/{o}/x", Route::Unknown),
        (
            "/{c}/operations/{o}/graphophone.pause",
            Route::Control(call, operation, ControlAction::Pause),
        ),
        (
            "('{c}')/operations('{o}')/Graphophone.Seek",
            Route::Control(call, operation, ControlAction::Seek),
        ),
        ("/{c}/operations/{o}/pause", Route::Unknown),
        ("/{c}/operations/x/graphophone.stop", Route::NoSuchOperation(call)),
        ("/{c}/keepAlive", Route::Action(call, Action::KeepAlive)),
        ("/{c}/keepAlive/x", Route::Unknown),
        ("/{c}/dance", Route::Unknown),
        ("/{c}/participants", Route::Participants(call)),
        (
            "/{c}/participants/microsoft.graph.invite",
            Route::ParticipantsAction(call, ParticipantsAction::Invite),
        ),
        ("/{c}/participants/invite/x", Route::Unknown),
        ("/{c}/participants('x')", Route::NoSuchParticipant(call)),
        ("/{c}/participants/{o}", Route::Participant(call, participant_id())),
        ("('{c}')/Participants('{o}')", Route::Participant(call, participant_id())),
        (
            "/{c}/participants/{o}/startholdmusic",
            Route::ParticipantAction(call, participant_id(), ParticipantAction::StartHoldMusic),
        ),
        ("/{c}/participants/{o}/dance", Route::Unknown),
        ("/{c}/audioRoutingGroups", Route::AudioRoutingGroups(call)),
        ("/{c}/audioRoutingGroups/oneToOne", Route::AudioRoutingGroup(call)),
        ("/{c}/audioRoutingGroups('oneToOne')", Route::AudioRoutingGroup(call)),
        ("/{c}/audioRoutingGroups/a/b", Route::Unknown),
        ("/{c}/contentSharingSessions/x", Route::Unsupported(call, "contentSharingSessions")),
        ("/xyz", Route::NoSuchCall),
        ("/xyz/playPrompt", Route::NoSuchCall),
        ("('{c}", Route::Unknown),
        ("('')", Route::NoSuchCall),
        ("/%7B{c}%7D", Route::NoSuchCall),
        ("/urn:uuid:{c}", Route::NoSuchCall),
        ("/{c}%2FplayPrompt", Route::NoSuchCall),
        ("/{c}%ff", Route::Unknown),
        ("/playPrompt", Route::Unknown),
        ("//microsoft.graph.playPrompt", Route::Unknown),
        ("('microsoft.graph.playPrompt')", Route::Unknown),
        ("/microsoft.graph.logTeleconferenceDeviceQuality", Route::LogTeleconferenceDeviceQuality),
        ("s/{c}", Route::Unknown),
    ];
    for (tail, expected) in table {
        let tail = tail.replace("{c}", CALL).replace("{o}", OPERATION);
        let path = format!("/v1.0/communications/calls{tail}");
        assert_eq!(route(&path), expected, "{path}");
    }
}

#[test]
fn the_templates_are_all_there_is_to_ask_for() {
    let mut kinds = [0; 9];
    for template in templates() {
        let path = template.replace("{call}", CALL).replace("{operation}", OPERATION);
        let path = path.replace("{participant}", OPERATION).replace("{group}", "one");
        let kind = match route(&format!("/v1.0/communications{path}")) {
            Route::Calls => 0,
            Route::LogTeleconferenceDeviceQuality => 1,
            Route::Call(_) => 2,
            Route::Operations(_) | Route::Operation(..) => 3,
            Route::Unsupported(..) => 4,
            Route::Action(..) => 5,
            Route::Participants(_)
            | Route::Participant(..)
            | Route::ParticipantsAction(..)
            | Route::ParticipantAction(..) => 6,
            Route::AudioRoutingGroups(_) | Route::AudioRoutingGroup(_) => 7,
            Route::Control(..) => 8,
            other @ (Route::Metadata
            | Route::Batch
            | Route::NoSuchCall
            | Route::NoSuchOperation(_)
            | Route::NoSuchParticipant(_)
            | Route::Unknown) => {
                panic!("{template}: {other:?}")
            }
        };
        kinds[kind] += 1;
    }
    let people = 2 + ParticipantsAction::ALL.len() + ParticipantAction::ALL.len();
    let (actions, controls) = (Action::ALL.len(), ControlAction::ALL.len());
    assert_eq!(kinds, [1, 1, 1, 2, UNSUPPORTED.len(), actions, people, 2, controls]);
}

proptest! {
    #[test]
    fn no_path_makes_it_panic(tail in r"[/'()%.a-zA-Z0-9éﬀ-]{0,40}") {
        let _ = parse(&tail);
        let _ = parse(&format!("/v1.0/communications/calls{tail}"));
        let _ = parse(&format!("/beta/app/calls/{CALL}/{tail}"));
    }
}
