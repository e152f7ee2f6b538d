//! Sends packets of looping streams as fast as it can, for `tests/instructions/run.py`, which counts
//! the instructions of two runs of different lengths.
//!
//! `packet_instructions ROUNDS` sends 100 × ROUNDS packets and prints their number.

use std::{sync::Arc, time::Duration};

use graphophone_media::{
    codec::SampleCodec,
    engine::driven::Driven,
    prompt::{EncodedPrompt, Sha256},
};

fn main() -> std::io::Result<()> {
    let rounds = std::env::args().nth(1).and_then(|rounds| rounds.parse().ok()).unwrap_or(100);
    // Not a whole number of packets: some are put together of the end and the beginning.
    let bytes = vec![SampleCodec::Pcmu.silence(); 8_100];
    let prompt = EncodedPrompt::samples(SampleCodec::Pcmu, Sha256([0; 32]), bytes);
    let mut driven = Driven::new(100, &Arc::new(prompt))?;
    driven.advance(Duration::from_millis(20) * rounds);
    println!("{}", driven.packets_sent());
    Ok(())
}
