//! Who takes part, who hears whom, and how people are named.

use super::{FUTURE, LATER, Row, Type, complex, entity, enumeration, member};

pub(super) const TYPES: &[Type] = &[
    entity(
        "participant",
        LATER,
        &[
            member("info", "participantInfo").required(),
            member("isInLobby", "Edm.Boolean").required(),
            member("isMuted", "Edm.Boolean").required(),
            member("mediaStreams", "Collection(mediaStream)"),
            member("metadata", "Edm.String"),
            member("recordingInfo", "recordingInfo"),
            member("removedState", "removedState"),
            member("restrictedExperience", "onlineMeetingRestricted"),
            member("rosterSequenceNumber", "Edm.Int64"),
        ],
    ),
    complex(
        "participantInfo",
        Row::done("a_created_call_is_answered_with_the_whole_resource"),
        &[
            member("countryCode", "Edm.String")
                .is(Row::ignored("kept and shown", "what_has_no_effect_is_kept_and_comes_back")),
            member("endpointType", "endpointType")
                .is(Row::ignored("kept and shown", "what_has_no_effect_is_kept_and_comes_back")),
            member("identity", "identitySet").required(),
            member("languageId", "Edm.String")
                .is(Row::ignored("kept and shown", "what_has_no_effect_is_kept_and_comes_back")),
            member("participantId", "Edm.String")
                .is(Row::ignored("kept and shown", "what_has_no_effect_is_kept_and_comes_back")),
            member("region", "Edm.String")
                .is(Row::ignored("kept and shown", "what_has_no_effect_is_kept_and_comes_back")),
            member("platformId", "Edm.String")
                .beta()
                .is(Row::ignored("kept and shown", "what_has_no_effect_is_kept_and_comes_back")),
        ],
    ),
    complex(
        "invitationParticipantInfo",
        Row::done("a_created_call_is_answered_with_the_whole_resource"),
        &[
            member("hidden", "Edm.Boolean")
                .is(Row::ignored("kept and shown", "what_has_no_effect_is_kept_and_comes_back")),
            member("identity", "identitySet").required(),
            member("participantId", "Edm.String")
                .is(Row::ignored("kept and shown", "what_has_no_effect_is_kept_and_comes_back")),
            member("removeFromDefaultAudioRoutingGroup", "Edm.Boolean")
                .is(Row::ignored("kept and shown", "what_has_no_effect_is_kept_and_comes_back")),
            member("replacesCallId", "Edm.String")
                .is(Row::ignored("kept and shown", "what_has_no_effect_is_kept_and_comes_back")),
            member("endpointType", "endpointType")
                .beta()
                .is(Row::ignored("kept and shown", "what_has_no_effect_is_kept_and_comes_back")),
        ],
    )
    .open(),
    enumeration(
        "endpointType",
        Row::ignored("kept and shown", "what_has_no_effect_is_kept_and_comes_back"),
        &[
            member("default", "0"),
            member("voicemail", "1"),
            member("skypeForBusiness", "2"),
            member("skypeForBusinessVoipPhone", "3"),
            member("unknownFutureValue", "4").is(FUTURE),
        ],
    ),
    complex(
        "identitySet",
        Row::done("a_plain_identity_set_may_hold_a_phone"),
        &[
            member("application", "identity").is(Row::differs(
                "of a source it must be the token's; as a target it cannot be called",
                "creates_are_refused_for_what_they_name",
            )),
            member("device", "identity").is(Row::ignored(
                "kept and shown; it cannot be called",
                "what_has_no_effect_is_kept_and_comes_back",
            )),
            member("user", "identity"),
        ],
    )
    .open(),
    complex(
        "identity",
        Row::done("a_plain_identity_set_may_hold_a_phone"),
        &[member("displayName", "Edm.String"), member("id", "Edm.String")],
    )
    .open(),
    complex(
        "mediaStream",
        LATER,
        &[
            member("direction", "mediaDirection").required(),
            member("label", "Edm.String"),
            member("mediaType", "modality").required(),
            member("serverMuted", "Edm.Boolean").required(),
            member("sourceId", "Edm.String").required(),
        ],
    ),
    enumeration(
        "mediaDirection",
        LATER,
        &[
            member("inactive", "0"),
            member("sendOnly", "1"),
            member("receiveOnly", "2"),
            member("sendReceive", "3"),
        ],
    ),
    complex(
        "recordingInfo",
        LATER,
        &[
            member("initiator", "identitySet"),
            member("recordingStatus", "recordingStatus").required(),
        ],
    ),
    enumeration(
        "recordingStatus",
        LATER,
        &[
            member("unknown", "0"),
            member("notRecording", "1"),
            member("recording", "2"),
            member("failed", "3"),
            member("unknownFutureValue", "4").is(FUTURE),
        ],
    ),
    complex("removedState", LATER, &[member("reason", "Edm.String")]),
    complex(
        "onlineMeetingRestricted",
        LATER,
        &[
            member("contentSharingDisabled", "onlineMeetingContentSharingDisabledReason"),
            member("videoDisabled", "onlineMeetingVideoDisabledReason"),
        ],
    ),
    enumeration(
        "onlineMeetingContentSharingDisabledReason",
        LATER,
        &[member("watermarkProtection", "1"), member("unknownFutureValue", "2").is(FUTURE)],
    ),
    enumeration(
        "onlineMeetingVideoDisabledReason",
        LATER,
        &[member("watermarkProtection", "1"), member("unknownFutureValue", "2").is(FUTURE)],
    ),
    entity(
        "audioRoutingGroup",
        LATER,
        &[
            member("receivers", "Collection(Edm.String)"),
            member("routingMode", "routingMode").required(),
            member("sources", "Collection(Edm.String)"),
        ],
    ),
    enumeration(
        "routingMode",
        LATER,
        &[
            member("oneToOne", "0"),
            member("multicast", "1"),
            member("unknownFutureValue", "2").is(FUTURE),
        ],
    ),
    complex(
        "communicationsIdentitySet",
        Row::done("a_plain_identity_set_may_hold_a_phone"),
        &[
            member("applicationInstance", "identity")
                .is(Row::ignored("kept and shown", "what_has_no_effect_is_kept_and_comes_back")),
            member("encrypted", "identity")
                .is(Row::done("a_bot_without_a_calling_role_is_not_told_who_calls_and_may_answer")),
            member("guest", "identity")
                .is(Row::ignored("kept and shown", "what_has_no_effect_is_kept_and_comes_back")),
            member("onPremises", "identity")
                .is(Row::ignored("kept and shown", "what_has_no_effect_is_kept_and_comes_back")),
            member("phone", "identity"),
        ],
    )
    .derives("identitySet")
    .open(),
];
