//! The far end of the call: just enough SIP to answer, and a thread that reads a UDP socket and the
//! clock, nothing else.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::{Duration, Instant},
};

use anyhow::bail;
use graphophone_testkit::far_end::Answerer;

/// One RTP packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) at: Instant,
    pub(crate) marker: bool,
}

/// A far end that answers every call. Its threads end with the process.
pub(crate) struct FarEnd {
    sip: SocketAddr,
    arrivals: Receiver<Arrival>,
    /// Bound, so that reports do not come back as errors.
    _rtcp: UdpSocket,
}

impl FarEnd {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let bind = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0));
        let (sip, rtp, rtcp) = (bind()?, bind()?, bind()?);
        let address = sip.local_addr()?;
        let (rtp_port, rtcp_port) = (rtp.local_addr()?.port(), rtcp.local_addr()?.port());
        let answerer = Answerer::new(&address.to_string(), rtp_port, rtcp_port);
        std::thread::spawn(move || answer_all(&sip, &answerer));
        let (sender, arrivals) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 2_048];
            while let Ok(length) = rtp.recv(&mut buffer) {
                let at = Instant::now();
                let marker = length > 12 && buffer[1] & 0x80 != 0;
                if sender.send(Arrival { at, marker }).is_err() {
                    return;
                }
            }
        });
        Ok(Self { sip: address, arrivals, _rtcp: rtcp })
    }

    pub(crate) fn uri(&self) -> String {
        format!("sip:ear@{}", self.sip)
    }

    /// The next packet.
    pub(crate) fn next(&self, patience: Duration) -> anyhow::Result<Arrival> {
        match self.arrivals.recv_timeout(patience) {
            Ok(arrival) => Ok(arrival),
            Err(RecvTimeoutError::Timeout) => bail!("no packet comes"),
            Err(RecvTimeoutError::Disconnected) => bail!("the far end has stopped"),
        }
    }

    /// All packets up to a silence that long.
    pub(crate) fn drain(&self, silence: Duration) -> Vec<Arrival> {
        std::iter::from_fn(|| self.arrivals.recv_timeout(silence).ok()).collect()
    }

    /// Drops what has arrived.
    pub(crate) fn forget(&self) {
        self.arrivals.try_iter().for_each(drop);
    }
}

fn answer_all(socket: &UdpSocket, answerer: &Answerer) {
    let mut buffer = vec![0; 65_536];
    while let Ok((length, from)) = socket.recv_from(&mut buffer) {
        if let Some(response) = answerer.respond(&buffer[..length]) {
            let _ = socket.send_to(response.as_bytes(), from);
        }
    }
}
