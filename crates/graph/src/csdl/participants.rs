//! Who takes part, who hears whom, and how people are named.

use super::{FUTURE, Row, Type, complex, entity, enumeration, member};

pub(super) const TYPES: &[Type] = &[
    entity(
        "participant",
        Row::done("invited_ones_come_in_and_removed_ones_go_and_rosters_tell_each_step_in_order"),
        &[
            member("info", "participantInfo").required(),
            member("isInLobby", "Edm.Boolean").required().is(Row::differs(
                "false: there is no lobby",
                "invited_ones_come_in_and_removed_ones_go_and_rosters_tell_each_step_in_order",
            )),
            member("isMuted", "Edm.Boolean")
                .required()
                .is(Row::done("a_muted_phone_is_heard_by_nobody_and_still_hears")),
            member("mediaStreams", "Collection(mediaStream)"),
            member("metadata", "Edm.String").is(Row::differs(
                "null",
                "invited_ones_come_in_and_removed_ones_go_and_rosters_tell_each_step_in_order",
            )),
            member("recordingInfo", "recordingInfo")
                .is(Row::done("rosters_show_who_is_muted_and_what_is_said_of_recordings")),
            member("removedState", "removedState").is(Row::differs(
                "null",
                "invited_ones_come_in_and_removed_ones_go_and_rosters_tell_each_step_in_order",
            )),
            member("restrictedExperience", "onlineMeetingRestricted").is(Row::differs(
                "null",
                "invited_ones_come_in_and_removed_ones_go_and_rosters_tell_each_step_in_order",
            )),
            member("rosterSequenceNumber", "Edm.Int64"),
            member("graphophoneIsOnHold", "Edm.Boolean").ours().is(Row::differs(
                "true while hold music plays",
                "hold_music_is_heard_by_one_only_and_one_at_a_time",
            )),
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
            member("replacesCallId", "Edm.String").is(Row::differs(
                "of invite and transfer; elsewhere kept and shown",
                "who_is_in_a_call_of_the_bot_comes_into_the_group_without_being_called_again",
            )),
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
        Row::done("invited_ones_come_in_and_removed_ones_go_and_rosters_tell_each_step_in_order"),
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
        Row::differs(
            "always sendReceive",
            "invited_ones_come_in_and_removed_ones_go_and_rosters_tell_each_step_in_order",
        ),
        &[
            member("inactive", "0").is(Row::refused(
                "every participant of a room sends and receives",
                "invited_ones_come_in_and_removed_ones_go_and_rosters_tell_each_step_in_order",
            )),
            member("sendOnly", "1").is(Row::refused(
                "every participant of a room sends and receives",
                "invited_ones_come_in_and_removed_ones_go_and_rosters_tell_each_step_in_order",
            )),
            member("receiveOnly", "2").is(Row::refused(
                "every participant of a room sends and receives",
                "invited_ones_come_in_and_removed_ones_go_and_rosters_tell_each_step_in_order",
            )),
            member("sendReceive", "3"),
        ],
    ),
    complex(
        "recordingInfo",
        Row::done("rosters_show_who_is_muted_and_what_is_said_of_recordings"),
        &[
            member("initiator", "identitySet"),
            member("recordingStatus", "recordingStatus").required(),
        ],
    ),
    enumeration(
        "recordingStatus",
        Row::done("the_status_is_one_of_graphs"),
        &[
            member("unknown", "0"),
            member("notRecording", "1"),
            member("recording", "2"),
            member("failed", "3"),
            member("unknownFutureValue", "4").is(FUTURE),
        ],
    ),
    complex(
        "removedState",
        Row::refused(
            "null",
            "invited_ones_come_in_and_removed_ones_go_and_rosters_tell_each_step_in_order",
        ),
        &[member("reason", "Edm.String")],
    ),
    complex(
        "onlineMeetingRestricted",
        Row::refused(
            "null: nothing is restricted",
            "invited_ones_come_in_and_removed_ones_go_and_rosters_tell_each_step_in_order",
        ),
        &[
            member("contentSharingDisabled", "onlineMeetingContentSharingDisabledReason"),
            member("videoDisabled", "onlineMeetingVideoDisabledReason"),
        ],
    ),
    enumeration(
        "onlineMeetingContentSharingDisabledReason",
        Row::refused(
            "null: nothing is restricted",
            "invited_ones_come_in_and_removed_ones_go_and_rosters_tell_each_step_in_order",
        ),
        &[member("watermarkProtection", "1"), member("unknownFutureValue", "2").is(FUTURE)],
    ),
    enumeration(
        "onlineMeetingVideoDisabledReason",
        Row::refused(
            "null: nothing is restricted",
            "invited_ones_come_in_and_removed_ones_go_and_rosters_tell_each_step_in_order",
        ),
        &[member("watermarkProtection", "1"), member("unknownFutureValue", "2").is(FUTURE)],
    ),
    entity(
        "audioRoutingGroup",
        Row::done("a_one_to_one_group_isolates_a_pair_and_its_end_brings_all_together"),
        &[
            member("receivers", "Collection(Edm.String)"),
            member("routingMode", "routingMode").required(),
            member("sources", "Collection(Edm.String)"),
        ],
    ),
    enumeration(
        "routingMode",
        Row::done("multicast_is_for_its_receivers_alone_and_takes_nothing_from_them"),
        &[
            member("oneToOne", "0"),
            member("multicast", "1"),
            member("unknownFutureValue", "2").is(FUTURE),
        ],
    ),
    complex(
        "participantMixerLevel",
        Row::done("mixer_levels_are_heard_by_one_listener_only"),
        &[
            member("participant", "Edm.String").required(),
            member("exclusive", "Edm.Boolean"),
            member("ducking", "Edm.Untyped").is(Row::differs(
                "rampActive, rampInactive (ms), lowerLevel, upperLevel (per cent): who is not among \
                 the sourceLevels makes way while one of them speaks (reading)",
                "others_make_way_for_a_named_speaker_as_far_as_one_listener_is_concerned",
            )),
            member("sourceLevels", "Collection(audioSourceLevel)"),
        ],
    )
    .beta(),
    complex(
        "audioSourceLevel",
        Row::done("mixer_levels_are_heard_by_one_listener_only"),
        &[
            member("participant", "Edm.String").required(),
            member("level", "Edm.Int32"),
            member("ducking", "Edm.Untyped")
                .is(Row::ignored("checked", "levels_are_per_cent")),
        ],
    )
    .beta(),
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
