//! `audioRoutingGroup`: who alone is heard by whom in a group call.

use graphophone_call::{AudioRoutingGroup, CallId, ParticipantId, RoutingMode};
use serde_json::json;

use crate::{
    compat::{ApiVersion, Compat, Dialect},
    json::{self, BodyError, Extras, Member, Members, Value},
    odata::Service,
};

/// Most UTF-16 code units of a group's id. Graph states none; ours.
pub const MAX_GROUP_ID: usize = 256;
/// Most receivers of one group. Graph states none; ours.
pub const MAX_RECEIVERS: usize = 100;

const MODES: [(&str, RoutingMode); 2] =
    [("oneToOne", RoutingMode::OneToOne), ("multicast", RoutingMode::Multicast)];

/// Reads the body of a create. `id` is the bot's own, or `made` if it sends none.
///
/// # Errors
/// [`BodyError`]: malformed JSON, or the member at fault. Whether the participants are in the call
/// is not judged here.
pub fn parse(
    body: &[u8],
    made: impl FnOnce() -> String,
    version: ApiVersion,
    compat: Compat,
) -> Result<AudioRoutingGroup, BodyError> {
    let body = json::read(body)?;
    let members = members(&body, version, compat)?;
    let id = match members.get("id") {
        Some(member) => match member.short_string(MAX_GROUP_ID)? {
            "" => made(),
            id if id.chars().any(|c| c.is_control() || "/\\?#'()".contains(c)) => {
                let what = "has a character that cannot stand in a path: / \\ ? # ' ( )";
                return Err(member.wrong(what));
            }
            id => id.to_owned(),
        },
        None => made(),
    };
    let mode = members.require("routingMode", "oneToOne or multicast")?.one_of(&MODES)?;
    let sources = members.require("sources", "an array of one participant's id")?;
    let receivers = members.require("receivers", "an array of participants' ids")?;
    Ok(AudioRoutingGroup {
        id,
        mode,
        sources: participant_ids(&sources)?,
        receivers: participant_ids(&receivers)?,
    })
}

/// Reads the body of an update: members that are left out stay as they are.
///
/// # Errors
/// [`BodyError`]: malformed JSON, or the member at fault.
pub fn update(
    body: &[u8],
    known: &AudioRoutingGroup,
    version: ApiVersion,
    compat: Compat,
) -> Result<AudioRoutingGroup, BodyError> {
    let body = json::read(body)?;
    let members = members(&body, version, compat)?;
    let mut updated = known.clone();
    if let Some(id) = members.get("id")
        && id.string()? != known.id
    {
        return Err(id.wrong("cannot be changed"));
    }
    if let Some(mode) = members.get("routingMode") {
        updated.mode = mode.one_of(&MODES)?;
    }
    if let Some(sources) = members.get("sources") {
        updated.sources = participant_ids(&sources)?;
    }
    if let Some(receivers) = members.get("receivers") {
        updated.receivers = participant_ids(&receivers)?;
    }
    Ok(updated)
}

fn members(
    body: &json::Map<String, Value>,
    version: ApiVersion,
    compat: Compat,
) -> Result<Members<'_>, BodyError> {
    let dialect = Dialect { version, compat };
    let declared = ["id", "receivers", "routingMode", "sources"];
    let members = Members::of_body(body, &declared, Extras::Undeclared, dialect)?;
    members.expect_type("audioRoutingGroup")?;
    Ok(members)
}

/// The resource with its context.
pub fn render(service: &Service<'_>, call: CallId, group: &AudioRoutingGroup) -> Value {
    let mut rendered = render_item(group);
    let context = format!("communications/calls('{call}')/audioRoutingGroups/$entity");
    rendered["@odata.context"] = service.context(context);
    rendered
}

/// The resource as an item of a list.
pub fn render_item(group: &AudioRoutingGroup) -> Value {
    let ids = |list: &[ParticipantId]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    json!({
        "@odata.type": "#microsoft.graph.audioRoutingGroup",
        "id": group.id,
        "routingMode": mode_name(group.mode),
        "sources": ids(&group.sources),
        "receivers": ids(&group.receivers),
    })
}

const fn mode_name(mode: RoutingMode) -> &'static str {
    match mode {
        RoutingMode::OneToOne => "oneToOne",
        RoutingMode::Multicast => "multicast",
    }
}

pub(crate) fn participant_ids(list: &Member<'_>) -> Result<Vec<ParticipantId>, BodyError> {
    let items = list.items()?;
    if items.len() > MAX_RECEIVERS {
        return Err(list.wrong(format!("more than {MAX_RECEIVERS} participants")));
    }
    items.iter().map(participant_id).collect()
}

pub(crate) fn participant_id(member: &Member<'_>) -> Result<ParticipantId, BodyError> {
    member.string()?.parse().map_err(|_| member.unexpected("the id of a participant"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "2e1a0b00-2db4-4022-9570-243709c565ab";
    const B: &str = "0fe0623f-d628-42ed-b4bd-8ac290072cc5";

    fn read(body: &str) -> Result<AudioRoutingGroup, String> {
        parse(body.as_bytes(), || "made".to_owned(), ApiVersion::V1, Compat::StrictV1)
            .map_err(|error| error.to_string())
    }

    fn body(rest: &str) -> String {
        format!(r#"{{"routingMode":"oneToOne","sources":["{A}"],"receivers":["{B}"]{rest}}}"#)
    }

    #[test]
    fn a_group_has_the_bots_id_or_one_that_is_made() {
        let group = read(&body(r#","id":"oneToOne""#)).expect("it is whole");
        assert_eq!((group.id.as_str(), group.mode), ("oneToOne", RoutingMode::OneToOne));
        assert_eq!(group.sources, [A.parse().expect("it is a GUID")]);
        assert_eq!(read(&body("")).expect("the id is optional").id, "made");
        let rendered = render_item(&group);
        assert_eq!(rendered["receivers"], json!([B]));
        assert_eq!(rendered["routingMode"], "oneToOne");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (bad, expected) in [
            (body(r#","id":"a/b""#), "id: has a character"),
            (body(r#","color":1"#), "color: not declared here"),
            ("{}".to_owned(), "routingMode: required, send oneToOne or multicast"),
            (body("").replace("oneToOne", "all"), "routingMode: one of oneToOne, multicast"),
            (body("").replace(A, "x"), "sources[0]: the id of a participant expected"),
        ] {
            let error = read(&bad).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn an_update_keeps_what_it_does_not_name() {
        let known = read(&body(r#","id":"g""#)).expect("it is whole");
        let change = |text: &str| {
            let changed = update(text.as_bytes(), &known, ApiVersion::V1, Compat::Open);
            changed.map_err(|error| error.to_string())
        };
        let changed = change(r#"{"routingMode":"multicast"}"#).expect("one member");
        assert_eq!(changed.mode, RoutingMode::Multicast);
        assert_eq!((&changed.sources, &changed.receivers), (&known.sources, &known.receivers));
        assert_eq!(change(r#"{"id":"h"}"#).unwrap_err(), "id: cannot be changed");
    }
}
