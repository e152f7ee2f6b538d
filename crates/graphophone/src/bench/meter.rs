//! The meter: one thread that reads RTP from a few sockets shared by all streams, and keeps the
//! books of each.

mod streams;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::mpsc::{Receiver, Sender, channel},
    time::{Duration, Instant},
};

use anyhow::Context;
use rustix::time::{ClockId, clock_gettime};
use socket2::{Domain, Socket, Type};

use self::streams::Streams;
use super::{content::Expected, grid::Tally};

/// RTP sockets, shared by all streams. Looking at an empty one costs a system call.
pub(super) const SOCKETS: usize = 4;
/// What a receive buffer asks for; the system may give less (`net.core.rmem_max`).
const RECEIVE_BUFFER: usize = 16 << 20;
/// Packets taken from one socket before the next one has its turn.
const TURN: usize = 256;
/// Between looks at empty sockets. Short against the 5 ms that count.
const NAP_MEASURING: Duration = Duration::from_micros(100);
const NAP: Duration = Duration::from_millis(1);

/// What a window saw.
#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    /// Its length.
    pub(super) length: Duration,
    /// Streams that sent anything.
    pub(super) streams: usize,
    /// Streams that fell silent before its end, or sent nothing at all.
    pub(super) silent: usize,
    /// The books.
    pub(super) tally: Tally,
    /// Packets whose content was looked at.
    pub(super) checked: u64,
    /// Those that carried something else.
    pub(super) wrong: u64,
    /// Processor time of the meter's thread.
    pub(super) cpu: Duration,
}

enum Order {
    Expect(SocketAddr, Expected),
    Forget(SocketAddr),
    Begin(usize),
    End(Sender<Window>),
    Watch(SocketAddr, Sender<Instant>),
    Unwatch(SocketAddr),
}

/// The handle of the meter's thread, which ends with it.
#[derive(Clone, Debug)]
pub(super) struct Meter {
    orders: Sender<Order>,
    addresses: Vec<SocketAddr>,
}

impl Meter {
    /// Binds [`SOCKETS`] sockets on `ip` and starts the thread; it inherits the caller's cores.
    ///
    /// # Errors
    /// When a socket cannot be had.
    pub(super) fn start(ip: Ipv4Addr) -> anyhow::Result<(Self, Vec<UdpSocket>)> {
        let sockets: Vec<UdpSocket> = (0..SOCKETS).map(|_| bind(ip)).collect::<io::Result<_>>()?;
        let addresses = sockets.iter().map(UdpSocket::local_addr).collect::<io::Result<_>>()?;
        let ours = sockets.iter().map(UdpSocket::try_clone).collect::<io::Result<Vec<_>>>()?;
        let (orders, received) = channel();
        std::thread::Builder::new()
            .name("meter".to_owned())
            .spawn(move || run(&ours, &received))
            .context("the meter's thread does not start")?;
        Ok((Self { orders, addresses }, sockets))
    }

    /// Where streams go.
    pub(super) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What comes from `source` from now on.
    pub(super) fn expect(&self, source: SocketAddr, expected: Expected) {
        self.order(Order::Expect(source, expected));
    }

    /// `source` has ended.
    pub(super) fn forget(&self, source: SocketAddr) {
        self.order(Order::Forget(source));
    }

    /// Measures for a time; `expected` streams should send all the while.
    ///
    /// # Errors
    /// When the thread has died.
    pub(super) fn measure(&self, length: Duration, expected: usize) -> anyhow::Result<Window> {
        let (sender, window) = channel();
        self.order(Order::Begin(expected));
        std::thread::sleep(length);
        self.order(Order::End(sender));
        window.recv().context("the meter has stopped")
    }

    /// The arrival of each packet from `source` from now on.
    pub(super) fn watch(&self, source: SocketAddr) -> Receiver<Instant> {
        let (sender, arrivals) = channel();
        self.order(Order::Watch(source, sender));
        arrivals
    }

    /// Ends [`Meter::watch`].
    pub(super) fn unwatch(&self, source: SocketAddr) {
        self.order(Order::Unwatch(source));
    }

    fn order(&self, order: Order) {
        // A thread that has died is seen where its answer is missed.
        let _ = self.orders.send(order);
    }
}

/// Processor time of the calling thread.
pub(super) fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

fn bind(ip: Ipv4Addr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((ip, 0)).into())?;
    Ok(socket.into())
}

fn run(sockets: &[UdpSocket], orders: &Receiver<Order>) {
    let mut streams = Streams::new();
    let mut end_of_begin = None;
    let mut buffer = [0; 2_048];
    // The kernel may wake a thread so much later than asked; 50 µs unless said otherwise.
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1_000));
    loop {
        loop {
            use std::sync::mpsc::TryRecvError;
            match orders.try_recv() {
                Ok(Order::Expect(source, expected)) => streams.expect(source, expected),
                Ok(Order::Forget(source)) => streams.forget(source),
                Ok(Order::Begin(expected)) => {
                    streams.begin();
                    end_of_begin = Some((Instant::now(), thread_cpu(), expected));
                }
                Ok(Order::End(answer)) => {
                    let Some((since, cpu, expected)) = end_of_begin.take() else { continue };
                    let mut window = streams.end(expected);
                    window.length = since.elapsed();
                    window.cpu = thread_cpu().saturating_sub(cpu);
                    let _ = answer.send(window);
                }
                Ok(Order::Watch(source, arrivals)) => streams.watch(source, arrivals),
                Ok(Order::Unwatch(source)) => streams.unwatch(source),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return,
            }
        }
        let mut packets = 0;
        for socket in sockets {
            packets += drain(socket, &mut buffer, &mut streams);
        }
        if packets == 0 {
            let is_measuring = end_of_begin.is_some() || streams.is_watching();
            std::thread::sleep(if is_measuring { NAP_MEASURING } else { NAP });
        }
    }
}

/// Takes what a socket has, up to a turn.
fn drain(socket: &UdpSocket, buffer: &mut [u8], streams: &mut Streams) -> usize {
    for packets in 0..TURN {
        match socket.recv_from(buffer) {
            Ok((length, from)) => streams.take(Instant::now(), from, &buffer[..length]),
            // Empty; or a port that is closed, which loopback reports to the socket.
            Err(_) => return packets,
        }
    }
    TURN
}
