//! The parameters of the actions on a call, read from request bodies. keepAlive has none; a body
//! sent with it is not looked at.

pub mod answer;
pub mod cancel_media_processing;
pub mod change_screen_sharing_role;
pub mod configure_mixer;
pub mod context_only;
pub mod control;
pub mod invite;
pub mod log_teleconference_device_quality;
pub mod mute_all;
pub mod play_prompt;
pub mod record_response;
pub mod redirect;
pub mod reject;
pub mod send_dtmf_tones;
pub mod start_hold_music;
pub mod transfer;
pub mod update_call;
pub mod update_recording_status;

use crate::json::{BodyError, Members};

/// Most UTF-16 code units of a `clientContext` (Graph: 256 characters; .NET counts units).
pub const MAX_CLIENT_CONTEXT: usize = 256;

/// `clientContext`, verbatim; empty stays empty, null is none.
fn client_context(members: &Members<'_>) -> Result<Option<String>, BodyError> {
    match members.get("clientContext") {
        Some(member) => member.short_string(MAX_CLIENT_CONTEXT).map(|text| Some(text.to_owned())),
        None => Ok(None),
    }
}
