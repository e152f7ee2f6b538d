//! Who handles media, and what is played.

use super::{Row, Type, complex, member};

pub(super) const TYPES: &[Type] = &[
    complex(
        "mediaConfig",
        Row::done("app_hosted_media_is_told_by_its_tag_or_its_blob"),
        &[
            member("removeFromDefaultAudioGroup", "Edm.Boolean")
                .beta()
                .is(Row::done("who_is_apart_hears_and_is_heard_by_groups_only")),
            member("liveCaptionOptions", "liveCaptionOptions").beta().is(Row::ignored(
                "kept and shown; nothing is captioned",
                "what_has_no_effect_is_kept_and_comes_back",
            )),
        ],
    )
    .without_objects(),
    complex(
        "serviceHostedMediaConfig",
        Row::done("files_are_fetched_ahead_for_accepted_calls_only"),
        &[member("preFetchMedia", "Collection(mediaInfo)")],
    )
    .derives("mediaConfig"),
    complex(
        "appHostedMediaConfig",
        Row::differs(
            "the call is signalled; its media actions are refused (400 8500)",
            "app_hosted_calls_are_signalled_and_their_media_is_refused",
        ),
        &[member("blob", "Edm.String")],
    )
    .derives("mediaConfig"),
    complex(
        "mediaInfo",
        Row::done("errors_name_the_member_and_say_what_to_send"),
        &[member("resourceId", "Edm.String"), member("uri", "Edm.String").required()],
    ),
    complex("prompt", Row::done("errors_name_the_member_and_say_what_to_send"), &[])
        .without_objects(),
    complex(
        "mediaPrompt",
        Row::done("three_prompts_are_heard_whole_in_order_and_without_a_gap"),
        &[
            member("mediaInfo", "mediaInfo").required(),
            member("graphophoneGainDb", "Edm.Double").ours().is(Row::differs(
                "louder or softer; open mode",
                "everything_is_read_and_written_back",
            )),
            member("graphophoneStartMs", "Edm.Int32").ours().is(Row::differs(
                "how much of the beginning is left out; open mode",
                "a_prompt_can_begin_later_and_be_repeated_from_there",
            )),
            member("loop", "Edm.Int32").beta().is(Row::differs(
                "1 to 1,000 times; documented nowhere",
                "a_prompt_with_a_repeat_count_is_played_so_often",
            )),
        ],
    )
    .derives("prompt"),
    complex(
        "liveCaptionOptions",
        Row::ignored("kept and shown", "what_has_no_effect_is_kept_and_comes_back"),
        &[],
    )
    .beta()
    .open(),
    complex(
        "stopOn",
        Row::differs("of playPrompt", "a_key_ends_a_prompt_that_asked_for_it_and_no_other"),
        &[member("tones", "Collection(tone)"), member("speech", "Edm.Boolean")],
    )
    .ours(),
];
