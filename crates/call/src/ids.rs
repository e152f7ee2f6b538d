//! Identifiers, one type per thing they name. Made by the shell and passed in.

use std::{fmt, str::FromStr};

use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps a UUID made elsewhere.
            pub const fn new(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID inside.
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        /// Lower-case and dashed, as Graph prints ids in paths and bodies.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0.as_hyphenated(), f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        /// Accepts the dashed form and the 32 hex digits of Graph's older examples, in any case.
        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::try_parse(text).map(Self)
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }
    };
}

id!(
    /// A Graph `call`; never a SIP Call-ID.
    CallId
);
id!(
    /// A Graph `commsOperation`.
    OperationId
);
id!(
    /// The tenant that owns an application and its calls.
    TenantId
);
id!(
    /// The application (bot) that owns a call: `appid` in its tokens.
    AppId
);
id!(
    /// One who takes part in a call: a Graph `participant`.
    ParticipantId
);
