//! `logTeleconferenceDeviceQuality`: what a conference device reports of its media. Nothing here has
//! use for it, so it is checked by the metadata and not kept.

use uuid::Uuid;

use crate::{
    compat::{ApiVersion, Compat, Dialect},
    csdl,
    json::{self, BodyError, Extras, Members},
};

/// Reads the body; the report's `callChainId` comes back.
///
/// # Errors
/// [`BodyError`]: malformed JSON, or the member at fault.
pub fn parse(body: &[u8], version: ApiVersion, compat: Compat) -> Result<Uuid, BodyError> {
    let body = json::read(body)?;
    let dialect = Dialect { version, compat };
    let members = Members::of_body(&body, &["quality"], Extras::Undeclared, dialect)?;
    let quality = members.require("quality", "a teleconferenceDeviceQuality")?;
    csdl::check(&quality, "teleconferenceDeviceQuality")?;
    let chain = quality.members(&["callChainId"], Extras::Allowed)?;
    let chain = chain.require("callChainId", "a GUID")?;
    Uuid::try_parse(chain.string()?).map_err(|_| chain.unexpected("a GUID"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The example of Graph's page, in short.
    fn report() -> Value {
        json!({ "quality": {
            "@odata.type": "#microsoft.graph.teleconferenceDeviceQuality",
            "callChainId": "0622673d-9f69-49b3-9d4f-5ec64f42ecce",
            "participantId": "ea078406-b5d4-4d3c-b85e-90103dcec7f6",
            "mediaLegId": "bd9ee398-4b9d-42c7-8b8d-4e8efad9435f",
            "deviceName": "TestAgent",
            "deviceDescription": "TestDescription",
            "mediaQualityList": [{
                "@odata.type": "#microsoft.graph.teleconferenceDeviceAudioQuality",
                "channelIndex": 1,
                "mediaDuration": "PT20M",
                "networkLinkSpeedInBytes": 13000,
                "localIPAddress": "127.0.0.1",
                "localPort": 6300,
                "inboundPackets": 5500,
                "averageInboundPacketLossRateInPercentage": 0.01,
                "averageInboundJitter": "PT0.05S",
                "averageInboundRoundTripDelay": "PT0.6S",
            }],
        } })
    }

    fn read(body: &Value, compat: Compat) -> Result<Uuid, String> {
        parse(body.to_string().as_bytes(), ApiVersion::V1, compat).map_err(|e| e.to_string())
    }

    #[test]
    fn a_report_of_a_device_is_checked_by_the_metadata() {
        for compat in [Compat::Open, Compat::StrictBeta, Compat::StrictV1] {
            let chain = read(&report(), compat).expect("it is documented");
            assert_eq!(chain.to_string(), "0622673d-9f69-49b3-9d4f-5ec64f42ecce");
        }
        let quality = "/quality";
        let media = "/quality/mediaQualityList/0";
        let table = [
            (quality, "callChainId", json!("x"), "quality.callChainId: a GUID expected"),
            (quality, "callChainId", Value::Null, "quality.callChainId: required"),
            (quality, "deviceName", json!(7), "quality.deviceName: a string expected"),
            (quality, "mediaQualityList", json!({}), "quality.mediaQualityList: an array"),
            (quality, "@odata.type", json!("#microsoft.graph.call"), "quality.@odata.type: "),
            (
                media,
                "channelIndex",
                json!(1.5),
                "quality.mediaQualityList[0].channelIndex: a whole",
            ),
            (
                media,
                "mediaDuration",
                json!("20m"),
                "quality.mediaQualityList[0].mediaDuration: a du",
            ),
            (
                media,
                "averageInboundPacketLossRateInPercentage",
                json!("much"),
                "quality.mediaQualityList[0].averageInboundPacketLossRateInPercentage: a number",
            ),
        ];
        for (place, name, value, expected) in table {
            let mut body = report();
            body.pointer_mut(place).expect("it is there")[name] = value;
            let error = read(&body, Compat::StrictV1).expect_err(expected);
            assert!(error.starts_with(expected), "{error}");
        }
        let error = read(&json!({}), Compat::Open).expect_err("it is empty");
        assert!(error.starts_with("quality: required"), "{error}");
    }
}
