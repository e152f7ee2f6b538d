//! The mixer of one room: frames of all members in, a payload for each listener out. No clock, no
//! sockets, and nothing allocated while it mixes.
//!
//! Each listener hears the sum of the sources it may hear ([`super::routing`]) without itself, of
//! which the loudest few are let through. What a listener hears is its recipe; the mixes of
//! listeners with the same recipe are computed and encoded once. A mix depends on nothing but the
//! sources and two recipes, that of the frame before and that of now, between which the gains move
//! within 10 ms: so listeners may come to share a mix, and part again, without a click. What begins
//! to speak after silence is heard from its first sample.

use super::{
    recipe::{MOST_PARTS, Recipe},
    routing::Ducking,
    speakers::Loudness,
};
use crate::{
    codec::SampleCodec,
    jitter,
    resample::halfband::{self, FRAME, HISTORY, SPAN, Wide},
};

/// Samples of each phase over which gains move from one frame's to the next's: 10 ms.
const RAMP: usize = FRAME / 2;
/// Samples over which the limiter moves: 2 ms.
const LIMITER_RAMP: usize = FRAME / 10;
/// The limiter lets go by an eighth of a decibel in a frame: it is not heard to breathe.
const RELEASE: f32 = 1.015;
/// What fits into 16 bits.
const CEILING: f32 = 32_767.0;
/// Speakers that can be let through at most; the other places are for those who always are.
pub(super) const MOST_SPEAKERS: usize = MOST_PARTS - 4;

/// See the module.
pub(super) struct Mixer {
    places: Vec<Option<Box<Place>>>,
    /// How loud a listener hears a source: by listener, then by source.
    gains: Vec<Vec<f32>>,
    /// Speakers that are let through to a listener.
    speakers: usize,
    /// Places of sources in their order, and those that are always let through.
    order: Vec<u16>,
    always: Vec<u16>,
    mixes: Vec<Mix>,
    mixed: Wide,
}

/// A member: a source and a listener.
struct Place {
    codec: SampleCodec,
    /// Whether it is let through however many speak.
    always: bool,
    /// What it says, at 8 kHz.
    narrow: [f32; SPAN],
    /// The same at 16 kHz, if somebody hears it.
    wide: Wide,
    is_wide: bool,
    loudness: Loudness,
    /// Whether it was silent until this frame: it begins at once, without a ramp.
    begins: bool,
    /// Whether it is in the order of speakers, and among the first.
    is_in_order: bool,
    is_loudest: bool,
    /// Listeners that may hear it.
    audience: u32,
    /// What it heard in the frame before.
    recipe: Recipe,
    limit: f32,
    ducker: Option<Box<Ducker>>,
    /// Its mix of this frame.
    mix: usize,
}

/// How a listener's other sources make way for those it has named.
struct Ducker {
    ducking: Ducking,
    /// Places of the named sources.
    named: Vec<u16>,
    /// How far the others have made way, 0 to 1.
    depth: f32,
}

/// One mix of this frame.
struct Mix {
    codec: SampleCodec,
    before: Recipe,
    now: Recipe,
    limit_before: f32,
    limit: f32,
    payload: [u8; FRAME],
}

impl Mixer {
    /// A mixer that lets so many speakers through to each listener, up to [`MOST_SPEAKERS`].
    pub(super) fn new(speakers: usize) -> Self {
        Self {
            places: Vec::new(),
            gains: Vec::new(),
            speakers: speakers.clamp(1, MOST_SPEAKERS),
            order: Vec::new(),
            always: Vec::new(),
            mixes: Vec::new(),
            mixed: Wide::silence(),
        }
    }

    /// Makes a place for a member that nobody hears, and that hears nobody, yet.
    pub(super) fn insert(&mut self, codec: SampleCodec, always: bool) -> usize {
        let place = Box::new(Place {
            codec,
            always,
            narrow: [0.0; SPAN],
            wide: Wide::silence(),
            is_wide: false,
            loudness: Loudness::default(),
            begins: false,
            is_in_order: false,
            is_loudest: false,
            audience: 0,
            recipe: Recipe::EMPTY,
            limit: 1.0,
            ducker: None,
            mix: 0,
        });
        let at = self.places.iter().position(Option::is_none).unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        self.places[at] = Some(place);
        let places = self.places.len();
        self.gains.resize_with(places, Vec::new);
        self.gains.iter_mut().for_each(|gains| gains.resize(places, 0.0));
        self.order.reserve(places);
        self.always.reserve(places);
        self.mixes.reserve(places);
        at
    }

    /// Frees a place; a frame that is under way is not heard any more.
    pub(super) fn remove(&mut self, at: usize) {
        for other in 0..self.places.len() {
            self.set_gain(at, other, 0.0);
            self.set_gain(other, at, 0.0);
            if let Some(listener) = &mut self.places[other] {
                listener.recipe.remove(at as u16);
                if let Some(ducker) = &mut listener.ducker {
                    ducker.named.retain(|named| *named != at as u16);
                }
            }
        }
        self.order.retain(|it| *it != at as u16);
        self.places[at] = None;
    }

    /// Sets how loud a listener hears a source.
    pub(super) fn set_gain(&mut self, listener: usize, source: usize, gain: f32) {
        let before = std::mem::replace(&mut self.gains[listener][source], gain);
        if let Some(source) = &mut self.places[source] {
            source.audience += u32::from(gain > 0.0);
            source.audience -= u32::from(before > 0.0);
        }
    }

    /// Lets a listener's other sources make way for the named ones.
    pub(super) fn set_ducking(
        &mut self,
        listener: usize,
        ducking: Option<Ducking>,
        named: Vec<u16>,
    ) {
        let Some(listener) = &mut self.places[listener] else { return };
        let depth = listener.ducker.as_ref().map_or(0.0, |ducker| ducker.depth);
        listener.ducker = ducking.map(|ducking| Box::new(Ducker { ducking, named, depth }));
    }

    /// What a member says in the frame that is mixed next: 20 ms, or nothing.
    pub(super) fn say(&mut self, source: usize, frame: Option<&[i16; FRAME]>) {
        let Some(source) = &mut self.places[source] else { return };
        source.is_wide = false;
        let was_audible = source.loudness.is_audible();
        halfband::advance(&mut source.narrow);
        let place = &mut source.narrow[HISTORY..];
        match frame {
            Some(frame) => {
                for (place, sample) in place.iter_mut().zip(frame) {
                    *place = f32::from(*sample);
                }
                source.loudness.hear(place);
            }
            None => {
                place.fill(0.0);
                source.loudness.hear_nothing();
            }
        }
        source.begins = !was_audible && source.loudness.is_audible();
    }

    /// Mixes what all have said, each of them once, and calls `deliver` with each listener's place
    /// and payload. Returns how many mixes were made.
    pub(super) fn mix(&mut self, mut deliver: impl FnMut(usize, &[u8])) -> usize {
        self.line_up();
        self.mixes.clear();
        for at in 0..self.places.len() {
            self.choose(at);
        }
        self.widen();
        let Self { places, mixes, mixed, .. } = self;
        for mix in mixes.iter_mut() {
            mix.compute(places, mixed);
        }
        for (at, place) in places.iter_mut().enumerate() {
            let Some(listener) = place else { continue };
            let mix = &mixes[listener.mix];
            (listener.recipe, listener.limit) = (mix.now, mix.limit);
            deliver(at, &mix.payload);
        }
        mixes.len()
    }

    /// Places of the loudest who speak, without those who are always let through.
    pub(super) fn speaking(&self) -> impl Iterator<Item = usize> {
        let speaks = |place: &Place| place.is_loudest && place.loudness.speaks();
        let places = self.places.iter().enumerate();
        places.filter(move |(_, place)| place.as_deref().is_some_and(speaks)).map(|(at, _)| at)
    }

    /// Brings the order of the speakers up to date.
    fn line_up(&mut self) {
        let Self { places, order, always, speakers, .. } = self;
        // Who pauses between words keeps the place.
        let is_speaker = |source: &Place| {
            !source.always
                && source.audience > 0
                && (source.loudness.is_audible() || source.loudness.speaks())
        };
        let source = |at: u16| places[usize::from(at)].as_deref();
        order.retain(|at| source(*at).is_some_and(is_speaker));
        always.clear();
        for (at, place) in places.iter().enumerate() {
            let (Some(place), at) = (place, at as u16) else { continue };
            if place.always {
                if place.audience > 0 && place.loudness.is_audible() {
                    always.push(at);
                }
            } else if is_speaker(place) && !place.is_in_order {
                order.push(at);
            }
        }
        for from in 1..order.len() {
            for at in (1..=from).rev() {
                let (Some(ahead), Some(behind)) = (source(order[at - 1]), source(order[at])) else {
                    continue;
                };
                if !behind.loudness.passes(&ahead.loudness) {
                    break;
                }
                order.swap(at - 1, at);
            }
        }
        for place in places.iter_mut().flatten() {
            (place.is_in_order, place.is_loudest) = (false, false);
        }
        for (rank, at) in order.iter().enumerate() {
            if let Some(place) = &mut places[usize::from(*at)] {
                (place.is_in_order, place.is_loudest) = (true, rank < *speakers);
            }
        }
    }

    /// Chooses a listener's mix of this frame.
    fn choose(&mut self, at: usize) {
        if self.places[at].is_none() {
            return;
        }
        let gains = &self.gains[at];
        let mut now = Recipe::EMPTY;
        let mut through = 0;
        let order = self.order.iter().map(|source| (*source, 1));
        for (source, counts) in self.always.iter().map(|source| (*source, 0)).chain(order) {
            let gain = gains[usize::from(source)];
            let place = self.places[usize::from(source)].as_deref();
            if gain > 0.0 && place.is_some_and(|place| place.loudness.is_audible()) {
                now.add(source, gain);
                through += counts;
                if through == self.speakers {
                    break;
                }
            }
        }
        if let Some(mut ducker) = self.places[at].as_mut().and_then(|it| it.ducker.take()) {
            let speaks = |source: &u16| {
                let source = self.places[usize::from(*source)].as_deref();
                source.is_some_and(|source| source.loudness.speaks())
            };
            let makes_way = ducker.named.iter().any(|it| now.gain(*it) > 0.0 && speaks(it));
            now = ducker.lower(now, makes_way);
            if let Some(listener) = &mut self.places[at] {
                listener.ducker = Some(ducker);
            }
        }
        let Some(listener) = &mut self.places[at] else { return };
        let (codec, before, limit_before) = (listener.codec, listener.recipe, listener.limit);
        let same = |mix: &Mix| {
            mix.codec == codec
                && mix.now == now
                && mix.before == before
                && mix.limit_before == limit_before
        };
        listener.mix = self.mixes.iter().position(same).unwrap_or_else(|| {
            let (limit, payload) = (limit_before, [codec.silence(); FRAME]);
            self.mixes.push(Mix { codec, before, now, limit_before, limit, payload });
            self.mixes.len() - 1
        });
    }

    /// Brings the sources that are in a mix to 16 kHz.
    fn widen(&mut self) {
        for mix in &self.mixes {
            for (source, _) in mix.now.parts().iter().chain(mix.before.parts()) {
                let Some(source) = &mut self.places[usize::from(*source)] else { continue };
                if !source.is_wide {
                    source.is_wide = true;
                    if source.begins {
                        // Nobody has kept it up to date, and there was nothing.
                        source.wide = Wide::silence();
                    }
                    source.wide.advance();
                    source.wide.double(&source.narrow);
                }
            }
        }
    }
}

impl Mix {
    fn compute(&mut self, places: &[Option<Box<Place>>], mixed: &mut Wide) {
        let Self { before, now, .. } = self;
        if before.is_empty() && now.is_empty() {
            // It is silence already.
            self.limit = 1.0;
            return;
        }
        *mixed = Wide::silence();
        for (source, gain) in now.parts() {
            add(mixed, places, *source, before.gain(*source), *gain);
        }
        for (source, gain) in before.parts() {
            if now.gain(*source) == 0.0 {
                add(mixed, places, *source, *gain, 0.0);
            }
        }
        let mut narrow = [0.0; FRAME];
        mixed.halve(&mut narrow);
        self.limit = limit(self.limit_before, &mut narrow);
        // `as` saturates: what is left of a peak in the limiter's first two milliseconds.
        let samples = narrow.map(|sample| sample.round() as i16);
        self.codec.encode_to(&samples, &mut self.payload);
    }
}

impl Ducker {
    /// Lowers what is not named, as far as it is to make way by now.
    fn lower(&mut self, recipe: Recipe, speaks: bool) -> Recipe {
        let Ducking { lower, upper, ramp_down, ramp_up } = self.ducking;
        let step = |ramp: std::time::Duration| {
            jitter::FRAME.as_secs_f32() / ramp.max(jitter::FRAME).as_secs_f32()
        };
        let depth = if speaks { self.depth + step(ramp_down) } else { self.depth - step(ramp_up) };
        self.depth = depth.clamp(0.0, 1.0);
        let others = upper.factor() + (lower.factor() - upper.factor()) * self.depth;
        let mut lowered = Recipe::EMPTY;
        for (source, gain) in recipe.parts() {
            let gain = if self.named.contains(source) { *gain } else { gain * others };
            if gain > 0.0 {
                lowered.add(*source, gain);
            }
        }
        lowered
    }
}

/// Adds a source whose gain moves from `before` to `now`.
fn add(mixed: &mut Wide, places: &[Option<Box<Place>>], source: u16, before: f32, now: f32) {
    let Some(source) = &places[usize::from(source)] else { return };
    let before = if source.begins { now } else { before };
    for (sum, phase) in [(&mut mixed.even, &source.wide.even), (&mut mixed.odd, &source.wide.odd)] {
        if before == now {
            sum.iter_mut().zip(phase).for_each(|(sum, sample)| *sum += now * sample);
            continue;
        }
        let (old, new) = sum.split_at_mut(HISTORY);
        let (old_phase, new_phase) = phase.split_at(HISTORY);
        old.iter_mut().zip(old_phase).for_each(|(sum, sample)| *sum += before * sample);
        let step = (now - before) / RAMP as f32;
        for (at, (sum, sample)) in new.iter_mut().zip(new_phase).enumerate() {
            *sum += (before + step * (at + 1).min(RAMP) as f32) * sample;
        }
    }
}

/// Lowers a frame that does not fit into 16 bits, and lets go slowly. Returns the new gain.
fn limit(before: f32, frame: &mut [f32; FRAME]) -> f32 {
    let peak = frame.iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
    let needed = if peak > CEILING { CEILING / peak } else { 1.0 };
    let now = (before * RELEASE).min(needed);
    if before == 1.0 && now == 1.0 {
        return now;
    }
    let step = (now - before) / LIMITER_RAMP as f32;
    for (at, sample) in frame.iter_mut().enumerate() {
        *sample *= before + step * (at + 1).min(LIMITER_RAMP) as f32;
    }
    now
}

#[cfg(test)]
mod tests;
