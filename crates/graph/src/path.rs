//! Request paths of the Graph API (spec/api.md §0.1), in all the spellings that clients send:
//! any case, doubled and trailing slashes, `calls/{id}` and `calls('{id}')`, plain and qualified
//! action names, dashed and undashed ids.

use std::borrow::Cow;

use graphophone_call::{CallId, OperationId, ParticipantId};
use percent_encoding::percent_decode_str;

use crate::compat::ApiVersion;

/// A path under `/v1.0` or `/beta`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GraphPath {
    /// The first segment.
    pub version: ApiVersion,
    /// `/app/calls…` instead of `/communications/calls…`: deprecated, the same resources.
    pub legacy: bool,
    /// What is meant.
    pub route: Route,
}

/// The resource or action that a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// `/v1.0/$metadata`
    Metadata,
    /// `/v1.0/$batch`
    Batch,
    /// `…/calls`
    Calls,
    /// `…/calls/logTeleconferenceDeviceQuality`
    LogTeleconferenceDeviceQuality,
    /// `…/calls/{id}`
    Call(CallId),
    /// `…/calls/{id}/<action>`
    Action(CallId, Action),
    /// `…/calls/{id}/operations`
    Operations(CallId),
    /// `…/calls/{id}/operations/{id}`
    Operation(CallId, OperationId),
    /// `…/calls/{id}/operations/{id}/graphophone.<action>`; ours, in open mode only.
    Control(CallId, OperationId, ControlAction),
    /// `…/calls/{id}/participants`
    Participants(CallId),
    /// `…/calls/{id}/participants/{id}`
    Participant(CallId, ParticipantId),
    /// `…/calls/{id}/participants/<action>`
    ParticipantsAction(CallId, ParticipantsAction),
    /// `…/calls/{id}/participants/{id}/<action>`
    ParticipantAction(CallId, ParticipantId, ParticipantAction),
    /// `…/calls/{id}/audioRoutingGroups`
    AudioRoutingGroups(CallId),
    /// `…/calls/{id}/audioRoutingGroups/{id}`: the id is any text, see [`routing_group`].
    AudioRoutingGroup(CallId),
    /// A part of a call that Graph has and this server does not: content sharing sessions, and
    /// what is below them.
    Unsupported(CallId, &'static str),
    /// An id of a call that is no GUID: answer as for a call that is not there (404, 8522).
    NoSuchCall,
    /// An id of an operation that is no GUID: answer as for one that is not there (404, 8522).
    NoSuchOperation(CallId),
    /// An id of a participant that is no GUID: answer as for one that is not there.
    NoSuchParticipant(CallId),
    /// Nothing of Graph's, as far as we know it.
    Unknown,
}

/// An action on an operation that plays. Ours, not Graph's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ControlAction {
    /// `graphophone.pause`
    Pause,
    /// `graphophone.resume`
    Resume,
    /// `graphophone.seek`
    Seek,
    /// `graphophone.stop`
    Stop,
}

impl ControlAction {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Pause, Self::Resume, Self::Seek, Self::Stop];

    /// Its name in paths.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pause => "graphophone.pause",
            Self::Resume => "graphophone.resume",
            Self::Seek => "graphophone.seek",
            Self::Stop => "graphophone.stop",
        }
    }
}

macro_rules! actions {
    ($(#[$doc:meta])* $type:ident { $($name:ident $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $type {
            $(
                #[doc = $text]
                $name,
            )*
        }

        impl $type {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Graph's name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            fn named(name: &str) -> Option<Self> {
                let name = unqualified(name);
                Self::ALL.iter().copied().find(|action| is(name, action.name()))
            }
        }
    };
}

actions! {
    /// An action on all participants of a call.
    ParticipantsAction {
        ConfigureMixer "configureMixer",
        Invite "invite",
        MuteAll "muteAll",
    }
}

actions! {
    /// An action on one participant of a call.
    ParticipantAction {
        Mute "mute",
        StartHoldMusic "startHoldMusic",
        StopHoldMusic "stopHoldMusic",
        Unmute "graphophoneUnmute",
    }
}

actions! {
    /// An action on a call, by its Graph name. Known is not the same as supported.
    Action {
    AddLargeGalleryView "addLargeGalleryView",
    Answer "answer",
    CancelMediaProcessing "cancelMediaProcessing",
    ChangeScreenSharingRole "changeScreenSharingRole",
    KeepAlive "keepAlive",
    Mute "mute",
    PlayPrompt "playPrompt",
    Record "record",
    RecordResponse "recordResponse",
    Redirect "redirect",
    Reject "reject",
    SendDtmfTones "sendDtmfTones",
    StartRecording "startRecording",
    StartTranscription "startTranscription",
    StopRecording "stopRecording",
    StopTranscription "stopTranscription",
    SubscribeToTone "subscribeToTone",
    Transfer "transfer",
    Unmute "unmute",
    UpdateRecordingStatus "updateRecordingStatus",
}}

/// Reads the path of a request, without its query. `None` if it is not under a Graph root.
pub fn parse(path: &str) -> Option<GraphPath> {
    let mut segments = path.split('/').filter(|segment| !segment.is_empty());
    let version = segments.next().and_then(decoded)?;
    let version = [ApiVersion::V1, ApiVersion::Beta]
        .into_iter()
        .find(|known| known.to_string().eq_ignore_ascii_case(&version))?;
    // Decoded after splitting: an encoded slash is no slash.
    let Some(segments) = segments.map(decoded).collect::<Option<Vec<_>>>() else {
        return Some(GraphPath { version, legacy: false, route: Route::Unknown });
    };
    let segments: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();
    let (legacy, route) = match segments.as_slice() {
        [name] if is(name, "$metadata") => (false, Route::Metadata),
        [name] if is(name, "$batch") => (false, Route::Batch),
        [root, rest @ ..] if is(root, "communications") => (false, collection(rest)),
        [root, rest @ ..] if is(root, "app") => (true, collection(rest)),
        _ => (false, Route::Unknown),
    };
    Some(GraphPath { version, legacy, route })
}

/// Every path that [`parse`] takes for more than [`Route::Unknown`], below `/v1.0/communications`,
/// in one spelling each: `{call}`, `{operation}`, `{participant}` and `{group}` stand for ids.
pub fn templates() -> Vec<String> {
    let call = "/calls/{call}";
    let fixed = ["/calls".to_owned(), format!("/calls/{LOG_QUALITY}"), call.to_owned()];
    let operations = ["/operations", "/operations/{operation}"].map(|tail| format!("{call}{tail}"));
    let participants = ["", "/{participant}"].map(|tail| format!("{call}/participants{tail}"));
    let of_all = ParticipantsAction::ALL
        .iter()
        .map(|action| format!("{call}/participants/{}", action.name()));
    let of_one = ParticipantAction::ALL
        .iter()
        .map(|action| format!("{call}/participants/{{participant}}/{}", action.name()));
    let groups = ["", "/{group}"].map(|tail| format!("{call}/audioRoutingGroups{tail}"));
    let parts = UNSUPPORTED.map(|part| format!("{call}/{part}"));
    let actions = Action::ALL.iter().map(|action| format!("{call}/{}", action.name()));
    let people = participants.into_iter().chain(of_all).chain(of_one).chain(groups);
    let controls = ControlAction::ALL
        .map(|action| format!("{call}/operations/{{operation}}/{}", action.name()));
    let graph = fixed.into_iter().chain(operations).chain(people).chain(parts).chain(actions);
    graph.chain(controls).collect()
}

fn decoded(segment: &str) -> Option<Cow<'_, str>> {
    percent_decode_str(segment).decode_utf8().ok()
}

fn is(segment: &str, literal: &str) -> bool {
    segment.eq_ignore_ascii_case(literal)
}

/// Behind `communications` or `app`.
fn collection(segments: &[&str]) -> Route {
    match segments {
        [calls] if is(calls, "calls") => Route::Calls,
        [calls, name] if is(calls, "calls") && is(unqualified(name), LOG_QUALITY) => {
            Route::LogTeleconferenceDeviceQuality
        }
        // The id is missing: Graph says that it has no such resource, not that the call is gone.
        [calls, name, ..] if is(calls, "calls") && action(name).is_some() => Route::Unknown,
        [calls, id, rest @ ..] if is(calls, "calls") => call(id, rest),
        [calls, rest @ ..] => match key(calls, "calls") {
            Some(name) if action(name).is_some() => Route::Unknown,
            Some(id) => call(id, rest),
            None => Route::Unknown,
        },
        [] => Route::Unknown,
    }
}

const LOG_QUALITY: &str = "logTeleconferenceDeviceQuality";

const UNSUPPORTED: [&str; 1] = ["contentSharingSessions"];
const PARTICIPANTS: &str = "participants";
const GROUPS: &str = "audioRoutingGroups";

/// Behind the id of a call.
fn call(id: &str, segments: &[&str]) -> Route {
    let Some(call) = guid(id).map(CallId::new) else {
        return Route::NoSuchCall;
    };
    match segments {
        [] => Route::Call(call),
        [operations] if is(operations, "operations") => Route::Operations(call),
        [operations, id] if is(operations, "operations") => operation(call, id),
        [operations, id, name] if is(operations, "operations") => control(call, id, name),
        [operations, name] if key(operations, "operations").is_some() => {
            key(operations, "operations").map_or(Route::Unknown, |id| control(call, id, name))
        }
        [name, rest @ ..] if is(name, PARTICIPANTS) => participants(call, rest),
        [name, rest @ ..] if key(name, PARTICIPANTS).is_some() => {
            let id = key(name, PARTICIPANTS).unwrap_or_default();
            participant(call, id, rest)
        }
        [name] if is(name, GROUPS) => Route::AudioRoutingGroups(call),
        [name, _] if is(name, GROUPS) => Route::AudioRoutingGroup(call),
        [name] if key(name, GROUPS).is_some() => Route::AudioRoutingGroup(call),
        [name, ..] if unsupported(name).is_some() => {
            unsupported(name).map_or(Route::Unknown, |part| Route::Unsupported(call, part))
        }
        [name] => match (action(name), key(name, "operations")) {
            (Some(action), _) => Route::Action(call, action),
            (None, Some(id)) => operation(call, id),
            (None, None) => Route::Unknown,
        },
        _ => Route::Unknown,
    }
}

fn unsupported(name: &str) -> Option<&'static str> {
    UNSUPPORTED.into_iter().find(|part| is(name, part) || key(name, part).is_some())
}

/// Behind `participants`.
fn participants(call: CallId, segments: &[&str]) -> Route {
    match segments {
        [] => Route::Participants(call),
        [id, rest @ ..] => match (ParticipantsAction::named(id), rest) {
            (Some(action), []) => Route::ParticipantsAction(call, action),
            (Some(_), _) => Route::Unknown,
            (None, rest) => participant(call, id, rest),
        },
    }
}

/// Behind the id of a participant.
fn participant(call: CallId, id: &str, segments: &[&str]) -> Route {
    let Some(id) = guid(id).map(ParticipantId::new) else {
        return Route::NoSuchParticipant(call);
    };
    match segments {
        [] => Route::Participant(call, id),
        [name] => ParticipantAction::named(name)
            .map_or(Route::Unknown, |action| Route::ParticipantAction(call, id, action)),
        _ => Route::Unknown,
    }
}

/// The id of the audio routing group that a path of [`Route::AudioRoutingGroup`] names.
pub fn routing_group(path: &str) -> Option<String> {
    let last = path.split('/').rfind(|segment| !segment.is_empty()).and_then(decoded)?;
    Some(key(&last, GROUPS).unwrap_or(&last).to_owned())
}

fn operation(call: CallId, id: &str) -> Route {
    match guid(id) {
        Some(id) => Route::Operation(call, OperationId::new(id)),
        None => Route::NoSuchOperation(call),
    }
}

/// Behind the id of an operation.
fn control(call: CallId, id: &str, name: &str) -> Route {
    let known = ControlAction::ALL.into_iter().find(|action| is(name, action.name()));
    match (known, guid(id)) {
        (Some(action), Some(id)) => Route::Control(call, OperationId::new(id), action),
        (Some(_), None) => Route::NoSuchOperation(call),
        (None, _) => Route::Unknown,
    }
}

/// The key in `literal('key')` or `literal(key)`.
fn key<'a>(segment: &'a str, literal: &str) -> Option<&'a str> {
    let name = segment.get(..literal.len()).filter(|name| is(name, literal))?;
    let key = segment[name.len()..].strip_prefix('(')?.strip_suffix(')')?;
    Some(key.strip_prefix('\'').and_then(|key| key.strip_suffix('\'')).unwrap_or(key))
}

fn unqualified(name: &str) -> &str {
    const NAMESPACE: &str = "microsoft.graph.";
    match name.get(..NAMESPACE.len()) {
        Some(prefix) if is(prefix, NAMESPACE) => &name[NAMESPACE.len()..],
        Some(_) | None => name,
    }
}

fn action(name: &str) -> Option<Action> {
    Action::named(name)
}

/// 36 characters with dashes or 32 without; the uuid crate would also take braces and URNs.
fn guid(text: &str) -> Option<uuid::Uuid> {
    let is_plain = matches!(text.len(), 32 | 36);
    is_plain.then(|| uuid::Uuid::try_parse(text).ok()).flatten()
}

#[cfg(test)]
mod tests;
