//! Tests of the whole core through [`super::Call`]; `sim` is the kit they share.

mod cancelling;
mod ending;
mod groups;
mod layered;
mod life_cycle;
mod listeners;
mod media_random;
mod model;
mod playing;
mod recording;
mod sim;
mod state_docs;
mod tones;
mod transfer;
mod verbs;
mod world;
