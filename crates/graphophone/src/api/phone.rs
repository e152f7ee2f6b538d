//! `/graphophone/v1/phone…`: the built-in phone of the dev profile in the hands of a test, in any
//! language: what did the caller hear? Needs the admin token.

use axum::{
    Json,
    extract::{FromRequestParts, State},
    http::{StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use graphophone_call::Tone;
use graphophone_graph::resource::tone;
use graphophone_media::{codec::Codec, wav};
use graphophone_sip::phone::{CallStage, Phone, PhoneCall};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    AppState,
    admin::{Admin, refusal},
};

/// The phone, for a request that may use it.
pub(super) struct Handset(Phone);

impl FromRequestParts<AppState> for Handset {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Response> {
        Admin::from_request_parts(parts, state).await?;
        let absent = "there is no built-in phone: only the dev profile with SIP over UDP has one";
        let phone = state.phone().cloned();
        phone.map(Self).ok_or_else(|| refusal(StatusCode::NOT_FOUND, absent))
    }
}

/// The last call of the phone, for a request that may use it.
pub(super) struct Latest(PhoneCall);

impl FromRequestParts<AppState> for Latest {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Response> {
        let Handset(phone) = Handset::from_request_parts(parts, state).await?;
        let absent = "the phone has had no call yet";
        phone.latest_call().map(Self).ok_or_else(|| refusal(StatusCode::NOT_FOUND, absent))
    }
}

/// `GET /graphophone/v1/phone`: the last call, and how much was heard in it.
pub(super) async fn status(Handset(phone): Handset) -> Response {
    let call = phone.latest_call().map(|call| describe(&call));
    Json(json!({"uri": phone.uri(), "call": call})).into_response()
}

/// `GET /graphophone/v1/phone/heard.wav`: everything heard in the last call, 8 kHz, 16-bit. Silence
/// and lost packets between the first and the last packet are silence in the file.
pub(super) async fn heard(Latest(call): Latest) -> Response {
    let file = wav::to_bytes(Codec::Pcmu.rate(), &call.heard().samples);
    ([(header::CONTENT_TYPE, "audio/wav")], file).into_response()
}

/// `POST /graphophone/v1/phone/hangUp`
pub(super) async fn hang_up(Latest(call): Latest) -> StatusCode {
    call.hang_up();
    StatusCode::NO_CONTENT
}

/// Body of `POST /graphophone/v1/phone/press`.
#[derive(Debug, Deserialize)]
pub(super) struct Keys {
    /// Graph tones: `tone1`, `star`, `pound`, …
    tones: Vec<String>,
}

/// `POST /graphophone/v1/phone/press`: keys, one after the other (RFC 4733).
pub(super) async fn press(Latest(call): Latest, Json(keys): Json<Keys>) -> Response {
    let by_name = |name: &String| Tone::ALL.into_iter().find(|known| tone::name(*known) == name);
    let Some(tones) = keys.tones.iter().map(by_name).collect::<Option<Vec<_>>>() else {
        let text = "tones: tone0 to tone9, star, pound, a, b, c, d, flash";
        return refusal(StatusCode::BAD_REQUEST, text);
    };
    match call.press(&tones) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(_) => refusal(StatusCode::CONFLICT, "the call has no audio now"),
    }
}

/// Body of `POST /graphophone/v1/phone/call`.
#[derive(Debug, Deserialize)]
pub(super) struct Dialled {
    /// What a caller dials: the `to` of a `[[route]]`.
    number: String,
}

/// `POST /graphophone/v1/phone/call`: the phone calls this server, which notifies a bot.
pub(super) async fn call(
    State(state): State<AppState>,
    Handset(phone): Handset,
    Json(dialled): Json<Dialled>,
) -> Response {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '_' | '*');
    if dialled.number.is_empty() || !dialled.number.chars().all(plain) {
        return refusal(StatusCode::BAD_REQUEST, "number: letters, digits and + - . _ *");
    }
    let Some(server) = state.sip_address() else {
        return refusal(StatusCode::CONFLICT, "this server does not listen for SIP over UDP");
    };
    match phone.call(&format!("sip:{}@{server}", dialled.number)).await {
        Ok(call) => (StatusCode::CREATED, Json(describe(&call))).into_response(),
        Err(error) => refusal(StatusCode::CONFLICT, &error.to_string()),
    }
}

fn describe(call: &PhoneCall) -> Value {
    let heard = call.heard();
    let (stage, result) = match call.stage() {
        CallStage::Trying => ("trying", None),
        CallStage::Ringing => ("ringing", None),
        CallStage::Established => ("established", None),
        CallStage::Ended(result) => ("ended", Some(result.message)),
    };
    json!({
        "sipCallId": call.sip_call_id(),
        "stage": stage,
        "result": result,
        "heardMilliseconds": heard.samples.len() as u64 * 1_000 / u64::from(Codec::Pcmu.rate()),
        "packets": heard.packets.len(),
        "lost": heard.lost,
    })
}
