//! `meetingInfo` and `chatInfo` of a call that joins a meeting: which meeting they name.

use crate::json::{Map, Value};

/// Most characters of a meeting's name. Graph states none; ours.
pub const MAX_MEETING_NAME: usize = 1024;

/// How a bot names a meeting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeetingName {
    /// What all who mean the same meeting have in common.
    pub name: String,
    /// Given with it (`joinMeetingIdMeetingInfo`).
    pub passcode: Option<String>,
}

impl MeetingName {
    /// Reads it out of the two objects: `joinMeetingId`, else `token`, else the chat's `threadId`,
    /// else the organizer's id.
    ///
    /// # Errors
    /// What is missing, behind the name of the member.
    pub fn of(
        meeting: &Map<String, Value>,
        chat: Option<&Map<String, Value>>,
    ) -> Result<Self, String> {
        let text = |of: &Map<String, Value>, name: &str| match of.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.len() > MAX_MEETING_NAME => {
                Err(format!("{name}: longer than {MAX_MEETING_NAME} characters"))
            }
            Some(Value::String(text)) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
            Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                Err(format!("{name}: a string expected"))
            }
        };
        let of_meeting =
            |name: &str| text(meeting, name).map_err(|wrong| format!("meetingInfo.{wrong}"));
        let passcode = of_meeting("passcode")?;
        let thread = match chat {
            Some(chat) => text(chat, "threadId").map_err(|wrong| format!("chatInfo.{wrong}"))?,
            None => None,
        };
        let organizer = ["user", "application", "phone"].iter().find_map(|kind| {
            let id = meeting.get("organizer")?.get(kind)?.get("id")?.as_str()?;
            (!id.is_empty() && id.len() <= MAX_MEETING_NAME).then(|| id.to_owned())
        });
        let name = of_meeting("joinMeetingId")?.or(of_meeting("token")?).or(thread).or(organizer);
        match name {
            Some(name) => Ok(Self { name, passcode }),
            None => Err("meetingInfo: name the meeting by joinMeetingId, by token, by a chatInfo \
                 with a threadId, or by its organizer"
                .to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn name(meeting: &Value, chat: &Value) -> Result<MeetingName, String> {
        let meeting = meeting.as_object().expect("an object");
        MeetingName::of(meeting, chat.as_object())
    }

    #[test]
    fn a_meeting_is_named_in_one_of_four_ways() {
        let organizer = json!({"organizer": {"user": {"id": "o"}}});
        for (meeting, chat, expected) in [
            (json!({"joinMeetingId": "123"}), json!({"threadId": "t"}), "123"),
            (json!({"token": "tok"}), json!(null), "tok"),
            (organizer.clone(), json!({"threadId": "t", "messageId": "0"}), "t"),
            (organizer, json!({"threadId": null}), "o"),
        ] {
            let named = name(&meeting, &chat).expect("it is named");
            assert_eq!((named.name.as_str(), named.passcode), (expected, None));
        }
        let meeting = json!({"joinMeetingId": "123", "passcode": "p"});
        let named = name(&meeting, &json!(null)).expect("it is named");
        assert_eq!(named.passcode.as_deref(), Some("p"));
    }

    #[test]
    fn what_names_no_meeting_is_said() {
        let error = name(&json!({}), &json!({})).unwrap_err();
        assert!(error.starts_with("meetingInfo: name the meeting by"), "{error}");
        let error = name(&json!({"token": 7}), &json!(null)).unwrap_err();
        assert_eq!(error, "meetingInfo.token: a string expected");
        let error = name(&json!({}), &json!({"threadId": []})).unwrap_err();
        assert_eq!(error, "chatInfo.threadId: a string expected");
    }
}
