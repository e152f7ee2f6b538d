//! Who hears whom, in the words of a mixer: a default group in which all hear all, ways beside it,
//! and what is silenced.

use super::{
    machine::Conference,
    routing::{self, MixerLevel},
};
use crate::ids::ParticipantId;

/// How the audio of a conference is to be mixed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mix {
    /// All who take part in the audio.
    pub members: Vec<MemberMix>,
    /// Sources, and who hears them beside the default group.
    pub routes: Vec<(ParticipantId, Vec<ParticipantId>)>,
    /// What single listeners hear louder or softer. They open no way.
    pub levels: Vec<MixerLevel>,
}

/// One who takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberMix {
    /// Who.
    pub id: ParticipantId,
    /// Is heard by nobody.
    pub is_muted: bool,
    /// Hears nobody and is heard by nobody.
    pub is_isolated: bool,
    /// Hears all others of the default group, and is heard by them.
    pub is_in_default: bool,
}

impl Conference {
    /// How the audio is to be mixed now.
    pub fn mix(&self) -> Mix {
        let groups = self.all_routing_groups();
        let members: Vec<MemberMix> = self
            .taking_part()
            .map(|(id, standing)| MemberMix {
                id,
                is_muted: standing.is_muted,
                is_isolated: standing.is_isolated,
                is_in_default: routing::is_in_default((id, standing), groups.clone()),
            })
            .collect();
        let is_default_pair =
            |one: &MemberMix, other: &MemberMix| one.is_in_default && other.is_in_default;
        let route = |source: &MemberMix| {
            let receivers: Vec<ParticipantId> = members
                .iter()
                .filter(|listener| !is_default_pair(source, listener))
                .filter(|listener| self.hears(listener.id, source.id))
                .map(|listener| listener.id)
                .collect();
            (!receivers.is_empty()).then_some((source.id, receivers))
        };
        let routes = members.iter().filter_map(route).collect();
        Mix { routes, levels: self.mixer_levels().to_vec(), members }
    }
}
