//! The ring: entries are laid down in memory that it owns or borrows, submitted together, and
//! waited for.

use std::{
    fmt, io,
    os::fd::{AsRawFd, BorrowedFd},
    ptr,
};

use io_uring::{IoUring, opcode, squeue, types};
use socket2::{SockAddr, SockAddrStorage};

use crate::{BATCH, LONGEST, Outgoing, Received};

/// No result yet. The kernel answers with lengths and negated error numbers above -4096.
const NONE: i32 = i32::MIN;

/// An io_uring for datagrams; nothing is allocated after [`Ring::new`] and the first use.
///
/// Make it in the thread that uses it, and for good: the kernel's work for a ring interrupts
/// system calls of the thread that made it (`EINTR`), also when the ring is dropped.
///
/// Sockets need not be non-blocking: nothing waits.
pub struct Ring {
    /// `None` after an error of the ring itself: what may be in it is given up with it.
    ring: Option<IoUring>,
    entries: Vec<squeue::Entry>,
    results: Box<[i32]>,
    /// Where the datagrams that are being sent go.
    targets: Vec<SockAddr>,
    /// Made when first used: two thirds of a megabyte.
    inbound: Option<Box<Inbound>>,
}

/// Places that the kernel writes to.
struct Inbound {
    buffers: Box<[[u8; LONGEST]]>,
    addresses: Box<[SockAddrStorage]>,
    parts: Box<[libc::iovec]>,
    headers: Box<[libc::msghdr]>,
}

// SAFETY: the pointers in `parts` and `headers` lead to boxes that the same value owns, so that
// they may move to another thread with it.
unsafe impl Send for Inbound {}

impl Ring {
    /// Asks the kernel for a ring.
    ///
    /// # Errors
    /// Where io_uring is absent, switched off or forbidden (as in many containers), or too little
    /// memory may be locked.
    pub fn new() -> io::Result<Self> {
        let entries = u32::try_from(BATCH).expect("a small constant");
        let ring = IoUring::new(entries)?;
        Ok(Self {
            ring: Some(ring),
            entries: Vec::with_capacity(BATCH),
            results: vec![NONE; BATCH].into(),
            targets: Vec::with_capacity(BATCH),
            inbound: None,
        })
    }

    /// Whether the ring is in order; one that is not refuses everything from then on.
    pub fn works(&self) -> bool {
        self.ring.is_some()
    }

    /// Sends datagrams, in order, and calls `done` for each, in order: octets sent, or why not.
    /// `WouldBlock` says that the socket's buffer is full.
    pub fn send<'a>(
        &mut self,
        mut datagrams: impl Iterator<Item = Outgoing<'a>>,
        mut done: impl FnMut(usize, io::Result<usize>),
    ) {
        let mut first = 0;
        loop {
            self.entries.clear();
            self.targets.clear();
            for datagram in datagrams.by_ref().take(BATCH) {
                let length = u32::try_from(datagram.bytes.len()).unwrap_or(u32::MAX);
                self.targets.push(datagram.to.into());
                let target = self.targets.last().expect("it was pushed");
                let entry = opcode::Send::new(
                    types::Fd(datagram.socket.as_raw_fd()),
                    datagram.bytes.as_ptr(),
                    length,
                )
                .flags(libc::MSG_DONTWAIT)
                // `targets` has its capacity from the start: what is in it does not move.
                .dest_addr(target.as_ptr().cast())
                .dest_addr_len(target.len())
                .build();
                self.entries.push(entry);
            }
            if self.entries.is_empty() {
                return;
            }
            // SAFETY: descriptors and bytes are borrowed for `'a`, which outlives this call;
            // the addresses are ours. `run` returns when the kernel is done with all of them.
            unsafe { self.run() };
            for (index, result) in self.results[..self.entries.len()].iter().enumerate() {
                done(first + index, outcome(*result));
            }
            first += self.entries.len();
        }
    }

    /// Takes one datagram from each of these sockets, which may be in it more than once, and calls
    /// `done` for each, in order. `WouldBlock` says that there was none.
    pub fn receive<'a>(
        &mut self,
        mut sockets: impl Iterator<Item = BorrowedFd<'a>>,
        mut done: impl FnMut(usize, io::Result<Received<'_>>),
    ) {
        let mut first = 0;
        loop {
            self.entries.clear();
            let inbound = self.inbound.get_or_insert_with(Inbound::new);
            for (index, socket) in sockets.by_ref().take(BATCH).enumerate() {
                let header = inbound.prepare(index);
                let entry = opcode::RecvMsg::new(types::Fd(socket.as_raw_fd()), header)
                    .flags(libc::MSG_DONTWAIT as u32)
                    .build();
                self.entries.push(entry);
            }
            if self.entries.is_empty() {
                return;
            }
            // SAFETY: the descriptors are borrowed for `'a`, which outlives this call; all memory
            // is that of `inbound`, which stays as it is until the kernel is done.
            unsafe { self.run() };
            let Some(inbound) = &self.inbound else { return };
            for (index, result) in self.results[..self.entries.len()].iter().enumerate() {
                done(
                    first + index,
                    outcome(*result).and_then(|length| inbound.received(index, length)),
                );
            }
            first += self.entries.len();
        }
    }

    /// Submits `entries` and waits for all of them; `results` has what became of each.
    ///
    /// # Safety
    /// Every descriptor and address in `entries` must stay valid, and what an operation writes to
    /// unshared, until this returns.
    unsafe fn run(&mut self) {
        self.results.fill(NONE);
        let Some(ring) = &mut self.ring else { return };
        let mut queue = ring.submission();
        for (index, entry) in self.entries.iter().enumerate() {
            let entry = entry.clone().user_data(index as u64);
            // SAFETY: the caller vouches for it. A ring with room for a batch has room for this
            // one, as the batch before was waited for; else it has no result.
            let _ = unsafe { queue.push(&entry) };
        }
        drop(queue);
        let mut outstanding = self.entries.len();
        while outstanding > 0 {
            match ring.submit_and_wait(outstanding) {
                Ok(_) => {}
                // The kernel was interrupted, or asks to be given a moment.
                Err(error) if is_passing(&error) => {}
                Err(_) => {
                    // What was submitted is done, as nothing waits; what was not never will be.
                    self.ring = None;
                    return;
                }
            }
            for completion in ring.completion() {
                if let Some(result) = usize::try_from(completion.user_data())
                    .ok()
                    .and_then(|it| self.results.get_mut(it))
                {
                    *result = completion.result();
                }
                outstanding = outstanding.saturating_sub(1);
            }
        }
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN | libc::EBUSY))
}

fn outcome(result: i32) -> io::Result<usize> {
    match usize::try_from(result) {
        Ok(length) => Ok(length),
        Err(_) if result == NONE => Err(io::ErrorKind::BrokenPipe.into()),
        Err(_) => Err(io::Error::from_raw_os_error(-result)),
    }
}

impl Inbound {
    fn new() -> Box<Self> {
        let addresses = std::iter::repeat_with(SockAddrStorage::zeroed).take(BATCH).collect();
        let part = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };
        let header = libc::msghdr {
            msg_name: ptr::null_mut(),
            msg_namelen: 0,
            msg_iov: ptr::null_mut(),
            msg_iovlen: 0,
            msg_control: ptr::null_mut(),
            msg_controllen: 0,
            msg_flags: 0,
        };
        Box::new(Self {
            buffers: vec![[0; LONGEST]; BATCH].into(),
            addresses,
            parts: vec![part; BATCH].into(),
            headers: vec![header; BATCH].into(),
        })
    }

    /// Makes a place ready to be written to.
    fn prepare(&mut self, index: usize) -> *mut libc::msghdr {
        let address = &mut self.addresses[index];
        let part = &mut self.parts[index];
        part.iov_base = self.buffers[index].as_mut_ptr().cast();
        part.iov_len = LONGEST;
        let header = &mut self.headers[index];
        header.msg_namelen = address.size_of();
        header.msg_name = ptr::from_mut(address).cast();
        header.msg_iov = ptr::from_mut(part);
        header.msg_iovlen = 1;
        header.msg_flags = 0;
        ptr::from_mut(header)
    }

    /// What the kernel has written.
    fn received(&self, index: usize, length: usize) -> io::Result<Received<'_>> {
        let header = &self.headers[index];
        if header.msg_flags & libc::MSG_TRUNC != 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        // SAFETY: the kernel wrote an address of this length there (zeros if of none), and a
        // storage may be copied as it is plain data.
        let address = unsafe {
            SockAddr::new(ptr::read(&raw const self.addresses[index]), header.msg_namelen)
        };
        let from = address.as_socket().ok_or(io::ErrorKind::InvalidData)?;
        Ok(Received { from, bytes: &self.buffers[index][..length.min(LONGEST)] })
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").field("works", &self.ring.is_some()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
        os::fd::AsFd,
    };

    use super::*;

    fn socket(at: impl Into<IpAddr>) -> UdpSocket {
        UdpSocket::bind((at.into(), 0)).unwrap()
    }

    /// None where io_uring may not be used: then there is nothing to test.
    fn ring() -> Option<Ring> {
        Ring::new().inspect_err(|error| eprintln!("no io_uring here: {error}")).ok()
    }

    #[test]
    fn more_than_a_batch_of_many_sockets_goes_out_in_order_and_comes_in() {
        let Some(mut ring) = ring() else { return };
        for at in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
            let senders: Vec<_> = (0..7).map(|_| socket(at)).collect();
            let receiver = socket(at);
            let to = receiver.local_addr().unwrap();
            let count = BATCH * 2 + 3;
            let texts: Vec<String> = (0..count).map(|number| number.to_string()).collect();
            let datagrams = texts.iter().enumerate().map(|(number, text)| Outgoing {
                socket: senders[number % 7].as_fd(),
                to,
                bytes: text.as_bytes(),
            });
            let mut next = 0;
            // The receiver's buffer holds fewer than all of them.
            let mut heard = 0;
            let mut take = |ring: &mut Ring, expected: usize| {
                ring.receive((0..expected).map(|_| receiver.as_fd()), |_, result| {
                    let received = result.unwrap();
                    assert_eq!(received.bytes, texts[heard].as_bytes());
                    assert_eq!(received.from, senders[heard % 7].local_addr().unwrap());
                    heard += 1;
                });
            };
            let datagrams: Vec<_> = datagrams.collect();
            for part in datagrams.chunks(BATCH / 2 + 9) {
                ring.send(part.iter().copied(), |index, result| {
                    assert_eq!(result.unwrap(), part[index].bytes.len());
                    next += 1;
                });
                take(&mut ring, part.len());
            }
            assert_eq!((next, heard), (count, count));
            ring.receive([receiver.as_fd()].into_iter(), |_, result| {
                assert_eq!(result.unwrap_err().kind(), io::ErrorKind::WouldBlock);
            });
        }
    }

    #[test]
    fn one_batch_may_be_longer_than_the_ring() {
        let Some(mut ring) = ring() else { return };
        let (from, to) = (socket(Ipv4Addr::LOCALHOST), socket(Ipv4Addr::LOCALHOST));
        let to = to.local_addr().unwrap();
        let datagram = Outgoing { socket: from.as_fd(), to, bytes: b"x" };
        let mut told = Vec::new();
        ring.send(std::iter::repeat_n(datagram, BATCH + 1), |index, result| {
            assert_eq!(result.unwrap(), 1);
            told.push(index);
        });
        assert_eq!(told, (0..=BATCH).collect::<Vec<_>>());
    }

    #[test]
    fn a_datagram_that_cannot_be_sent_is_told_and_the_others_leave() {
        let Some(mut ring) = ring() else { return };
        let (from, to) = (socket(Ipv4Addr::LOCALHOST), socket(Ipv4Addr::LOCALHOST));
        let good = to.local_addr().unwrap();
        let wrong_family = SocketAddr::from((Ipv6Addr::LOCALHOST, 9));
        let too_long = vec![0; 70_000];
        let all = [(good, &b"a"[..]), (wrong_family, b"b"), (good, &too_long), (good, b"c")];
        let datagrams = all.map(|(to, bytes)| Outgoing { socket: from.as_fd(), to, bytes });
        let mut results = Vec::new();
        ring.send(datagrams.into_iter(), |_, result| results.push(result.is_ok()));
        assert_eq!(results, [true, false, false, true]);
        let mut heard = Vec::new();
        ring.receive([to.as_fd(), to.as_fd()].into_iter(), |_, result| {
            heard.push(result.unwrap().bytes.to_vec());
        });
        assert_eq!(heard, [b"a", b"c"]);
    }

    #[test]
    fn a_datagram_longer_than_a_place_is_an_error_and_not_half_a_datagram() {
        let Some(mut ring) = ring() else { return };
        let (from, to) = (socket(Ipv4Addr::LOCALHOST), socket(Ipv4Addr::LOCALHOST));
        for length in [LONGEST, LONGEST + 1] {
            from.send_to(&vec![1; length], to.local_addr().unwrap()).unwrap();
        }
        let mut results = Vec::new();
        ring.receive([to.as_fd(), to.as_fd()].into_iter(), |_, result| {
            results.push(result.map(|received| received.bytes.len()).map_err(|it| it.kind()));
        });
        assert_eq!(results, [Ok(LONGEST), Err(io::ErrorKind::InvalidData)]);
    }
}
