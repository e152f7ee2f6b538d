//! The envelope of notifications.

use super::{Row, Type, complex, enumeration, member};

pub(super) const TYPES: &[Type] = &[
    complex(
        "commsNotifications",
        Row::done("a_completion_is_notified_as_production_does"),
        &[member("value", "Collection(commsNotification)")],
    ),
    complex(
        "commsNotification",
        Row::done("a_completion_is_notified_as_production_does"),
        &[
            member("changeType", "changeType").required(),
            member("resourceUrl", "Edm.String").required(),
            member("resource", "Edm.String").ours().is(Row::differs(
                "sent by the service beside resourceUrl, declared nowhere; older bots read it",
                "a_completion_is_notified_as_production_does",
            )),
            member("resourceData", "Edm.Untyped").ours().is(Row::differs(
                "the object; undeclared in the metadata",
                "a_completion_is_notified_as_production_does",
            )),
        ],
    )
    .open(),
    enumeration(
        "changeType",
        Row::done("notifications_of_an_outgoing_call_are_those_of_the_catalogue"),
        &[member("created", "0"), member("updated", "1"), member("deleted", "2")],
    ),
];
