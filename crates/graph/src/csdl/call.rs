//! Calls, and what is only part of them.

use super::{FUTURE, Row, Type, complex, entity, enumeration, member, root};

pub(super) const TYPES: &[Type] = &[
    root(
        "entity",
        Row::done("a_created_call_is_answered_with_the_whole_resource"),
        &[member("id", "Edm.String").required()],
    )
    .without_objects(),
    entity(
        "call",
        Row::done("a_created_call_is_answered_with_the_whole_resource"),
        &[
            member("callbackUri", "Edm.String").required(),
            member("callChainId", "Edm.String"),
            member("callOptions", "callOptions")
                .is(Row::ignored("kept and shown", "what_has_no_effect_is_kept_and_comes_back")),
            member("callRoutes", "Collection(callRoute)")
                .is(Row::done("an_incoming_call_tells_who_calls_whom")),
            member("chatInfo", "chatInfo")
                .is(Row::ignored("kept and shown", "what_has_no_effect_is_kept_and_comes_back")),
            member("direction", "callDirection"),
            member("incomingContext", "incomingContext")
                .is(Row::differs("null", "members_that_nothing_fills_are_null")),
            member("mediaConfig", "mediaConfig"),
            member("mediaState", "callMediaState").is(Row::done("a_call_is_shown_as_it_is_now")),
            member("meetingInfo", "meetingInfo")
                .is(Row::done("two_bots_and_telephones_meet_in_a_named_conference")),
            member("myParticipantId", "Edm.String"),
            member("requestedModalities", "Collection(modality)").is(Row::differs(
                "kept and shown; audio is what is carried",
                "a_created_call_is_answered_with_the_whole_resource",
            )),
            member("resultInfo", "resultInfo").is(Row::done("a_call_is_shown_as_it_is_now")),
            member("source", "participantInfo"),
            member("state", "callState"),
            member("subject", "Edm.String")
                .is(Row::ignored("kept and shown", "what_has_no_effect_is_kept_and_comes_back")),
            member("targets", "Collection(invitationParticipantInfo)"),
            member("tenantId", "Edm.String"),
            member("toneInfo", "toneInfo").is(Row::done("a_call_is_shown_as_it_is_now")),
            member("transcription", "callTranscriptionInfo").is(Row::differs(
                "null: calls are not transcribed",
                "members_that_nothing_fills_are_null",
            )),
            member("audioRoutingGroups", "Collection(audioRoutingGroup)")
                .navigation()
                .is(Row::done("groups_are_listed_read_and_refused_with_a_reason")),
            member("contentSharingSessions", "Collection(contentSharingSession)").navigation().is(
                Row::refused(
                    "no screens are shared on telephone lines",
                    "what_graph_has_and_this_server_has_not_says_so",
                ),
            ),
            member("operations", "Collection(commsOperation)")
                .navigation()
                .is(Row::done("a_call_expands_what_hangs_on_it")),
            member("participants", "Collection(participant)")
                .navigation()
                .is(Row::done("a_call_between_two_has_two_participants_and_no_group_verbs")),
            member("activeModalities", "Collection(modality)")
                .beta()
                .is(Row::done("a_created_call_is_answered_with_the_whole_resource")),
            member("answeredBy", "participantInfo")
                .beta()
                .is(Row::differs("null", "members_that_nothing_fills_are_null")),
            member("meetingCapability", "meetingCapability").beta().is(Row::differs(
                "null; in notifications as the service sends it",
                "notifications_of_an_outgoing_call_are_those_of_the_catalogue",
            )),
            member("ringingTimeoutInSeconds", "Edm.Int32").beta(),
            member("routingPolicies", "Collection(routingPolicy)")
                .beta()
                .is(Row::differs("empty", "members_that_nothing_fills_are_null")),
            member("terminationReason", "Edm.String").beta().is(Row::differs(
                "null; resultInfo says why",
                "members_that_nothing_fills_are_null",
            )),
        ],
    )
    .open(),
    enumeration(
        "callState",
        Row::done("a_call_shows_its_state_while_it_lives"),
        &[
            member("incoming", "0"),
            member("establishing", "1"),
            member("established", "3"),
            member("hold", "4").is(Row::refused(
                "established, with mediaState inactive",
                "a_call_shows_its_state_while_it_lives",
            )),
            member("transferring", "5")
                .is(Row::done("a_blind_transfer_by_refer_leaves_two_phones_talking")),
            member("transferAccepted", "6")
                .is(Row::done("a_blind_transfer_by_refer_leaves_two_phones_talking")),
            member("redirecting", "7").is(Row::done(
                "of_several_targets_the_first_to_answer_has_the_call_and_the_others_stop_ringing",
            )),
            member("terminating", "8"),
            member("terminated", "9"),
            member("unknownFutureValue", "10").is(FUTURE),
            member("ringing", "2").beta().is(Row::differs(
                "told once by a notification; GET says establishing",
                "the_ringing_of_whom_the_bot_calls_is_told_once",
            )),
        ],
    ),
    enumeration(
        "callDisposition",
        Row::ignored("all targets ring at once", "masks_are_of_beta_only"),
        &[
            member("default", "0"),
            member("simultaneousRing", "1"),
            member("forward", "2"),
            member("unknownFutureValue", "3").is(FUTURE),
        ],
    )
    .beta(),
    enumeration(
        "callDirection",
        Row::done("an_incoming_call_tells_who_calls_whom"),
        &[member("incoming", "0"), member("outgoing", "1")],
    ),
    complex(
        "callMediaState",
        Row::done("notifications_of_an_outgoing_call_are_those_of_the_catalogue"),
        &[member("audio", "mediaState")],
    ),
    enumeration(
        "mediaState",
        Row::done("notifications_of_an_outgoing_call_are_those_of_the_catalogue"),
        &[
            member("active", "0"),
            member("inactive", "1"),
            member("unknownFutureValue", "2").is(FUTURE),
        ],
    ),
    complex(
        "callOptions",
        Row::ignored(
            "kept and shown; there are no meetings, screens or rosters they could change",
            "what_has_no_effect_is_kept_and_comes_back",
        ),
        &[
            member("hideBotAfterEscalation", "Edm.Boolean"),
            member("isContentSharingNotificationEnabled", "Edm.Boolean"),
            member("isDeltaRosterEnabled", "Edm.Boolean"),
            member("isInteractiveRosterEnabled", "Edm.Boolean"),
        ],
    )
    .without_objects(),
    complex(
        "incomingCallOptions",
        Row::ignored("as callOptions", "a_documented_body_is_taken_in_every_mode"),
        &[],
    )
    .derives("callOptions"),
    complex(
        "outgoingCallOptions",
        Row::ignored("as callOptions", "what_has_no_effect_is_kept_and_comes_back"),
        &[],
    )
    .derives("callOptions"),
    complex(
        "callRoute",
        Row::done("an_incoming_call_tells_who_calls_whom"),
        &[
            member("final", "identitySet").required(),
            member("original", "identitySet").required(),
            member("routingType", "routingType").required(),
        ],
    ),
    enumeration(
        "routingType",
        Row::done("an_incoming_call_tells_who_calls_whom"),
        &[
            member("forwarded", "0").is(Row::refused(
                "phone lines do not say so; every route is a lookup",
                "an_incoming_call_tells_who_calls_whom",
            )),
            member("lookup", "1"),
            member("selfFork", "2").is(Row::refused(
                "phone lines do not say so; every route is a lookup",
                "an_incoming_call_tells_who_calls_whom",
            )),
            member("unknownFutureValue", "3").is(FUTURE),
        ],
    ),
    complex(
        "callTranscriptionInfo",
        Row::refused("calls are not transcribed; null", "members_that_nothing_fills_are_null"),
        &[
            member("lastModifiedDateTime", "Edm.DateTimeOffset"),
            member("state", "callTranscriptionState").required(),
        ],
    ),
    enumeration(
        "callTranscriptionState",
        Row::refused("calls are not transcribed", "members_that_nothing_fills_are_null"),
        &[
            member("notStarted", "0"),
            member("active", "1"),
            member("inactive", "2"),
            member("unknownFutureValue", "3").is(FUTURE),
        ],
    ),
    complex(
        "incomingContext",
        Row::refused("null", "members_that_nothing_fills_are_null"),
        &[
            member("observedParticipantId", "Edm.String"),
            member("onBehalfOf", "identitySet"),
            member("sourceParticipantId", "Edm.String"),
            member("transferor", "identitySet"),
        ],
    ),
    complex(
        "chatInfo",
        Row::ignored(
            "kept and shown; there are no chats",
            "what_has_no_effect_is_kept_and_comes_back",
        ),
        &[
            member("messageId", "Edm.String"),
            member("replyChainMessageId", "Edm.String"),
            member("threadId", "Edm.String"),
        ],
    ),
    complex("meetingInfo", Row::done("a_meeting_is_named_in_one_of_four_ways"), &[])
        .without_objects(),
    complex(
        "organizerMeetingInfo",
        Row::done("a_meeting_is_named_in_one_of_four_ways"),
        &[member("organizer", "identitySet").required()],
    )
    .derives("meetingInfo")
    .open(),
    complex(
        "tokenMeetingInfo",
        Row::done("a_meeting_is_named_in_one_of_four_ways"),
        &[member("token", "Edm.String").required()],
    )
    .derives("meetingInfo"),
    complex(
        "joinMeetingIdMeetingInfo",
        Row::done("a_meeting_is_named_in_one_of_four_ways"),
        &[member("joinMeetingId", "Edm.String").required(), member("passcode", "Edm.String")],
    )
    .derives("meetingInfo")
    .open(),
    enumeration(
        "modality",
        Row::done("the_modality_unknown_is_betas"),
        &[
            member("audio", "1"),
            member("video", "2").is(Row::differs(
                "taken and shown; only audio is carried",
                "the_modality_unknown_is_betas",
            )),
            member("videoBasedScreenSharing", "3").is(Row::differs(
                "taken and shown; only audio is carried",
                "the_modality_unknown_is_betas",
            )),
            member("data", "4").is(Row::differs(
                "taken and shown; only audio is carried",
                "the_modality_unknown_is_betas",
            )),
            member("unknownFutureValue", "5").is(FUTURE),
            member("unknown", "0").beta(),
        ],
    ),
    complex(
        "resultInfo",
        Row::done("a_call_is_shown_as_it_is_now"),
        &[
            member("code", "Edm.Int32").required(),
            member("message", "Edm.String"),
            member("subcode", "Edm.Int32").required(),
        ],
    ),
    complex(
        "toneInfo",
        Row::done("a_call_is_shown_as_it_is_now"),
        &[member("sequenceId", "Edm.Int64").required(), member("tone", "tone").required()],
    ),
    enumeration(
        "tone",
        Row::done("a_tone_comes_without_media_state_and_chain"),
        &[
            member("tone0", "0"),
            member("tone1", "1"),
            member("tone2", "2"),
            member("tone3", "3"),
            member("tone4", "4"),
            member("tone5", "5"),
            member("tone6", "6"),
            member("tone7", "7"),
            member("tone8", "8"),
            member("tone9", "9"),
            member("star", "10"),
            member("pound", "11"),
            member("a", "12"),
            member("b", "13"),
            member("c", "14"),
            member("d", "15"),
            member("flash", "16"),
        ],
    ),
    enumeration(
        "rejectReason",
        Row::done("reasons_are_read_as_the_documents_and_the_metadata_spell_them"),
        &[
            member("none", "0"),
            member("busy", "1"),
            member("forbidden", "2"),
            member("unknownFutureValue", "3").is(FUTURE),
        ],
    ),
    enumeration(
        "screenSharingRole",
        Row::done("a_screen_sharing_role_is_for_app_hosted_calls"),
        &[member("viewer", "0"), member("sharer", "1")],
    ),
    entity(
        "contentSharingSession",
        Row::refused(
            "no screens are shared on telephone lines",
            "what_graph_has_and_this_server_has_not_says_so",
        ),
        &[],
    )
    .open(),
    complex(
        "meetingCapability",
        Row::differs(
            "nobody may do anything: there are no meetings of Teams",
            "notifications_of_an_outgoing_call_are_those_of_the_catalogue",
        ),
        &[
            member("allowAnonymousUsersToDialOut", "Edm.Boolean"),
            member("allowAnonymousUsersToStartMeeting", "Edm.Boolean"),
        ],
    )
    .beta(),
    complex(
        "routingPolicy",
        Row::refused("an empty list", "members_that_nothing_fills_are_null"),
        &[],
    )
    .beta(),
    entity(
        "cloudCommunications",
        Row::done("the_list_of_calls_is_in_the_order_of_their_making"),
        &[member("calls", "Collection(call)").navigation()],
    ),
];
