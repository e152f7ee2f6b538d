//! Key presses on their way out: as telephone-events (RFC 4733), or as sound where the far end takes
//! none. Sequences are sent one after another, and each ends with one event to the owner.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use super::TonesId;
use crate::{
    codec::{Codec, SampleCodec},
    dtmf::{EventPacket, HIGHEST_KEY, MOST_TONES, ToneQueue, generate},
    rtp,
};

/// The shortest tone and the shortest pause that receivers must recognise.
const SHORTEST: Duration = Duration::from_millis(40);
/// The longest pause; what is longer is cut.
const LONGEST_GAP: Duration = Duration::from_secs(60);
/// Sequences that may wait.
const MOST_SEQUENCES: usize = 32;

/// A sequence of key presses, ready to be sent.
pub(super) struct Tones {
    pub(super) id: TonesId,
    pub(super) form: Form,
}

pub(super) enum Form {
    Events {
        codes: Vec<u8>,
        duration: Duration,
        gap: Duration,
    },
    /// Encoded in the stream's codec, in whole packets.
    Sound {
        tones: usize,
        bytes: Arc<[u8]>,
    },
}

impl Tones {
    pub(super) fn len(&self) -> usize {
        match &self.form {
            Form::Events { codes, .. } => codes.len(),
            Form::Sound { tones, .. } => *tones,
        }
    }
}

/// Tones in the codec of a stream, with pauses between them; `None` if a code is no key of a pad.
pub(super) fn sound(
    codec: SampleCodec,
    codes: &[u8],
    duration: Duration,
    gap: Duration,
) -> Option<Arc<[u8]>> {
    let rate = codec.rate();
    let pause = |gap: Duration| vec![0_i16; rtp::units(gap, rate) as usize];
    let mut samples = Vec::new();
    for (number, &code) in codes.iter().enumerate() {
        if number > 0 {
            samples.extend(pause(gap.clamp(SHORTEST, LONGEST_GAP)));
        }
        samples.extend(generate::tone(code, rate, duration.max(SHORTEST))?);
    }
    // What follows at once must not run into the last tone.
    samples.extend(pause(SHORTEST));
    let packet = codec.codec().packet_units() as usize;
    samples.resize(samples.len().next_multiple_of(packet), 0);
    Some(codec.encode(&samples).into())
}

/// What a packet of tones contains.
pub(super) enum TonePacket<'a> {
    Event(EventPacket),
    /// Encoded audio.
    Sound(&'a [u8]),
}

/// The sequences of one stream that are being sent or wait.
pub(super) struct TonesOut {
    codec: Codec,
    events: ToneQueue,
    /// Sequences and the tones of each that are not sent yet; `None` for what is left of one that was
    /// given up.
    sequences: VecDeque<(Option<TonesId>, usize)>,
    sounds: VecDeque<Sound>,
}

struct Sound {
    id: TonesId,
    bytes: Arc<[u8]>,
    at: usize,
}

impl Sound {
    fn is_over(&self) -> bool {
        self.at >= self.bytes.len()
    }
}

impl TonesOut {
    pub(super) fn new(codec: Codec) -> Self {
        let step = u16::try_from(codec.packet_units()).unwrap_or(u16::MAX);
        Self {
            codec,
            events: ToneQueue::new(step),
            sequences: VecDeque::new(),
            sounds: VecDeque::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty() && self.sounds.iter().all(Sound::is_over)
    }

    /// Appends a sequence, or refuses all of it: so many tones, none for an empty one.
    pub(super) fn push(&mut self, tones: Tones) -> Result<(), u64> {
        let Tones { id, form } = tones;
        let places = self.sequences.len() + self.sounds.len() < MOST_SEQUENCES;
        match form {
            Form::Events { codes, duration, gap } => {
                let are_keys = codes.iter().all(|code| *code <= HIGHEST_KEY);
                if !places || !are_keys || self.events.len() + codes.len() > MOST_TONES {
                    return Err(codes.len() as u64);
                }
                let rate = self.codec.rate();
                let duration = u16::try_from(rtp::units(duration, rate)).unwrap_or(u16::MAX);
                let gap = u32::try_from(rtp::units(gap.min(LONGEST_GAP), rate)).unwrap_or(u32::MAX);
                if codes.is_empty() {
                    return Err(0);
                }
                codes.iter().for_each(|code| {
                    self.events.push(*code, duration, gap);
                });
                self.sequences.push_back((Some(id), codes.len()));
                Ok(())
            }
            Form::Sound { tones, .. } if !places => Err(tones as u64),
            Form::Sound { bytes, .. } => {
                self.sounds.push_back(Sound { id, bytes, at: 0 });
                Ok(())
            }
        }
    }

    /// Takes the next packet, and the sequence that ends with it.
    pub(super) fn next(&mut self) -> Option<(TonePacket<'_>, Option<TonesId>)> {
        if let Some(packet) = self.events.next_packet() {
            let mut over = None;
            if packet.last
                && let Some((id, left)) = self.sequences.front_mut()
            {
                *left -= 1;
                if *left == 0 {
                    over = *id;
                    self.sequences.pop_front();
                }
            }
            return Some((TonePacket::Event(packet), over));
        }
        let packet = self.codec.packet_units() as usize;
        // The last packet of the one before may still have been lent.
        self.sounds.pop_front_if(|sound| sound.is_over());
        let sound = self.sounds.front_mut()?;
        let end = (sound.at + packet).min(sound.bytes.len());
        let bytes = &sound.bytes[sound.at..end];
        sound.at = end;
        Some((TonePacket::Sound(bytes), (end == sound.bytes.len()).then_some(sound.id)))
    }

    /// Gives a sequence up; false if it is not there (any more). A telephone-event that has begun
    /// is brought to its end, so that the far end does not take it for a long press.
    pub(super) fn stop(&mut self, id: TonesId) -> bool {
        if let Some(at) = self.sequences.iter().position(|(sequence, _)| *sequence == Some(id)) {
            let before = self.sequences.iter().take(at).map(|(_, left)| left).sum();
            if let Some((_, left)) = self.sequences.remove(at) {
                let goes_on = self.events.remove(before, left);
                if goes_on {
                    // Its end belongs to nobody any more.
                    self.sequences.push_front((None, 1));
                }
            }
            return true;
        }
        let kept = self.sounds.len();
        self.sounds.retain(|sound| sound.id != id);
        kept != self.sounds.len()
    }
}
