//! Tests of the whole core through [`super::Call`]; `sim` is the kit they share.

mod cancelling;
mod ending;
mod judge;
mod life_cycle;
mod model;
mod playing;
mod reference;
mod sim;
mod state_docs;
