//! A conference as a sans-IO machine: who takes part, who hears whom, and what its bots are told.
//!
//! Bots have a place in it, by which their calls are carried as other calls are by a leg; people
//! have legs of their own. The contract is that of [`Call`](crate::Call): one [`ConferenceInput`],
//! then all [`ConferenceOutput`]s in order, then the next input. There is no time in it: who rings
//! too long is given up by the leg.

mod machine;
mod mix;
mod participant;
mod routing;
#[cfg(test)]
mod tests;
mod vocabulary;

pub use machine::{Conference, ConferenceSettings, WithoutBot};
pub use mix::{MemberMix, Mix};
pub use participant::{Identity, IdentityKind, Invitation, Participant, RecordingStatus, Roster};
pub use routing::{
    AudioRoutingGroup, FULL_LEVEL, MAX_ROUTING_GROUPS, MixerDucking, MixerLevel, RoutingFault,
    RoutingMode,
};
pub use vocabulary::{
    BotPlace, ConferenceEvent, ConferenceInput, ConferenceOutput, ConferenceRequest, GroupCommand,
    GroupVerb,
};
