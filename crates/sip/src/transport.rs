//! Sockets: UDP sockets, TCP listeners and connections, each read by a task of its own that passes
//! its bytes through the gate. All queues are bounded; a peer that does not read its TCP connection
//! loses it.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr, UdpSocket as StdUdpSocket},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep_until, timeout},
};

use crate::{
    gate::{self, StreamGate, Verdict},
    user_agent::{Flow, LinkId, Transport},
};

/// Messages between the readers and the user agent.
pub(crate) const INBOX: usize = 1_024;
/// Messages that wait for a TCP peer to read.
const WRITE_QUEUE: usize = 64;
/// Most TCP connections, and most from one address (AST-2016-005: hoarding).
pub(crate) const MOST_CONNECTIONS: usize = 1_024;
pub(crate) const MOST_PER_ADDRESS: usize = 256;
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// A message that has begun must end within this (slow loris).
const MESSAGE_WITHIN: Duration = Duration::from_secs(10);
/// A connection must say something within this.
const FIRST_MESSAGE_WITHIN: Duration = Duration::from_secs(30);
const IDLE: Duration = Duration::from_secs(2 * 3600);
const WRITE_WITHIN: Duration = Duration::from_secs(10);

/// Something that came from a socket.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// A message, or what the gate makes of it.
    Message { link: LinkId, transport: Transport, remote: SocketAddr, verdict: Verdict },
    /// A listener took a connection.
    Accepted { stream: TcpStream, remote: SocketAddr },
    /// A connection is over, or could not be made.
    Closed { link: LinkId },
    /// A trunk's name was resolved.
    Resolved { trunk: usize, remote: SocketAddr },
}

/// All sockets of an endpoint.
pub(crate) struct Links {
    udp: Vec<UdpLink>,
    tcp: Vec<SocketAddr>,
    connections: HashMap<LinkId, Connection>,
    inbox: mpsc::Sender<Arrival>,
    external: Option<IpAddr>,
    next: u64,
    tasks: Vec<JoinHandle<()>>,
}

struct UdpLink {
    id: LinkId,
    /// For sending: tokio's own handle refuses to send before its reactor has seen the socket ready,
    /// which would lose the first message.
    sender: StdUdpSocket,
    bound: SocketAddr,
}

struct Connection {
    remote: SocketAddr,
    local: Option<SocketAddr>,
    /// We opened it, so it leads to where `remote` listens.
    outgoing: bool,
    writer: mpsc::Sender<Bytes>,
    task: JoinHandle<()>,
}

impl Links {
    /// Binds everything and starts to read.
    ///
    /// # Errors
    /// When a socket cannot be bound.
    pub(crate) async fn bind(
        udp: &[SocketAddr],
        tcp: &[SocketAddr],
        external: Option<IpAddr>,
        inbox: mpsc::Sender<Arrival>,
    ) -> io::Result<Self> {
        let mut links = Self {
            udp: Vec::new(),
            tcp: Vec::new(),
            connections: HashMap::new(),
            inbox,
            external,
            next: 0,
            tasks: Vec::new(),
        };
        for address in udp {
            let sender = udp_socket(*address)?;
            let (id, bound) = (links.new_id(), sender.local_addr()?);
            let socket = UdpSocket::from_std(sender.try_clone()?)?;
            links.tasks.push(tokio::spawn(read_datagrams(id, socket, links.inbox.clone())));
            links.udp.push(UdpLink { id, sender, bound });
        }
        for address in tcp {
            let listener = TcpListener::bind(address).await?;
            links.tcp.push(listener.local_addr()?);
            links.tasks.push(tokio::spawn(accept(listener, links.inbox.clone())));
        }
        Ok(links)
    }

    pub(crate) fn udp_addrs(&self) -> Vec<SocketAddr> {
        self.udp.iter().map(|link| link.bound).collect()
    }

    pub(crate) fn tcp_addrs(&self) -> Vec<SocketAddr> {
        self.tcp.clone()
    }

    /// Takes a connection in, unless there are too many.
    pub(crate) fn accepted(&mut self, stream: TcpStream, remote: SocketAddr) {
        let same = self.connections.values().filter(|known| known.remote.ip() == remote.ip());
        if self.connections.len() >= MOST_CONNECTIONS || same.count() >= MOST_PER_ADDRESS {
            return;
        }
        let id = self.new_id();
        let local = stream.local_addr().ok();
        let (writer, queue) = mpsc::channel(WRITE_QUEUE);
        let pump = Pump::new(id, remote, self.inbox.clone(), writer.clone());
        let task = tokio::spawn(pump.run(stream, queue));
        self.connections.insert(id, Connection { remote, local, outgoing: false, writer, task });
    }

    pub(crate) fn closed(&mut self, id: LinkId) {
        self.connections.remove(&id);
    }

    /// The way a message came.
    pub(crate) fn flow(&self, transport: Transport, link: LinkId, remote: SocketAddr) -> Flow {
        Flow { transport, link, remote, local: self.advertised(transport, link, remote) }
    }

    /// A way to a peer: an open connection of ours if there is one. `None` if no socket has the
    /// peer's address family.
    pub(crate) fn flow_to(&mut self, transport: Transport, remote: SocketAddr) -> Option<Flow> {
        let link = match transport {
            Transport::Udp => self.udp_towards(remote)?.id,
            Transport::Tcp => self.connection_to(remote),
        };
        Some(self.flow(transport, link, remote))
    }

    /// Puts bytes on the wire. What cannot be sent is lost, as on any network; a TCP connection
    /// that is not there is opened.
    pub(crate) fn send(&mut self, flow: &Flow, message: Bytes) {
        tracing::trace!(transport = flow.transport.via(), remote = %flow.remote,
            bytes = message.len(), "send");
        match flow.transport {
            Transport::Udp => {
                let own = self.udp.iter().find(|link| link.id == flow.link);
                if let Some(link) = own.or_else(|| self.udp_towards(flow.remote))
                    && let Err(error) = link.sender.send_to(&message, flow.remote)
                {
                    tracing::debug!(%error, "a datagram could not be sent");
                }
            }
            Transport::Tcp => {
                let link = match flow.link {
                    LinkId::ANY => self.connection_to(flow.remote),
                    link => link,
                };
                if !self.connections.contains_key(&link) {
                    self.open(link, flow.remote);
                }
                if let Some(connection) = self.connections.get(&link)
                    && connection.writer.try_send(message).is_err()
                {
                    tracing::debug!("a TCP peer does not read; its connection is closed");
                    connection.task.abort();
                    self.closed_by_us(link);
                }
            }
        }
    }

    /// Stops all tasks and closes all sockets.
    pub(crate) async fn close(mut self) {
        let connections = self.connections.drain().map(|(_, connection)| connection.task);
        for task in self.tasks.drain(..).chain(connections) {
            task.abort();
            // Aborted: there is no result to care about.
            let _ = task.await;
        }
    }

    /// Our address as `remote` must see it in SDP, given the one RTP sockets are bound to.
    pub(crate) fn media_address(&self, bound: IpAddr, remote: SocketAddr) -> IpAddr {
        self.seen_by(bound, remote)
    }

    /// For what must come back to the endpoint's task.
    pub(crate) fn inbox(&self) -> mpsc::Sender<Arrival> {
        self.inbox.clone()
    }

    /// An open connection of ours to where a peer listens, or the name of one to be opened.
    fn connection_to(&mut self, remote: SocketAddr) -> LinkId {
        let ours = |known: &Connection| known.outgoing && known.remote == remote;
        let open = self.connections.iter().find(|(_, known)| ours(known));
        open.map(|(id, _)| *id).unwrap_or_else(|| self.new_id())
    }

    fn closed_by_us(&mut self, link: LinkId) {
        self.closed(link);
        // The inbox may be full of the very messages that wait for us; then timers will tell.
        let _ = self.inbox.try_send(Arrival::Closed { link });
    }

    fn open(&mut self, id: LinkId, remote: SocketAddr) {
        if self.connections.len() >= MOST_CONNECTIONS {
            let _ = self.inbox.try_send(Arrival::Closed { link: id });
            return;
        }
        let (writer, queue) = mpsc::channel(WRITE_QUEUE);
        let pump = Pump::new(id, remote, self.inbox.clone(), writer.clone());
        let task = tokio::spawn(pump.connect(queue));
        self.connections
            .insert(id, Connection { remote, local: None, outgoing: true, writer, task });
    }

    fn udp_towards(&self, remote: SocketAddr) -> Option<&UdpLink> {
        let fits = |link: &&UdpLink| link.bound.is_ipv4() == remote.is_ipv4();
        let reaches = |link: &&UdpLink| {
            let ip = link.bound.ip();
            ip.is_unspecified() || ip.is_loopback() == remote.ip().is_loopback()
        };
        let mut links = self.udp.iter().filter(fits);
        links.clone().find(reaches).or_else(|| links.next())
    }

    fn advertised(&self, transport: Transport, link: LinkId, remote: SocketAddr) -> SocketAddr {
        // A connection that is still to be opened has no address; 5060 is what an absent port means.
        let unspecified = SocketAddr::new(unspecified_like(remote.ip()), 5060);
        let bound = match transport {
            Transport::Udp => {
                self.udp.iter().find(|known| known.id == link).map(|known| known.bound)
            }
            // A peer that answers later must reach our listener, not the connection's port.
            Transport::Tcp => self
                .tcp
                .iter()
                .find(|bound| bound.is_ipv4() == remote.is_ipv4())
                .copied()
                .or_else(|| self.connections.get(&link).and_then(|known| known.local)),
        };
        let bound = bound.unwrap_or(unspecified);
        SocketAddr::new(self.seen_by(bound.ip(), remote), bound.port())
    }

    fn seen_by(&self, bound: IpAddr, remote: SocketAddr) -> IpAddr {
        match self.external {
            Some(external) if !remote.ip().is_loopback() => external,
            Some(_) | None if !bound.is_unspecified() => bound,
            Some(_) | None => route_source(remote).unwrap_or(bound),
        }
    }

    fn new_id(&mut self) -> LinkId {
        self.next += 1;
        LinkId(self.next)
    }
}

/// Which of our addresses the kernel would use towards `remote`; sends nothing.
fn route_source(remote: SocketAddr) -> Option<IpAddr> {
    let socket = StdUdpSocket::bind((unspecified_like(remote.ip()), 0)).ok()?;
    socket.connect(remote).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

fn unspecified_like(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    }
}

fn udp_socket(address: SocketAddr) -> io::Result<StdUdpSocket> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // A burst of calls must fit; the kernel may grant less.
    let _ = socket.set_recv_buffer_size(1 << 20);
    let _ = socket.set_send_buffer_size(1 << 20);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

async fn read_datagrams(link: LinkId, socket: UdpSocket, inbox: mpsc::Sender<Arrival>) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let (length, remote) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                // An ICMP error of some peer must not stop the others (threat T34).
                tracing::debug!(%error, "receiving failed");
                tokio::task::yield_now().await;
                continue;
            }
        };
        // Keep-alives of RFC 5626 and STUN, RTP and other noise that cannot begin a message.
        if length < 16 || !buffer[0].is_ascii_graphic() && !buffer[0].is_ascii_whitespace() {
            continue;
        }
        let verdict = gate::datagram(Bytes::copy_from_slice(&buffer[..length]));
        let transport = Transport::Udp;
        if inbox.send(Arrival::Message { link, transport, remote, verdict }).await.is_err() {
            return;
        }
    }
}

async fn accept(listener: TcpListener, inbox: mpsc::Sender<Arrival>) {
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => {
                if inbox.send(Arrival::Accepted { stream, remote }).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                // Out of descriptors, usually: wait until some come back.
                tracing::debug!(%error, "accepting failed");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Moves bytes of one connection both ways.
struct Pump {
    link: LinkId,
    remote: SocketAddr,
    inbox: mpsc::Sender<Arrival>,
    /// Keeps the queue open, and takes our keep-alive answers.
    writer: mpsc::Sender<Bytes>,
}

impl Pump {
    fn new(
        link: LinkId,
        remote: SocketAddr,
        inbox: mpsc::Sender<Arrival>,
        writer: mpsc::Sender<Bytes>,
    ) -> Self {
        Self { link, remote, inbox, writer }
    }

    async fn connect(self, queue: mpsc::Receiver<Bytes>) {
        match timeout(CONNECT_WITHIN, TcpStream::connect(self.remote)).await {
            Ok(Ok(stream)) => self.run(stream, queue).await,
            Ok(Err(_)) | Err(_) => self.close().await,
        }
    }

    async fn run(self, stream: TcpStream, mut queue: mpsc::Receiver<Bytes>) {
        // Without it a BYE could wait for the ACK of its predecessor; worth trying only.
        let _ = stream.set_nodelay(true);
        let (mut reader, mut writer) = stream.into_split();
        let mut gate = StreamGate::new();
        let mut buffer = vec![0; 16 * 1024];
        let mut deadline = Instant::now() + FIRST_MESSAGE_WITHIN;
        loop {
            tokio::select! {
                read = reader.read(&mut buffer) => {
                    let Ok(length @ 1..) = read else { break };
                    let was_inside = gate.is_inside_message();
                    if !self.take(&mut gate, &buffer[..length]).await {
                        // What the gate wants said last is in the queue.
                        while let Ok(message) = queue.try_recv() {
                            if writer.write_all(&message).await.is_err() {
                                break;
                            }
                        }
                        break;
                    }
                    if !gate.is_inside_message() {
                        deadline = Instant::now() + IDLE;
                    } else if !was_inside {
                        deadline = Instant::now() + MESSAGE_WITHIN;
                    }
                }
                message = queue.recv() => {
                    let Some(message) = message else { break };
                    match timeout(WRITE_WITHIN, writer.write_all(&message)).await {
                        Ok(Ok(())) => {}
                        Ok(Err(_)) | Err(_) => break,
                    }
                }
                () = sleep_until(deadline) => break,
            }
        }
        self.close().await;
    }

    /// Passes bytes through the gate; `false` when the connection must end.
    async fn take(&self, gate: &mut StreamGate, bytes: &[u8]) -> bool {
        let read = gate.push(bytes);
        for verdict in read.verdicts {
            match verdict {
                // Straight to the queue: it may be the last thing before the connection closes.
                Verdict::Refuse(response) => {
                    let _ = self.writer.try_send(response);
                }
                Verdict::Drop => {}
                Verdict::Pass(_) => {
                    let Self { link, remote, .. } = *self;
                    let transport = Transport::Tcp;
                    let message = Arrival::Message { link, transport, remote, verdict };
                    if self.inbox.send(message).await.is_err() {
                        return false;
                    }
                }
            }
        }
        if read.pong {
            let _ = self.writer.try_send(Bytes::from_static(b"\r\n"));
        }
        !read.close
    }

    async fn close(self) {
        let _ = self.inbox.send(Arrival::Closed { link: self.link }).await;
    }
}
