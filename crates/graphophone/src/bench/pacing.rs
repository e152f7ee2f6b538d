//! A paced sender of RTP: a packet every 20 ms on each of many streams, spread over slots of 1 ms,
//! a slot handed over with as few `sendmmsg` as it has sockets.
//!
//! On the server's core it is the bare sender, the most that any server could do there; beside the
//! meter it is the far end's own audio in the two-way case.

use std::{
    io::IoSlice,
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::Context;
use graphophone_media::rtp::{HEADER_LEN, Header};
use rustix::{
    net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, sendmmsg},
    thread::clock_nanosleep_absolute,
    time::{ClockId, Timespec, clock_gettime},
};

use super::{cpu, meter::thread_cpu};

/// Slots of the 20 ms.
const SLOTS: usize = 20;
const SLOT_NANOS: i64 = 1_000_000;
/// Datagrams of one `sendmmsg`.
const BATCH: usize = 64;
/// An RTP packet of 20 ms of G.711.
const PACKET: usize = HEADER_LEN + 160;

/// A stream to be sent: by which socket, and where to.
pub(super) type Target = (usize, SocketAddr);

/// The sending thread; it ends when this is dropped.
pub(super) struct Pacer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    targets: Mutex<Option<Vec<Target>>>,
    cpu_nanos: AtomicU64,
    stop: AtomicBool,
}

/// The streams of one slot and socket.
struct Group {
    socket: usize,
    to: Vec<SocketAddrAny>,
    packets: Vec<[u8; PACKET]>,
}

impl Pacer {
    /// Starts the thread on a core, with nothing to send.
    ///
    /// # Errors
    /// When the core or the thread cannot be had.
    pub(super) fn start(sockets: Vec<UdpSocket>, core: usize) -> anyhow::Result<Self> {
        let shared = Arc::<Shared>::default();
        let theirs = Arc::clone(&shared);
        let work = move || {
            // Without its core it measures something else, but goes on.
            let _ = cpu::pin(core);
            run(&sockets, &theirs);
        };
        let thread = std::thread::Builder::new()
            .name("pacer".to_owned())
            .spawn(work)
            .context("the sending thread does not start")?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Sends these streams from now on, and no others.
    pub(super) fn set(&self, targets: Vec<Target>) {
        *self.shared.targets.lock().unwrap_or_else(PoisonError::into_inner) = Some(targets);
    }

    /// Processor time of the thread so far.
    pub(super) fn cpu_time(&self) -> Duration {
        Duration::from_nanos(self.shared.cpu_nanos.load(Ordering::Relaxed))
    }
}

impl Drop for Pacer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(sockets: &[UdpSocket], shared: &Shared) {
    let mut slots: Vec<Vec<Group>> = Vec::new();
    let mut deadline = clock_gettime(ClockId::Monotonic);
    let (mut slot, mut rounds) = (0, 0_u32);
    while !shared.stop.load(Ordering::Relaxed) {
        if let Ok(mut targets) = shared.targets.try_lock()
            && let Some(targets) = targets.take()
        {
            slots = lay_out(&targets, sockets.len(), rounds);
        }
        for group in slots.get_mut(slot).into_iter().flatten() {
            group.send(&sockets[group.socket]);
        }
        slot = (slot + 1) % SLOTS;
        rounds = rounds.wrapping_add(u32::from(slot == 0));
        let nanos = u64::try_from(thread_cpu().as_nanos()).unwrap_or(u64::MAX);
        shared.cpu_nanos.store(nanos, Ordering::Relaxed);
        deadline = after(deadline, SLOT_NANOS);
        // One that is behind sends at once: what it owes is not dropped.
        let _ = clock_nanosleep_absolute(ClockId::Monotonic, &deadline);
    }
}

/// Spreads streams over slots, those of one socket together. After so many rounds of 20 ms: a stream
/// that has the place it had before goes on in sequence and time.
fn lay_out(targets: &[Target], sockets: usize, rounds: u32) -> Vec<Vec<Group>> {
    let mut slots: Vec<Vec<Group>> = (0..SLOTS).map(|_| Vec::new()).collect();
    for (number, &(socket, to)) in targets.iter().enumerate() {
        let groups = &mut slots[number / sockets.max(1) % SLOTS];
        let group = match groups.iter_mut().position(|group| group.socket == socket) {
            Some(at) => &mut groups[at],
            None => {
                groups.push(Group { socket, to: Vec::new(), packets: Vec::new() });
                let last = groups.len() - 1;
                &mut groups[last]
            }
        };
        let mut packet = [0; PACKET];
        packet[HEADER_LEN..].copy_from_slice(&noise(number));
        let ssrc = number as u32 + 1;
        let (sequence, timestamp) = (rounds as u16, rounds.wrapping_mul(160));
        let header = Header { marker: false, payload_type: 0, sequence, timestamp, ssrc };
        if let Some(to) = packet.first_chunk_mut() {
            header.write(to);
        }
        group.to.push(to.into());
        group.packets.push(packet);
    }
    slots
}

/// Something that is no silence, for those who mix it or record it: a buzz of 200 Hz, as long as it
/// lasts a voice to a detector of voices, and another one for each place in the list of streams.
pub(super) fn noise(number: usize) -> [u8; PACKET - HEADER_LEN] {
    let mut state = number as u32 + 1;
    let period: [u8; 40] = std::array::from_fn(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // PCMU of both signs, some 20 dB below full scale.
        0x20 | (state >> 24) as u8 & 0x9F
    });
    std::array::from_fn(|place| period[place % period.len()])
}

impl Group {
    fn send(&mut self, socket: &UdpSocket) {
        self.packets.iter_mut().for_each(step);
        for (packets, to) in self.packets.chunks(BATCH).zip(self.to.chunks(BATCH)) {
            let slices: Vec<[IoSlice<'_>; 1]> =
                packets.iter().map(|packet| [IoSlice::new(packet)]).collect();
            let mut controls: Vec<SendAncillaryBuffer<'_, '_, '_>> =
                packets.iter().map(|_| SendAncillaryBuffer::default()).collect();
            let mut messages: Vec<MMsgHdr<'_>> = to
                .iter()
                .zip(&slices)
                .zip(&mut controls)
                .map(|((to, slice), control)| MMsgHdr::new_with_addr(to, slice, control))
                .collect();
            let mut rest = messages.as_mut_slice();
            while !rest.is_empty() {
                // What the kernel refuses is lost, and the meter sees it.
                let taken = sendmmsg(socket, rest, SendFlags::empty()).unwrap_or(1).max(1);
                rest = rest.get_mut(taken..).unwrap_or_default();
            }
        }
    }
}

/// The next packet of a stream, in place.
fn step(packet: &mut [u8; PACKET]) {
    let sequence = u16::from_be_bytes([packet[2], packet[3]]).wrapping_add(1);
    let timestamp = u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]]);
    packet[2..4].copy_from_slice(&sequence.to_be_bytes());
    packet[4..8].copy_from_slice(&timestamp.wrapping_add(160).to_be_bytes());
}

fn after(time: Timespec, nanos: i64) -> Timespec {
    let nanos = time.tv_nsec + nanos;
    Timespec { tv_sec: time.tv_sec + nanos / 1_000_000_000, tv_nsec: nanos % 1_000_000_000 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stream_has_one_place_and_slots_are_even() {
        let to: SocketAddr = "127.0.0.1:9".parse().unwrap();
        let targets: Vec<Target> = (0..800).map(|number| (number % 16, to)).collect();
        let slots = lay_out(&targets, 16, 0);
        let sizes: Vec<usize> =
            slots.iter().map(|groups| groups.iter().map(|group| group.to.len()).sum()).collect();
        assert_eq!(sizes.iter().sum::<usize>(), 800);
        assert!(sizes.iter().all(|&size| (32..=48).contains(&size)), "{sizes:?}");
    }

    #[test]
    fn a_step_is_a_packet_further() {
        let mut packet = [0xFF; PACKET];
        step(&mut packet);
        assert_eq!(packet[2..8], [0, 0, 0, 0, 0, 159]);
    }

    #[test]
    fn deadlines_carry_over_into_seconds() {
        let late = Timespec { tv_sec: 1, tv_nsec: 999_500_000 };
        let next = after(late, SLOT_NANOS);
        assert_eq!((next.tv_sec, next.tv_nsec), (2, 500_000));
    }
}
