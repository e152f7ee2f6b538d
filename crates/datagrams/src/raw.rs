//! UDP out of a raw socket: the kernel is handed whole IPv4 packets, so one socket, and one system
//! call, serves datagrams of any source port.

use std::{fmt, io, iter, net::Ipv4Addr, os::fd::AsRawFd, ptr};

use socket2::{Domain, Protocol, Socket, Type};

use crate::{Addressed, BATCH};

const IP_HEADER: usize = 20;
const UDP_HEADER: usize = 8;
const HEADERS: usize = IP_HEADER + UDP_HEADER;
const TIME_TO_LIVE: u8 = 64;
const UDP: u8 = 17;

/// Sends IPv4 datagrams from addresses that need not be those of its socket. Nothing is allocated
/// after [`RawSender::new`], and nothing waits.
///
/// Whoever uses it has bound the source port elsewhere, to hear the answers. Packets pass routing
/// and the output rules of the firewall as all others do; they are never fragmented.
pub struct RawSender {
    socket: Socket,
    headers: Box<[[u8; HEADERS]]>,
    targets: Box<[libc::sockaddr_in]>,
    /// Headers and payload of each.
    parts: Box<[[libc::iovec; 2]]>,
    messages: Box<[libc::mmsghdr]>,
    /// Identification of the next packet (RFC 6864: of no meaning, as none is fragmented).
    identification: u16,
}

// SAFETY: the pointers in `parts` and `messages` lead to boxes that the same value owns, or are of
// no use outside of `send`, which sets them.
unsafe impl Send for RawSender {}

impl RawSender {
    /// Opens the socket.
    ///
    /// # Errors
    /// `PermissionDenied` without `CAP_NET_RAW`.
    pub fn new() -> io::Result<Self> {
        // 255 (IPPROTO_RAW) never receives, and takes the IP header from us: raw(7).
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW)))?;
        // All calls share its buffer; the system may give less (`net.core.wmem_max`).
        socket.set_send_buffer_size(4 << 20)?;
        let nothing = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };
        let nowhere = libc::sockaddr_in {
            sin_family: libc::AF_INET as libc::sa_family_t,
            sin_port: 0,
            sin_addr: libc::in_addr { s_addr: 0 },
            sin_zero: [0; 8],
        };
        let mut headers: Box<[_]> = vec![[0; HEADERS]; BATCH].into();
        let mut targets: Box<[_]> = vec![nowhere; BATCH].into();
        let mut parts: Box<[_]> = vec![[nothing; 2]; BATCH].into();
        for (part, header) in iter::zip(&mut parts, &mut headers) {
            part[0] = libc::iovec { iov_base: header.as_mut_ptr().cast(), iov_len: HEADERS };
        }
        let message = |(target, parts): (&mut libc::sockaddr_in, &mut [libc::iovec; 2])| {
            let header = libc::msghdr {
                msg_name: ptr::from_mut(target).cast(),
                msg_namelen: size_of::<libc::sockaddr_in>() as libc::socklen_t,
                msg_iov: parts.as_mut_ptr(),
                msg_iovlen: parts.len(),
                msg_control: ptr::null_mut(),
                msg_controllen: 0,
                msg_flags: 0,
            };
            libc::mmsghdr { msg_hdr: header, msg_len: 0 }
        };
        let messages = iter::zip(&mut targets, &mut parts).map(message).collect();
        Ok(Self { socket, headers, targets, parts, messages, identification: 0 })
    }

    /// Sends datagrams, in order, and calls `done` for each, in order: octets sent, or why not.
    /// `WouldBlock` says that the buffer of the socket is full.
    pub fn send<'a>(
        &mut self,
        mut datagrams: impl Iterator<Item = Addressed<'a>>,
        mut done: impl FnMut(usize, io::Result<usize>),
    ) {
        let mut first = 0;
        loop {
            let mut count = 0;
            for datagram in datagrams.by_ref().take(BATCH) {
                self.prepare(count, &datagram);
                count += 1;
            }
            if count == 0 {
                return;
            }
            let mut at = 0;
            while at < count {
                // SAFETY: the headers of `at..count` lead to memory of this value that does not
                // move, and to payloads that are borrowed for `'a`, which outlives this call; the
                // kernel writes to `msg_len` only.
                let sent = unsafe {
                    libc::sendmmsg(
                        self.socket.as_raw_fd(),
                        self.messages[at..count].as_mut_ptr(),
                        (count - at) as libc::c_uint,
                        libc::MSG_DONTWAIT,
                    )
                };
                match usize::try_from(sent) {
                    Ok(sent) if sent > 0 => {
                        for (index, message) in self.messages[at..][..sent].iter().enumerate() {
                            let octets = (message.msg_len as usize).saturating_sub(HEADERS);
                            done(first + at + index, Ok(octets));
                        }
                        at += sent;
                    }
                    // The first one cannot be sent; the others have not been tried.
                    _ => {
                        done(first + at, Err(io::Error::last_os_error()));
                        at += 1;
                    }
                }
            }
            first += count;
        }
    }

    fn prepare(&mut self, index: usize, datagram: &Addressed<'_>) {
        self.identification = self.identification.wrapping_add(1);
        write_headers(&mut self.headers[index], datagram, self.identification);
        self.targets[index].sin_port = datagram.to.port().to_be();
        self.targets[index].sin_addr.s_addr = u32::from_ne_bytes(datagram.to.ip().octets());
        self.parts[index][1] = libc::iovec {
            iov_base: datagram.bytes.as_ptr().cast_mut().cast(),
            iov_len: datagram.bytes.len(),
        };
    }
}

/// IPv4 (RFC 791 §3.1) and UDP (RFC 768). The kernel sees to the IP header's length and checksum,
/// and refuses what is longer than a packet can be.
fn write_headers(to: &mut [u8; HEADERS], datagram: &Addressed<'_>, identification: u16) {
    let (ip, udp) = to.split_at_mut(IP_HEADER);
    ip[0] = 4 << 4 | (IP_HEADER / 4) as u8;
    ip[4..6].copy_from_slice(&identification.to_be_bytes());
    // Do not fragment, as for datagrams of ordinary sockets.
    ip[6] = 0x40;
    ip[8] = TIME_TO_LIVE;
    ip[9] = UDP;
    ip[12..16].copy_from_slice(&datagram.from.ip().octets());
    ip[16..20].copy_from_slice(&datagram.to.ip().octets());
    let length = (UDP_HEADER + datagram.bytes.len()) as u16;
    udp[0..2].copy_from_slice(&datagram.from.port().to_be_bytes());
    udp[2..4].copy_from_slice(&datagram.to.port().to_be_bytes());
    udp[4..6].copy_from_slice(&length.to_be_bytes());
    let checksum = checksum(*datagram.from.ip(), *datagram.to.ip(), &udp[..6], datagram.bytes);
    udp[6..8].copy_from_slice(&checksum.to_be_bytes());
}

/// Of the pseudo header, the UDP header and the payload (RFC 768); never 0, which says that there
/// is none.
fn checksum(from: Ipv4Addr, to: Ipv4Addr, header: &[u8], payload: &[u8]) -> u16 {
    let words = |bytes: &[u8]| {
        let (pairs, odd) = bytes.as_chunks::<2>();
        let sum: u32 = pairs.iter().map(|pair| u32::from(u16::from_be_bytes(*pair))).sum();
        sum + odd.first().map_or(0, |last| u32::from(*last) << 8)
    };
    let length = (UDP_HEADER + payload.len()) as u32;
    let addresses = words(&from.octets()) + words(&to.octets());
    let mut sum = addresses + u32::from(UDP) + length + words(header) + words(payload);
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    match !(sum as u16) {
        0 => 0xFFFF,
        checksum => checksum,
    }
}

impl fmt::Debug for RawSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawSender").field("socket", &self.socket).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, SocketAddrV4, UdpSocket};

    use super::*;

    /// None where raw sockets are not allowed: then there is nothing to test.
    fn sender() -> Option<RawSender> {
        RawSender::new().inspect_err(|error| eprintln!("no raw sockets here: {error}")).ok()
    }

    fn socket() -> (UdpSocket, SocketAddrV4) {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_nonblocking(true).unwrap();
        let SocketAddr::V4(address) = socket.local_addr().unwrap() else { unreachable!() };
        (socket, address)
    }

    #[test]
    fn datagrams_arrive_whole_in_order_and_from_the_port_that_is_named() {
        let Some(mut sender) = sender() else { return };
        let ((_here, from), (there, to)) = (socket(), socket());
        // Also none, and an odd number of octets: the kernel checks the sum when they are read.
        let payloads: Vec<Vec<u8>> = (0..200).map(|length| vec![length as u8; length]).collect();
        for part in payloads.chunks(50) {
            let all = part.iter().map(|bytes| Addressed { from, to, bytes });
            let mut told = 0;
            sender.send(all, |index, result| {
                assert_eq!((index, result.unwrap()), (told, part[told].len()));
                told += 1;
            });
            assert_eq!(told, part.len());
            for expected in part {
                let mut buffer = [0; 300];
                let (length, source) = there.recv_from(&mut buffer).unwrap();
                assert_eq!((&buffer[..length], source), (&expected[..], from.into()));
            }
        }
    }

    #[test]
    fn one_that_cannot_be_sent_is_told_and_the_others_leave() {
        let Some(mut sender) = sender() else { return };
        let ((_here, from), (there, to)) = (socket(), socket());
        let too_long = vec![0; 70_000];
        let broadcast = SocketAddrV4::new(Ipv4Addr::BROADCAST, 9);
        let all = [(to, &b"a"[..]), (to, &too_long), (broadcast, b"b"), (to, b"c")];
        let mut results = Vec::new();
        let datagrams = all.map(|(to, bytes)| Addressed { from, to, bytes });
        sender.send(datagrams.into_iter(), |_, result| results.push(result.is_ok()));
        assert_eq!(results, [true, false, false, true]);
        let mut buffer = [0; 300];
        for expected in [b'a', b'c'] {
            assert_eq!(there.recv(&mut buffer).unwrap(), 1);
            assert_eq!(buffer[0], expected);
        }
    }

    #[test]
    fn more_than_a_batch_is_sent_in_several() {
        let Some(mut sender) = sender() else { return };
        let ((_here, from), (_there, to)) = (socket(), socket());
        let mut told = Vec::new();
        let all = iter::repeat_n(Addressed { from, to, bytes: b"x" }, BATCH + 1);
        sender.send(all, |index, result| {
            assert_eq!(result.unwrap(), 1);
            told.push(index);
        });
        assert_eq!(told, (0..=BATCH).collect::<Vec<_>>());
    }

    #[test]
    fn a_sum_of_zero_is_written_as_all_ones() {
        // Pseudo header and header add up to 17 + 10 + 10 + ports; the payload makes it all ones.
        let none = Ipv4Addr::UNSPECIFIED;
        let header = [0, 0, 0, 0, 0, 10];
        let payload = (0xFFFF_u16 - 17 - 10 - 10).to_be_bytes();
        assert_eq!(checksum(none, none, &header, &payload), 0xFFFF);
        assert_eq!(checksum(none, none, &header, &[0, 0]), !(17 + 10 + 10));
    }
}
