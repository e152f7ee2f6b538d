//! The far end of the call: just enough SIP to answer, and a thread that reads a UDP socket and the
//! clock, nothing else.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::{Duration, Instant},
};

use anyhow::bail;
use graphophone::bench::sip;

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
        let (socket, rtp, rtcp) = (bind()?, bind()?, bind()?);
        let address = socket.local_addr()?;
        let sdp = sip::sdp(rtp.local_addr()?, rtcp.local_addr()?.port(), "0");
        std::thread::spawn(move || answer_all(&socket, &format!("sip:ear@{address}"), &sdp));
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

fn answer_all(socket: &UdpSocket, contact: &str, sdp: &str) {
    let mut buffer = vec![0; 65_536];
    while let Ok((length, from)) = socket.recv_from(&mut buffer) {
        if let Some(response) = sip::answer(&buffer[..length], contact, sdp) {
            let _ = socket.send_to(response.as_bytes(), from);
        }
    }
}
