//! The actions and their parameters.

use super::{Action, Row, Since, member};

/// All of them.
pub const ACTIONS: &[Action] = &[
    Action {
        name: "logTeleconferenceDeviceQuality",
        bound_to: "Collection(call)",
        parameters: &[member("quality", "teleconferenceDeviceQuality").required()],
        returns: None,
        since: Since::V1,
        row: Row::ignored(
            "checked, and written to the log at debug level; 204",
            "a_report_of_a_device_is_checked_by_the_metadata",
        ),
    },
    Action {
        name: "invite",
        bound_to: "Collection(participant)",
        parameters: &[
            member("participants", "Collection(invitationParticipantInfo)").required(),
            member("clientContext", "Edm.String"),
        ],
        returns: Some("inviteParticipantsOperation"),
        since: Since::V1,
        row: Row::done(
            "invited_ones_come_in_and_removed_ones_go_and_rosters_tell_each_step_in_order",
        ),
    },
    Action {
        name: "addLargeGalleryView",
        bound_to: "call",
        parameters: &[member("clientContext", "Edm.String")],
        returns: Some("addLargeGalleryViewOperation"),
        since: Since::V1,
        row: Row::refused("400 8500: there is no video", "a_large_gallery_needs_video"),
    },
    Action {
        name: "answer",
        bound_to: "call",
        parameters: &[
            member("callbackUri", "Edm.String").required().is(Row::differs(
                "may be missing in open mode",
                "open_mode_forgives_what_real_bots_leave_out",
            )),
            member("mediaConfig", "mediaConfig").required(),
            member("acceptedModalities", "Collection(modality)"),
            member("participantCapacity", "Edm.Int32").is(Row::ignored(
                "for policy recording bots",
                "a_documented_body_is_taken_in_every_mode",
            )),
            member("callOptions", "incomingCallOptions")
                .is(Row::ignored("kept and shown", "a_documented_body_is_taken_in_every_mode")),
        ],
        returns: None,
        since: Since::V1,
        row: Row::done("a_caller_is_answered_and_hears_the_prompt"),
    },
    Action {
        name: "cancelMediaProcessing",
        bound_to: "call",
        parameters: &[
            member("clientContext", "Edm.String")
                .is(Row::done("the_client_context_comes_back_verbatim")),
            member("all", "Edm.Boolean").ours().is(Row::differs(
                "of an old beta: false cancels the current operation only; open mode",
                "everything_is_cancelled_unless_an_open_server_is_told_otherwise",
            )),
        ],
        returns: Some("cancelMediaProcessingOperation"),
        since: Since::V1,
        row: Row::done("a_cancel_ends_what_plays_and_what_waits_in_order"),
    },
    Action {
        name: "changeScreenSharingRole",
        bound_to: "call",
        parameters: &[member("role", "screenSharingRole").required()],
        returns: None,
        since: Since::V1,
        row: Row::differs(
            "400 8500 on service-hosted calls; of an app-hosted call accepted and ignored",
            "a_screen_sharing_role_is_for_app_hosted_calls",
        ),
    },
    Action {
        name: "keepAlive",
        bound_to: "call",
        parameters: &[],
        returns: None,
        since: Since::V1,
        row: Row::done("a_call_lives_as_long_as_its_bot_keeps_it_alive"),
    },
    Action {
        name: "mute",
        bound_to: "call",
        parameters: &[member("clientContext", "Edm.String")],
        returns: Some("muteParticipantOperation"),
        since: Since::V1,
        row: Row::done("a_bot_that_mutes_itself_is_not_heard"),
    },
    Action {
        name: "playPrompt",
        bound_to: "call",
        parameters: &[
            member("prompts", "Collection(prompt)").required(),
            member("clientContext", "Edm.String")
                .is(Row::done("client_contexts_come_back_as_they_were_sent")),
            member("loop", "Edm.Boolean")
                .beta()
                .is(Row::done("loop_is_read_in_all_three_forms_as_far_as_the_mode_goes")),
            member("graphophoneMode", "Edm.String").ours().is(Row::differs(
                "queue, interrupt or overlay; open mode",
                "an_interrupting_prompt_replaces_what_plays_and_waits_without_a_gap",
            )),
            member("graphophoneStopOn", "stopOn").ours().is(Row::differs(
                "tones or speech that end it; open mode",
                "a_key_ends_a_prompt_that_asked_for_it_and_no_other",
            )),
            member("graphophoneParticipant", "Edm.String").ours().is(Row::differs(
                "of a group call: the participant who alone hears it; open mode",
                "a_prompt_for_one_participant_is_heard_by_that_one_and_by_nobody_else",
            )),
        ],
        returns: Some("playPromptOperation"),
        since: Since::V1,
        row: Row::done("three_prompts_are_heard_whole_in_order_and_without_a_gap"),
    },
    Action {
        name: "recordResponse",
        bound_to: "call",
        parameters: &[
            member("prompts", "Collection(prompt)"),
            member("bargeInAllowed", "Edm.Boolean"),
            member("initialSilenceTimeoutInSeconds", "Edm.Int32"),
            member("maxSilenceTimeoutInSeconds", "Edm.Int32"),
            member("maxRecordDurationInSeconds", "Edm.Int32"),
            member("playBeep", "Edm.Boolean"),
            member("stopTones", "Collection(Edm.String)"),
            member("clientContext", "Edm.String"),
            member("streamWhileRecording", "Edm.Boolean").beta().is(Row::ignored(
                "a recording can be downloaded when it is complete",
                "every_parameter_of_an_action_is_read_and_named_when_it_is_wrong",
            )),
        ],
        returns: Some("recordOperation"),
        since: Since::V1,
        row: Row::done("a_recording_is_what_was_said_until_the_stop_tone"),
    },
    Action {
        name: "redirect",
        bound_to: "call",
        parameters: &[
            member("targets", "Collection(invitationParticipantInfo)").required(),
            member("timeout", "Edm.Int32"),
            member("callbackUri", "Edm.String"),
            member("maskCallee", "Edm.Boolean").beta().is(Row::ignored(
                "all targets ring at once, and see the bot's id if it says so",
                "every_parameter_of_an_action_is_read_and_named_when_it_is_wrong",
            )),
            member("maskCaller", "Edm.Boolean").beta(),
            member("targetDisposition", "callDisposition").beta().is(Row::ignored(
                "all targets ring at once, and see the bot's id if it says so",
                "every_parameter_of_an_action_is_read_and_named_when_it_is_wrong",
            )),
        ],
        returns: None,
        since: Since::V1,
        row: Row::done(
            "of_several_targets_the_first_to_answer_has_the_call_and_the_others_stop_ringing",
        ),
    },
    Action {
        name: "reject",
        bound_to: "call",
        parameters: &[member("reason", "rejectReason"), member("callbackUri", "Edm.String")],
        returns: None,
        since: Since::V1,
        row: Row::done("a_rejected_call_is_refused_as_the_bot_says_and_told_without_a_state"),
    },
    Action {
        name: "sendDtmfTones",
        bound_to: "call",
        parameters: &[
            member("tones", "Collection(tone)").required(),
            member("delayBetweenTonesMs", "Edm.Int32"),
            member("clientContext", "Edm.String"),
        ],
        returns: Some("sendDtmfTonesOperation"),
        since: Since::V1,
        row: Row::done("sequences_of_tones_are_sent_one_after_the_other"),
    },
    Action {
        name: "subscribeToTone",
        bound_to: "call",
        parameters: &[member("clientContext", "Edm.String")],
        returns: Some("subscribeToToneOperation"),
        since: Since::V1,
        row: Row::done("presses_are_told_in_order_from_one_once_the_bot_has_subscribed"),
    },
    Action {
        name: "transfer",
        bound_to: "call",
        parameters: &[
            member("transferTarget", "invitationParticipantInfo").required(),
            member("transferee", "participantInfo").is(Row::done(
                "who_is_transferred_out_of_a_group_leaves_it_and_talks_with_the_target",
            )),
        ],
        returns: None,
        since: Since::V1,
        row: Row::done("a_blind_transfer_by_refer_leaves_two_phones_talking"),
    },
    Action {
        name: "unmute",
        bound_to: "call",
        parameters: &[member("clientContext", "Edm.String")],
        returns: Some("unmuteParticipantOperation"),
        since: Since::V1,
        row: Row::done("a_bot_that_mutes_itself_is_not_heard"),
    },
    Action {
        name: "updateRecordingStatus",
        bound_to: "call",
        parameters: &[
            member("status", "recordingStatus").required(),
            member("clientContext", "Edm.String"),
        ],
        returns: Some("updateRecordingStatusOperation"),
        since: Since::V1,
        row: Row::done("rosters_show_who_is_muted_and_what_is_said_of_recordings"),
    },
    Action {
        name: "mute",
        bound_to: "participant",
        parameters: &[member("clientContext", "Edm.String")],
        returns: Some("muteParticipantOperation"),
        since: Since::V1,
        row: Row::done("a_muted_phone_is_heard_by_nobody_and_still_hears"),
    },
    Action {
        name: "startHoldMusic",
        bound_to: "participant",
        parameters: &[member("customPrompt", "prompt"), member("clientContext", "Edm.String")],
        returns: Some("startHoldMusicOperation"),
        since: Since::V1,
        row: Row::done("hold_music_is_heard_by_one_only_and_one_at_a_time"),
    },
    Action {
        name: "stopHoldMusic",
        bound_to: "participant",
        parameters: &[member("clientContext", "Edm.String")],
        returns: Some("stopHoldMusicOperation"),
        since: Since::V1,
        row: Row::done("hold_music_is_heard_by_one_only_and_one_at_a_time"),
    },
    Action {
        name: "muteAll",
        bound_to: "Collection(participant)",
        parameters: &[
            member("participants", "Collection(Edm.String)"),
            member("clientContext", "Edm.String"),
        ],
        returns: Some("commsOperation"),
        since: Since::Beta,
        row: Row::done("every_verb_in_every_state_is_answered_as_the_table_says_in_beta"),
    },
    Action {
        name: "configureMixer",
        bound_to: "Collection(participant)",
        parameters: &[
            member("participantMixerLevels", "Collection(participantMixerLevel)").required(),
            member("clientContext", "Edm.String"),
        ],
        returns: Some("commsOperation"),
        since: Since::Beta,
        row: Row::done("mixer_levels_are_heard_by_one_listener_only"),
    },
    Action {
        name: "startRecording",
        bound_to: "call",
        parameters: &[],
        returns: None,
        since: Since::Beta,
        row: Row::refused(
            "405 8520: new in the SDK for beta, documented nowhere",
            "what_graph_has_and_this_server_has_not_says_so",
        ),
    },
    Action {
        name: "stopRecording",
        bound_to: "call",
        parameters: &[],
        returns: None,
        since: Since::Beta,
        row: Row::refused(
            "405 8520: new in the SDK for beta, documented nowhere",
            "what_graph_has_and_this_server_has_not_says_so",
        ),
    },
    Action {
        name: "startTranscription",
        bound_to: "call",
        parameters: &[],
        returns: None,
        since: Since::Beta,
        row: Row::refused(
            "405 8520: new in the SDK for beta, documented nowhere",
            "what_graph_has_and_this_server_has_not_says_so",
        ),
    },
    Action {
        name: "stopTranscription",
        bound_to: "call",
        parameters: &[],
        returns: None,
        since: Since::Beta,
        row: Row::refused(
            "405 8520: new in the SDK for beta, documented nowhere",
            "what_graph_has_and_this_server_has_not_says_so",
        ),
    },
    Action {
        name: "record",
        bound_to: "call",
        parameters: &[member("clientContext", "Edm.String")],
        returns: Some("recordOperation"),
        since: Since::Beta,
        row: Row::done("the_old_name_and_what_is_wrong_with_a_body"),
    },
    Action {
        name: "unmute",
        bound_to: "participant",
        parameters: &[member("clientContext", "Edm.String")],
        returns: Some("unmuteParticipantOperation"),
        since: Since::Ours,
        row: Row::differs(
            "Graph lets participants unmute themselves only",
            "a_muted_phone_is_heard_by_nobody_and_still_hears",
        ),
    },
    Action {
        name: "pause",
        bound_to: "playPromptOperation",
        parameters: &[],
        returns: Some("playPromptOperation"),
        since: Since::Ours,
        row: Row::differs(
            "graphophone.pause; open mode",
            "a_pause_is_silence_and_what_follows_it_is_where_it_was",
        ),
    },
    Action {
        name: "resume",
        bound_to: "playPromptOperation",
        parameters: &[],
        returns: Some("playPromptOperation"),
        since: Since::Ours,
        row: Row::differs(
            "graphophone.resume; open mode",
            "a_pause_is_silence_and_what_follows_it_is_where_it_was",
        ),
    },
    Action {
        name: "seek",
        bound_to: "playPromptOperation",
        parameters: &[member("positionMs", "Edm.Int32").required()],
        returns: Some("playPromptOperation"),
        since: Since::Ours,
        row: Row::differs(
            "graphophone.seek; open mode",
            "a_seek_goes_to_the_place_and_the_receipt_says_what_was_left_out",
        ),
    },
    Action {
        name: "stop",
        bound_to: "playPromptOperation",
        parameters: &[],
        returns: Some("playPromptOperation"),
        since: Since::Ours,
        row: Row::differs(
            "graphophone.stop; open mode",
            "a_stop_ends_one_operation_and_the_next_follows",
        ),
    },
];
