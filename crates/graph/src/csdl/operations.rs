//! Operations: what an action began.

use super::{FUTURE, Member, Row, Type, complex, entity, enumeration, member};

pub(super) const TYPES: &[Type] = &[
    entity(
        "commsOperation",
        Row::done("a_running_operation_has_its_nulls_and_beta_one_more"),
        &[
            member("clientContext", "Edm.String"),
            member("resultInfo", "resultInfo"),
            member("status", "operationStatus").required(),
        ],
    )
    .open(),
    enumeration(
        "operationStatus",
        Row::differs(
            "written in lower camel case, as the service does",
            "a_running_operation_has_its_nulls_and_beta_one_more",
        ),
        &[
            member("NotStarted", "0"),
            member("Running", "1"),
            member("Completed", "2"),
            member("Failed", "3"),
        ],
    ),
    entity(
        "playPromptOperation",
        Row::done("a_completion_is_notified_as_production_does"),
        &[
            member("completionReason", "playPromptCompletionReason")
                .beta()
                .is(Row::done("a_running_operation_has_its_nulls_and_beta_one_more")),
            member("prompts", "Collection(prompt)").beta().is(Row::differs(
                "in notifications only",
                "a_completion_is_notified_as_production_does",
            )),
            member("graphophoneMode", "Edm.String")
                .ours()
                .is(Row::differs("if it is not queue", "everything_is_read_and_written_back")),
            member("graphophoneStopOn", "stopOn")
                .ours()
                .is(Row::differs("if something stops it", "everything_is_read_and_written_back")),
            member("graphophoneParticipant", "Edm.String")
                .ours()
                .is(Row::differs("if one alone hears it", "everything_is_read_and_written_back")),
            member("graphophoneEndedBy", "Edm.String").ours().is(Row::differs(
                "what ended it, where Graph has no word for it",
                "a_key_ends_a_prompt_that_asked_for_it_and_no_other",
            )),
            member("graphophoneReceipt", "receipt").ours().is(Row::differs(
                "what was sent and heard of each prompt",
                "a_receipt_says_what_the_phone_recorded",
            )),
        ],
    )
    .derives("commsOperation")
    .open(),
    entity(
        "recordOperation",
        Row::done("a_recording_is_what_was_said_until_the_stop_tone"),
        &[member("recordingAccessToken", "Edm.String"), member("recordingLocation", "Edm.String")],
    )
    .derives("commsOperation")
    .open(),
    entity(
        "cancelMediaProcessingOperation",
        Row::done("a_cancel_is_completed_in_its_response"),
        &[],
    )
    .derives("commsOperation")
    .open(),
    entity(
        "subscribeToToneOperation",
        Row::done("presses_are_told_in_order_from_one_once_the_bot_has_subscribed"),
        &[],
    )
    .derives("commsOperation")
    .open(),
    entity(
        "sendDtmfTonesOperation",
        Row::done("sequences_of_tones_are_sent_one_after_the_other"),
        &[member("completionReason", "sendDtmfCompletionReason")],
    )
    .derives("commsOperation")
    .open(),
    enumeration(
        "sendDtmfCompletionReason",
        Row::done("sequences_of_tones_are_sent_one_after_the_other"),
        &[
            member("unknown", "0"),
            member("completedSuccessfully", "1"),
            member("mediaOperationCanceled", "2"),
            member("unknownFutureValue", "3").is(FUTURE),
        ],
    ),
    entity("muteParticipantOperation", Row::done("a_bot_that_mutes_itself_is_not_heard"), &[])
        .derives("commsOperation")
        .open(),
    entity("unmuteParticipantOperation", Row::done("a_bot_that_mutes_itself_is_not_heard"), &[])
        .derives("commsOperation")
        .open(),
    entity(
        "inviteParticipantsOperation",
        Row::done("invited_ones_come_in_and_removed_ones_go_and_rosters_tell_each_step_in_order"),
        &[member("participants", "Collection(invitationParticipantInfo)").required()],
    )
    .derives("commsOperation")
    .open(),
    entity(
        "startHoldMusicOperation",
        Row::done("hold_music_is_heard_by_one_only_and_one_at_a_time"),
        &[],
    )
    .derives("commsOperation")
    .open(),
    entity(
        "stopHoldMusicOperation",
        Row::done("hold_music_is_heard_by_one_only_and_one_at_a_time"),
        &[],
    )
    .derives("commsOperation")
    .open(),
    entity(
        "updateRecordingStatusOperation",
        Row::done("rosters_show_who_is_muted_and_what_is_said_of_recordings"),
        &[],
    )
    .derives("commsOperation")
    .open(),
    entity(
        "addLargeGalleryViewOperation",
        Row::refused("there is no video", "a_large_gallery_needs_video"),
        &[],
    )
    .derives("commsOperation")
    .open(),
    entity(
        "muteParticipantsOperation",
        Row::done("every_verb_in_every_state_is_answered_as_the_table_says_in_beta"),
        &[],
    )
    .derives("commsOperation")
    .open()
    .beta(),
    enumeration(
        "playPromptCompletionReason",
        Row::done("notifications_of_ended_operations_say_how_and_repeat_the_prompts"),
        &[
            member("unknown", "0"),
            member("completedSuccessfully", "1"),
            member("mediaOperationCanceled", "2"),
            member("unknownFutureValue", "3").is(Row::differs(
                "ended by what graphophoneStopOn asked for",
                "a_key_ends_a_prompt_that_asked_for_it_and_no_other",
            )),
        ],
    )
    .beta(),
    complex(
        "receipt",
        Row::differs("what was sent of a playPrompt", "an_operation_shows_its_receipt"),
        RECEIPT,
    )
    .ours(),
    complex(
        "promptReceipt",
        Row::differs("of one prompt", "each_prompt_says_why_it_ended"),
        PROMPT_RECEIPT,
    )
    .ours(),
];

const RECEIPT: &[Member] = &[member("prompts", "Collection(promptReceipt)").required()];

const PROMPT_RECEIPT: &[Member] = &[
    member("uri", "Edm.String").required(),
    member("resourceId", "Edm.String"),
    member("sha256", "Edm.String"),
    member("durationMs", "Edm.Int64"),
    member("millisecondsSent", "Edm.Int64"),
    member("millisecondsAcknowledged", "Edm.Int64"),
    member("firstPacket", "Edm.DateTimeOffset"),
    member("lastPacket", "Edm.DateTimeOffset"),
    member("reason", "Edm.String").required(),
];
