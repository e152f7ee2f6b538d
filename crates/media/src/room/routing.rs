//! Who hears whom, and how loud: the rules of a room, for each pair of its members.
//!
//! By default all hear all others. Members may be taken out of that default group, and routes let
//! receivers hear sources whatever their groups are. Who is muted is heard by nobody; who is
//! isolated neither hears nor is heard. Levels are each listener's own.

use std::{collections::HashMap, time::Duration};

use super::{Gain, MemberId};

/// Lets receivers hear sources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// Who is heard. Ids that are no members have no effect (yet).
    pub sources: Vec<MemberId>,
    /// Who hears them.
    pub receivers: Vec<MemberId>,
}

/// What one listener hears of whom.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Levels {
    /// Whether sources that are not named in `sources` are silent for this listener.
    pub exclusive: bool,
    /// How loud sources are; the others have [`Gain::UNITY`]. It lowers or raises what the listener
    /// may hear, and lets nobody be heard who is not.
    pub sources: Vec<(MemberId, Gain)>,
    /// While a named source speaks, the others are lowered.
    pub ducking: Option<Ducking>,
}

/// How a listener's other sources make way for the named ones.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ducking {
    /// What the others are lowered to while a named one speaks.
    pub lower: Gain,
    /// What they have else.
    pub upper: Gain,
    /// How long the way down takes.
    pub ramp_down: Duration,
    /// How long the way up takes, from half a second after the last word.
    pub ramp_up: Duration,
}

/// The rules of one room.
#[derive(Debug, Default)]
pub(super) struct Routing {
    members: HashMap<MemberId, Rules>,
    routes: Vec<Route>,
}

/// What holds for one member.
#[derive(Clone, Debug)]
struct Rules {
    muted: bool,
    isolated: bool,
    in_default: bool,
    gain: Gain,
    levels: Levels,
}

impl Routing {
    /// A member joins, with the rules that were set for it before, if any.
    pub(super) fn insert(&mut self, id: MemberId) {
        self.members.entry(id).or_default();
    }

    pub(super) fn remove(&mut self, id: MemberId) {
        self.members.remove(&id);
    }

    pub(super) fn set_muted(&mut self, id: MemberId, muted: bool) {
        self.rules(id, |rules| rules.muted = muted);
    }

    pub(super) fn set_isolated(&mut self, id: MemberId, isolated: bool) {
        self.rules(id, |rules| rules.isolated = isolated);
    }

    pub(super) fn set_in_default(&mut self, id: MemberId, in_default: bool) {
        self.rules(id, |rules| rules.in_default = in_default);
    }

    pub(super) fn set_gain(&mut self, id: MemberId, gain: Gain) {
        self.rules(id, |rules| rules.gain = gain);
    }

    pub(super) fn set_levels(&mut self, id: MemberId, levels: Levels) {
        self.rules(id, |rules| rules.levels = levels);
    }

    pub(super) fn set_routes(&mut self, routes: Vec<Route>) {
        self.routes = routes;
    }

    pub(super) fn ducking(&self, listener: MemberId) -> Option<Ducking> {
        self.members.get(&listener)?.levels.ducking
    }

    /// Whether a listener's levels name a source.
    pub(super) fn names(&self, listener: MemberId, source: MemberId) -> bool {
        let levels = self.members.get(&listener).map(|rules| &rules.levels);
        levels.is_some_and(|levels| levels.sources.iter().any(|(id, _)| *id == source))
    }

    /// How loud a listener hears a source; 0 if not at all.
    pub(super) fn gain(&self, listener: MemberId, source: MemberId) -> f32 {
        let (Some(hears), Some(is_heard)) =
            (self.members.get(&listener), self.members.get(&source))
        else {
            return 0.0;
        };
        if listener == source || is_heard.muted || hears.isolated || is_heard.isolated {
            return 0.0;
        }
        let is_routed = || {
            let route =
                |it: &Route| it.sources.contains(&source) && it.receivers.contains(&listener);
            self.routes.iter().any(route)
        };
        if !(hears.in_default && is_heard.in_default || is_routed()) {
            return 0.0;
        }
        let levels = &hears.levels;
        let own = levels.sources.iter().find(|(id, _)| *id == source).map(|(_, gain)| *gain);
        let own = own.unwrap_or(if levels.exclusive { Gain::SILENT } else { Gain::UNITY });
        is_heard.gain.factor() * own.factor()
    }

    fn rules(&mut self, id: MemberId, change: impl FnOnce(&mut Rules)) {
        if let Some(rules) = self.members.get_mut(&id) {
            change(rules);
        }
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            muted: false,
            isolated: false,
            in_default: true,
            gain: Gain::UNITY,
            levels: Levels::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: MemberId = MemberId(1);
    const B: MemberId = MemberId(2);
    const C: MemberId = MemberId(3);

    fn room() -> Routing {
        let mut routing = Routing::default();
        [A, B, C].into_iter().for_each(|id| routing.insert(id));
        routing
    }

    /// All pairs of a listener and a source that it hears.
    fn heard(routing: &Routing) -> Vec<(u128, u128)> {
        let pairs = [A, B, C].into_iter().flat_map(|l| [A, B, C].into_iter().map(move |s| (l, s)));
        let heard = pairs.filter(|(listener, source)| routing.gain(*listener, *source) > 0.0);
        heard.map(|(listener, source)| (listener.0, source.0)).collect()
    }

    #[test]
    fn by_default_all_hear_all_others() {
        assert_eq!(heard(&room()), [(1, 2), (1, 3), (2, 1), (2, 3), (3, 1), (3, 2)]);
        assert!(room().gain(A, MemberId(9)) == 0.0 && room().gain(MemberId(9), A) == 0.0);
    }

    #[test]
    fn who_is_muted_is_not_heard_and_who_is_isolated_does_not_hear_either() {
        let mut routing = room();
        routing.set_muted(A, true);
        assert_eq!(heard(&routing), [(1, 2), (1, 3), (2, 3), (3, 2)]);
        routing.set_isolated(B, true);
        assert_eq!(heard(&routing), [(1, 3)]);
        routing.set_muted(A, false);
        routing.set_isolated(B, false);
        assert_eq!(heard(&routing).len(), 6);
    }

    #[test]
    fn a_pair_outside_of_the_default_group_hears_only_along_its_routes() {
        let mut routing = room();
        routing.set_in_default(A, false);
        routing.set_in_default(B, false);
        assert_eq!(heard(&routing), []);
        let route = |from, to| Route { sources: vec![from], receivers: vec![to] };
        routing.set_routes(vec![route(A, B), route(B, A)]);
        assert_eq!(heard(&routing), [(1, 2), (2, 1)]);
        routing.set_routes(vec![Route { sources: vec![A], receivers: vec![A, B, C] }]);
        assert_eq!(heard(&routing), [(2, 1), (3, 1)], "nobody hears themselves");
        routing.set_muted(A, true);
        assert_eq!(heard(&routing), []);
    }

    #[test]
    fn levels_are_a_listeners_own_and_open_no_way() {
        let mut routing = room();
        let half = Gain::from_factor(0.5);
        routing.set_gain(C, half);
        routing.set_levels(A, Levels { sources: vec![(B, half), (C, half)], ..Levels::default() });
        let gains = |it: &Routing| [(A, B), (A, C), (B, C)].map(|(l, s)| it.gain(l, s));
        assert_eq!(gains(&routing), [0.5, 0.25, 0.5]);
        let only = Levels { exclusive: true, sources: vec![(B, Gain::UNITY)], ducking: None };
        routing.set_levels(A, only);
        assert_eq!(gains(&routing), [1.0, 0.0, 0.5]);
        routing.set_in_default(B, false);
        assert_eq!(gains(&routing), [0.0, 0.0, 0.0]);
    }
}
