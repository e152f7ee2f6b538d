//! Whether somebody speaks: energy over an adaptive noise floor, and periodicity.
//!
//! Speech begins with voiced sound, which repeats itself with the pitch; noise of any level does not.
//! So a fan or a bad line never sounds like speech, however loud it is, and a soft voice does. What
//! has no pitch (consonants) goes on with speech for a while, and counts alone only if it is far
//! above the floor and lasts. A steady tone or music is sound that somebody makes: it counts.
//!
//! Levels are in dBFS as in [`crate::analysis`]. A frame has 10 ms.

use std::{collections::VecDeque, f32::consts::TAU};

/// Below this nothing is heard: the idle noise of a line, comfort noise.
const QUIETEST_DB: f32 = -50.0;
/// How far over the floor voiced sound must be.
const VOICED_OVER_DB: f32 = 5.0;
/// How far over it sound without pitch goes on with speech.
const UNVOICED_OVER_DB: f32 = 9.0;
/// How far over it, and how loud, sound without pitch is something that somebody does.
const NOISE_OVER_DB: f32 = 18.0;
const NOISE_DB: f32 = -40.0;
/// Correlation with the sound a period ago that makes a frame voiced.
const VOICED: f32 = 0.62;
/// Correlation and level of a tone, which counts also when it has become the floor.
const STEADY: f32 = 0.93;
const STEADY_DB: f32 = -40.0;

/// Of the last [`ONSET_WINDOW`] frames so many must be voiced for speech to begin.
const ONSET_WINDOW: usize = 12;
const ONSET_VOICED: usize = 6;
/// Or so many in a row be far over the floor.
const ONSET_NOISE: u32 = 15;
/// Frames for which sound without pitch goes on with speech.
const UNVOICED_FRAMES: u32 = 40;
/// Frames without any after which speech has ended.
const HANGOVER: u32 = 25;
/// The floor is the least level of so many parts of [`FLOOR_PART`] frames: 2 s.
const FLOOR_PARTS: usize = 8;
const FLOOR_PART: u32 = 25;
/// Frames before the floor is known.
const FLOOR_KNOWN: u32 = 100;

/// Rate at which pitch is looked for, in Hz: enough for 400 Hz.
const PITCH_RATE: u32 = 2_000;
/// Samples at that rate that are compared (30 ms), and by how much they are moved (60–400 Hz).
const PITCH_SPAN: usize = 60;
const PITCH_LAGS: std::ops::RangeInclusive<usize> = 5..=33;

/// What was found out about the sound so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VoiceChange {
    /// Speech began with this sample.
    Began(u64),
    /// Speech ended before this sample.
    Ended(u64),
}

/// Listens to one signal.
#[derive(Debug)]
pub struct Voice {
    frame: usize,
    samples: Vec<f32>,
    high_pass: HighPass,
    decimate: usize,
    pitch: VecDeque<f32>,
    floor: Floor,
    /// Frames so far.
    frames: u64,
    /// Which of the last frames were voiced.
    onset: VecDeque<bool>,
    noise_run: u32,
    since_voiced: u32,
    /// Frames since the last active one; `None` while nobody speaks.
    speaking: Option<u32>,
}

impl Voice {
    /// Listens to a signal of `rate` Hz, at least `PITCH_RATE`.
    pub fn new(rate: u32) -> Self {
        Self {
            frame: (rate / 100).max(1) as usize,
            samples: Vec::new(),
            high_pass: HighPass::new(rate),
            decimate: (rate / PITCH_RATE).max(1) as usize,
            pitch: VecDeque::with_capacity(PITCH_SPAN + PITCH_LAGS.end() + 1),
            floor: Floor::default(),
            frames: 0,
            onset: VecDeque::with_capacity(ONSET_WINDOW),
            noise_run: 0,
            since_voiced: UNVOICED_FRAMES,
            speaking: None,
        }
    }

    /// What is pushed first stands at this place of the signal, to within a frame.
    pub fn start_at(&mut self, place: u64) {
        self.frames = place / self.frame as u64;
    }

    /// Whether somebody speaks now.
    pub fn is_speaking(&self) -> bool {
        self.speaking.is_some()
    }

    /// Whether somebody speaks, and did so after a sample too.
    pub fn spoke_after(&self, place: u64) -> bool {
        let last = |since| (self.frames - u64::from(since)) * self.frame as u64;
        self.speaking.is_some_and(|since| last(since) > place)
    }

    /// Takes samples and calls `change` whenever speech begins or ends. A beginning is known 60 to
    /// 150 ms late, an end 250 ms.
    pub fn push(&mut self, samples: &[i16], mut change: impl FnMut(VoiceChange)) {
        for &sample in samples {
            self.samples.push(self.high_pass.next(f32::from(sample) / 32_768.0));
            if self.samples.len() == self.frame {
                if let Some(news) = self.frame() {
                    change(news);
                }
                self.samples.clear();
            }
        }
    }

    fn frame(&mut self) -> Option<VoiceChange> {
        let power = dot(&self.samples, &self.samples);
        // The mean square of a full-scale sine is ½.
        let level = 10.0 * (2.0 * power / self.frame as f32 + 1e-12).log10();
        for part in self.samples.chunks_exact(self.decimate) {
            if self.pitch.len() > PITCH_SPAN + PITCH_LAGS.end() {
                self.pitch.pop_front();
            }
            self.pitch.push_back(part.iter().sum::<f32>() / part.len() as f32);
        }
        self.floor.push(level);
        let over = level - self.floor.level();
        self.frames += 1;

        let periodicity = if level > QUIETEST_DB { self.periodicity() } else { 0.0 };
        // Who speaks from the first moment on, without a pause, is the floor for a while.
        let stands_out = over > VOICED_OVER_DB || !self.floor.is_settled();
        let is_tone = periodicity > STEADY && level > STEADY_DB;
        let voiced = periodicity > VOICED && (stands_out || is_tone);
        if self.onset.len() == ONSET_WINDOW {
            self.onset.pop_front();
        }
        self.onset.push_back(voiced);
        let is_noise = level > NOISE_DB && over > NOISE_OVER_DB && self.floor.is_known();
        self.noise_run = if is_noise { self.noise_run + 1 } else { 0 };
        self.since_voiced = if voiced { 0 } else { self.since_voiced.saturating_add(1) };
        let unvoiced =
            level > QUIETEST_DB && over > UNVOICED_OVER_DB && self.since_voiced <= UNVOICED_FRAMES;
        let active = voiced || unvoiced || is_noise && self.noise_run >= ONSET_NOISE;

        let place = |frames_ago: u64| (self.frames - frames_ago) * self.frame as u64;
        match &mut self.speaking {
            Some(since) => {
                *since = if active { 0 } else { *since + 1 };
                let over = *since >= HANGOVER;
                over.then(|| {
                    self.speaking = None;
                    self.onset.clear();
                    VoiceChange::Ended(place(HANGOVER.into()))
                })
            }
            None => {
                let voiced = self.onset.iter().filter(|voiced| **voiced).count();
                let first = self.onset.iter().position(|voiced| *voiced).unwrap_or(0);
                let began = if voiced >= ONSET_VOICED {
                    (self.onset.len() - first) as u64
                } else if self.noise_run >= ONSET_NOISE {
                    self.noise_run.into()
                } else {
                    return None;
                };
                self.speaking = Some(0);
                Some(VoiceChange::Began(place(began.min(self.frames))))
            }
        }
    }

    /// How much the last 30 ms are like those a period before: the highest peak of the normalised
    /// correlation. A signal that merely changes slowly, like the rumble of a car, has no peak.
    fn periodicity(&mut self) -> f32 {
        let signal = &*self.pitch.make_contiguous();
        let Some(start) = signal.len().checked_sub(PITCH_SPAN) else { return 0.0 };
        if start < *PITCH_LAGS.end() {
            return 0.0;
        }
        let now = &signal[start..];
        let energy = dot(now, now);
        // The energy of each span of the past is that of its neighbour but for a sample at each end.
        let mut first = start - (PITCH_LAGS.start() - 1);
        let mut past = dot(&signal[first..first + PITCH_SPAN], &signal[first..first + PITCH_SPAN]);
        let mut correlation = |lag: usize| {
            while first > start - lag {
                first -= 1;
                let (joins, leaves) = (signal[first], signal[first + PITCH_SPAN]);
                past += joins * joins - leaves * leaves;
            }
            let product = dot(now, &signal[first..first + PITCH_SPAN]);
            product / (energy * past.max(0.0)).sqrt().max(1e-9)
        };
        let mut before = correlation(PITCH_LAGS.start() - 1);
        let mut here = correlation(*PITCH_LAGS.start());
        let mut best = 0.0_f32;
        for lag in *PITCH_LAGS.start()..*PITCH_LAGS.end() {
            let next = correlation(lag + 1);
            if here >= before && here >= next {
                best = best.max(here);
            }
            (before, here) = (here, next);
        }
        best
    }
}

/// The sum of products, in lanes: one addition would wait for another.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 8;
    let mut sums = [0.0_f32; LANES];
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f32 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a.zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f32>() + rest
}

/// The level that the line has when nobody speaks.
#[derive(Debug)]
struct Floor {
    /// The least smoothed level of each of the last parts.
    parts: VecDeque<f32>,
    part: f32,
    frames: u32,
    smooth: f32,
    total: u32,
}

impl Default for Floor {
    fn default() -> Self {
        Self {
            parts: VecDeque::with_capacity(FLOOR_PARTS),
            part: f32::INFINITY,
            frames: 0,
            smooth: f32::NAN,
            total: 0,
        }
    }
}

impl Floor {
    fn push(&mut self, level: f32) {
        self.smooth = if self.smooth.is_nan() { level } else { self.smooth * 0.7 + level * 0.3 };
        self.part = self.part.min(self.smooth);
        self.frames += 1;
        self.total = self.total.saturating_add(1);
        if self.frames == FLOOR_PART {
            if self.parts.len() == FLOOR_PARTS {
                self.parts.pop_front();
            }
            self.parts.push_back(self.part);
            (self.part, self.frames) = (f32::INFINITY, 0);
        }
    }

    fn is_known(&self) -> bool {
        self.total >= FLOOR_KNOWN
    }

    /// Whether it is made of as many parts as there may be.
    fn is_settled(&self) -> bool {
        self.parts.len() == FLOOR_PARTS
    }

    fn level(&self) -> f32 {
        let least = self.parts.iter().copied().fold(self.part, f32::min);
        // Before anything is known, and in a silence that no line has.
        if least.is_finite() { least.max(-75.0) } else { -75.0 }
    }
}

/// Takes hum and rumble away: a second-order high-pass (Butterworth) at 120 Hz.
#[derive(Debug)]
struct HighPass {
    b: f32,
    a1: f32,
    a2: f32,
    x: [f32; 2],
    y: [f32; 2],
}

impl HighPass {
    fn new(rate: u32) -> Self {
        let w = TAU * 120.0 / rate as f32;
        let alpha = w.sin() / std::f32::consts::SQRT_2;
        let a0 = 1.0 + alpha;
        let cosine = w.cos();
        Self {
            b: (1.0 + cosine) / 2.0 / a0,
            a1: -2.0 * cosine / a0,
            a2: (1.0 - alpha) / a0,
            x: [0.0; 2],
            y: [0.0; 2],
        }
    }

    fn next(&mut self, sample: f32) -> f32 {
        let [x1, x2] = self.x;
        let [y1, y2] = self.y;
        // What waits for the sample before comes last.
        let out = self.b * (sample - 2.0 * x1 + x2) - self.a2 * y2 - self.a1 * y1;
        self.x = [sample, x1];
        // Denormal numbers cost a hundred times as much.
        self.y = [if out.abs() < 1e-15 { 0.0 } else { out }, y1];
        out
    }
}

#[cfg(test)]
mod tests;
