//! The bare sender: how many paced streams one core carries clean when nobody thinks about calls.

use std::{
    net::{Ipv4Addr, UdpSocket},
    time::Duration,
};

use super::{
    content::Expected,
    cpu::Cores,
    ladder::Ladder,
    meter::Meter,
    pacing::Pacer,
    report::{CaseReport, StepReport},
};

/// Climbs the ladder from `start` streams by `step`; `show` sees each step when it is done.
///
/// # Errors
/// When a socket or thread cannot be had.
pub fn run_bare(
    cores: Cores,
    (start, step, max): (usize, usize, usize),
    window: Duration,
    show: &mut dyn FnMut(&StepReport),
) -> anyhow::Result<CaseReport> {
    let (meter, _sockets) = Meter::start(Ipv4Addr::LOCALHOST)?;
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    meter.expect(socket.local_addr()?, Expected::Any);
    let pacer = Pacer::start(vec![socket], cores.server)?;
    let mut ladder = Ladder::new(start, step, max);
    let mut steps = Vec::new();
    while let Some(streams) = ladder.next() {
        let addresses = meter.addresses().iter().cycle();
        pacer.set(addresses.take(streams).map(|to| (0, *to)).collect());
        std::thread::sleep(Duration::from_millis(300));
        let before = pacer.cpu_time();
        let seen = meter.measure(window, streams)?;
        let step = StepReport::new(streams, &seen, pacer.cpu_time().saturating_sub(before));
        ladder.take(step.clean);
        show(&step);
        steps.push(step);
    }
    Ok(CaseReport {
        case: "bare".to_owned(),
        clean: ladder.clean(),
        broken: ladder.broken(),
        steps,
        latency: None,
        tear_down_per_second: 0.0,
    })
}
