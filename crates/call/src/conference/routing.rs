//! Who hears whom: the default mix, and what audio routing groups and mixer levels change in it.

use super::participant::Roster;
use crate::ids::ParticipantId;

/// Most routing groups of one bot. Graph states none; ours.
pub const MAX_ROUTING_GROUPS: usize = 32;
/// A source as loud as it is, in per cent.
pub const FULL_LEVEL: u8 = 100;

/// Graph `routingMode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoutingMode {
    /// One source and one receiver, who talk with each other and with nobody else.
    OneToOne,
    /// One source that its receivers alone hear, beside everything else they hear.
    Multicast,
}

/// Graph `audioRoutingGroup`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioRoutingGroup {
    /// Any text the bot likes, up to 256 characters; made by the server if it gives none.
    pub id: String,
    /// What the group does.
    pub mode: RoutingMode,
    /// Who speaks.
    pub sources: Vec<ParticipantId>,
    /// Who alone hears that.
    pub receivers: Vec<ParticipantId>,
}

/// What is wrong with a routing group. Reads behind the name of the member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoutingFault {
    /// Not exactly one source.
    #[error("sources: one participant expected")]
    Sources,
    /// `oneToOne` takes one receiver.
    #[error("receivers: oneToOne takes exactly one participant")]
    OneReceiver,
    /// `multicast` takes at least one.
    #[error("receivers: send at least one participant")]
    NoReceiver,
    /// One is named twice, or as source and receiver.
    #[error("receivers: a participant is named twice, or is the source as well")]
    Twice,
    /// One is not in the call.
    #[error("sources: not a participant of this call")]
    SourceAbsent,
    /// One is not in the call.
    #[error("receivers: not all are participants of this call")]
    ReceiverAbsent,
}

impl AudioRoutingGroup {
    /// Checks the counts, and that all are in the call.
    pub(crate) fn check(&self, roster: &Roster) -> Result<(), RoutingFault> {
        let [source] = self.sources.as_slice() else { return Err(RoutingFault::Sources) };
        match (self.mode, self.receivers.len()) {
            (RoutingMode::OneToOne | RoutingMode::Multicast, 1) | (RoutingMode::Multicast, 2..) => {
            }
            (RoutingMode::OneToOne, _) => return Err(RoutingFault::OneReceiver),
            (RoutingMode::Multicast, _) => return Err(RoutingFault::NoReceiver),
        }
        let twice = |(at, id): (usize, &ParticipantId)| self.receivers[..at].contains(id);
        if self.receivers.contains(source) || self.receivers.iter().enumerate().any(twice) {
            return Err(RoutingFault::Twice);
        }
        if roster.get(*source).is_none() {
            return Err(RoutingFault::SourceAbsent);
        }
        if self.receivers.iter().any(|id| roster.get(*id).is_none()) {
            return Err(RoutingFault::ReceiverAbsent);
        }
        Ok(())
    }

    /// Whether the group lets the listener hear the source.
    fn connects(&self, listener: ParticipantId, source: ParticipantId) -> bool {
        let forth = self.sources.contains(&source) && self.receivers.contains(&listener);
        let back = self.sources.contains(&listener) && self.receivers.contains(&source);
        forth || back && self.mode == RoutingMode::OneToOne
    }

    /// Whether somebody's voice is for the group alone.
    fn keeps_voice_of(&self, id: ParticipantId) -> bool {
        self.sources.contains(&id) || self.isolates(id)
    }

    /// Whether somebody hears the group alone.
    fn isolates(&self, id: ParticipantId) -> bool {
        self.mode == RoutingMode::OneToOne
            && (self.sources.contains(&id) || self.receivers.contains(&id))
    }
}

/// Graph beta `participantMixerLevel`: how loud others are for one listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MixerLevel {
    /// The listener.
    pub participant: ParticipantId,
    /// Hears only the sources listed here.
    pub is_exclusive: bool,
    /// Others and their levels in per cent, 0 to [`FULL_LEVEL`].
    pub sources: Vec<(ParticipantId, u8)>,
    /// Whoever is not listed makes way while somebody listed speaks.
    pub ducking: Option<MixerDucking>,
}

/// Graph beta `audioDuckingConfiguration`: how others make way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MixerDucking {
    /// How loud they are meanwhile, in per cent, 0 to [`FULL_LEVEL`].
    pub lower: u8,
    /// How loud they are else, in per cent, 0 to [`FULL_LEVEL`].
    pub upper: u8,
    /// Milliseconds of the way down.
    pub ramp_down_ms: u32,
    /// Milliseconds of the way up.
    pub ramp_up_ms: u32,
}

/// How somebody stands, beside the groups; by default not in the room.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Standing {
    pub(super) is_in: bool,
    pub(super) is_muted: bool,
    /// Hears hold music.
    pub(super) is_isolated: bool,
    /// Is not in the default mix.
    pub(super) is_apart: bool,
}

/// Whether a listener hears a source.
///
/// A group stays in force when one of its members has left: what was private must not become
/// public by that.
pub(super) fn hears<'a>(
    listener: (ParticipantId, Standing),
    source: (ParticipantId, Standing),
    groups: impl Iterator<Item = &'a AudioRoutingGroup> + Clone,
) -> bool {
    let ((listener_id, hearing), (source_id, speaking)) = (listener, source);
    if listener_id == source_id
        || !(hearing.is_in && speaking.is_in)
        || hearing.is_isolated
        || speaking.is_isolated
        || speaking.is_muted
    {
        return false;
    }
    let is_kept =
        |group: &AudioRoutingGroup| group.keeps_voice_of(source_id) || group.isolates(listener_id);
    let is_private = groups.clone().any(is_kept) || hearing.is_apart || speaking.is_apart;
    !is_private || groups.clone().any(|group| group.connects(listener_id, source_id))
}

/// Whether somebody is in the default mix with all that they say and hear.
pub(super) fn is_in_default<'a>(
    (id, standing): (ParticipantId, Standing),
    mut groups: impl Iterator<Item = &'a AudioRoutingGroup>,
) -> bool {
    !standing.is_apart && !groups.any(|group| group.keeps_voice_of(id) || group.isolates(id))
}

/// What a listener's own mixer makes of a source, in per cent.
pub(super) fn own_level(
    listener: ParticipantId,
    source: ParticipantId,
    levels: &[MixerLevel],
) -> u8 {
    let Some(mixer) = levels.iter().find(|level| level.participant == listener) else {
        return FULL_LEVEL;
    };
    let listed = mixer.sources.iter().find(|(id, _)| *id == source).map(|(_, level)| *level);
    listed.unwrap_or(if mixer.is_exclusive { 0 } else { FULL_LEVEL })
}
