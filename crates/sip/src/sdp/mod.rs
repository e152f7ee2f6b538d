//! Session descriptions (RFC 8866) as far as one audio stream needs them: reading a peer's, and
//! the words that offer and answer share.

mod answer;
mod offer;
#[cfg(test)]
mod tests;

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use graphophone_media::{
    codec::{Codec, SampleCodec},
    engine::Remote,
};
use sdp_types::{Connection, Media, Session};

pub(crate) use answer::{accept, answer};
pub(crate) use offer::offer;

/// Largest description we read, in bytes.
pub(crate) const LARGEST: usize = 32 * 1024;
/// Most `m=` lines; each costs one line in our answer.
pub(crate) const MOST_MEDIA: usize = 16;

/// Why a description cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[expect(clippy::enum_variant_names, reason = "the names say who is to blame")]
pub(crate) enum SdpError {
    /// It does not parse, or is too large.
    #[error("the peer's session description is malformed")]
    PeerMalformed,
    /// No audio stream that is switched on and speaks plain RTP.
    #[error("the peer's session description has no RTP audio stream")]
    PeerNoAudio,
    /// An audio stream without a codec of ours.
    #[error("the peer offers no codec we have")]
    PeerNoCodec,
    /// A later description gives the running codec or telephone-event another payload type.
    #[error("the peer renumbers the payload types of a running stream")]
    PeerRenumbered,
    /// Media would go to a host name, a broadcast or a multicast address, into the other family or
    /// to a SIP socket of ours.
    #[error("the peer's media address cannot be used")]
    PeerAddress,
}

/// Which way audio flows, seen from the one who says it (RFC 8866 §6.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    SendReceive,
    SendOnly,
    ReceiveOnly,
    Inactive,
}

impl Direction {
    const ALL: [Self; 4] = [Self::SendReceive, Self::SendOnly, Self::ReceiveOnly, Self::Inactive];

    const fn name(self) -> &'static str {
        match self {
            Self::SendReceive => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::ReceiveOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }

    /// Whether the one who says it hears the other.
    const fn receives(self) -> bool {
        matches!(self, Self::SendReceive | Self::ReceiveOnly)
    }

    /// What the other side answers when it is willing to do everything (RFC 3264 §6.1).
    const fn mirrored(self) -> Self {
        match self {
            Self::SendReceive => Self::SendReceive,
            Self::SendOnly => Self::ReceiveOnly,
            Self::ReceiveOnly => Self::SendOnly,
            Self::Inactive => Self::Inactive,
        }
    }
}

/// Our end of the stream, as written in our descriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Local {
    /// Address the peer is told to send to.
    pub(crate) address: IpAddr,
    /// RTP port.
    pub(crate) rtp_port: u16,
    /// RTCP port.
    pub(crate) rtcp_port: u16,
    /// `sess-id` of the origin line; the same for the whole dialog.
    pub(crate) session: u64,
    /// `sess-version`; rises with every description that differs from the one before.
    pub(crate) version: u64,
}

/// What offer and answer agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Agreed {
    pub(crate) codec: Codec,
    pub(crate) payload_type: u8,
    pub(crate) telephone_event: Option<u8>,
    /// Where the far end receives.
    pub(crate) remote: Remote,
    /// Whether the far end receives at all, or has put us on hold.
    pub(crate) sending: bool,
    /// Whether the far end is to send.
    pub(crate) receiving: bool,
}

impl Agreed {
    /// RTCP shares the port of RTP.
    pub(crate) const fn is_mux(&self) -> bool {
        self.remote.rtcp.is_none()
    }
}

/// A peer's description.
#[derive(Clone, Debug)]
pub(crate) struct Description {
    /// Every media line, for the answer must have as many (RFC 3264 §6).
    lines: Vec<MediaLine>,
    /// Index of the line below in `lines`.
    chosen: usize,
    audio: Audio,
}

#[derive(Clone, Debug)]
struct MediaLine {
    media: String,
    proto: String,
    formats: String,
}

/// The audio stream we take.
#[derive(Clone, Debug)]
struct Audio {
    rtp: SocketAddr,
    rtcp: SocketAddr,
    mux: bool,
    /// Codecs of ours in the peer's order of preference, with the peer's payload types.
    codecs: Vec<(Codec, u8)>,
    telephone_event: Option<u8>,
    direction: Direction,
}

impl Description {
    /// Reads a description and picks the first audio stream we can take.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, SdpError> {
        let session = Session::parse(&cleaned(body)?).map_err(|_| SdpError::PeerMalformed)?;
        if session.medias.len() > MOST_MEDIA {
            return Err(SdpError::PeerMalformed);
        }
        let mut failure = SdpError::PeerNoAudio;
        let mut chosen = None;
        for (index, media) in session.medias.iter().enumerate() {
            if chosen.is_none() && media.media == "audio" && media.port != 0 {
                match Audio::read(&session, media) {
                    Ok(audio) => chosen = Some((index, audio)),
                    Err(error) => failure = error,
                }
            }
        }
        let (chosen, audio) = chosen.ok_or(failure)?;
        let lines = session.medias.into_iter().map(MediaLine::from).collect();
        Ok(Self { lines, chosen, audio })
    }

    /// Where its audio is to be sent.
    pub(crate) fn rtp_address(&self) -> SocketAddr {
        self.audio.rtp
    }

    /// Moves its media to another host; the ports stay.
    pub(crate) fn move_to(&mut self, ip: IpAddr) {
        self.audio.rtp.set_ip(ip);
        self.audio.rtcp.set_ip(ip);
    }

    /// RFC 3264 §8.4 and its ancestor, RFC 2543's hold by address 0.0.0.0.
    fn direction(&self) -> Direction {
        match self.audio.direction {
            direction if !self.audio.rtp.ip().is_unspecified() => direction,
            Direction::SendReceive | Direction::SendOnly => Direction::SendOnly,
            Direction::ReceiveOnly | Direction::Inactive => Direction::Inactive,
        }
    }

    fn agreed(&self, codec: Codec, payload_type: u8, mux: bool) -> Agreed {
        Agreed {
            codec,
            payload_type,
            telephone_event: self.audio.telephone_event,
            remote: Remote { rtp: self.audio.rtp, rtcp: (!mux).then_some(self.audio.rtcp) },
            sending: self.direction().receives(),
            receiving: self.direction().mirrored().receives(),
        }
    }
}

impl From<Media> for MediaLine {
    fn from(media: Media) -> Self {
        Self { media: media.media, proto: media.proto, formats: media.fmt }
    }
}

impl Audio {
    fn read(session: &Session, media: &Media) -> Result<Self, SdpError> {
        // SRTP (RTP/SAVP) is a later issue; AVPF differs only in when RTCP may be sent.
        if !matches!(media.proto.as_str(), "RTP/AVP" | "RTP/AVPF") {
            return Err(SdpError::PeerNoAudio);
        }
        if media.num_ports.is_some_and(|ports| ports > 1) {
            return Err(SdpError::PeerMalformed);
        }
        let connection = media.connections.first().or(session.connection.as_ref());
        let ip = media_ip(connection.ok_or(SdpError::PeerAddress)?)?;
        let formats = formats(media)?;
        let encodings = encodings(media);
        let codecs = codecs(&formats, &encodings);
        if codecs.is_empty() {
            return Err(SdpError::PeerNoCodec);
        }
        let rtp = SocketAddr::new(ip, media.port);
        Ok(Self {
            rtp,
            rtcp: rtcp_address(media, rtp),
            mux: media.has_attribute("rtcp-mux"),
            codecs,
            telephone_event: telephone_event(&formats, &encodings),
            direction: direction(session, media),
        })
    }
}

/// The lines we read, one by one; everything else is dropped before the parser sees it. Phones
/// and gateways send origins beyond 64 bits, bandwidths beyond all bounds, names that are empty or
/// in Latin-1 and LF line ends, and none of that matters to a stream (RFC 8866 §5: unknown lines
/// are ignored).
fn cleaned(body: &[u8]) -> Result<Vec<u8>, SdpError> {
    if body.len() > LARGEST {
        return Err(SdpError::PeerMalformed);
    }
    let text = String::from_utf8_lossy(body);
    let mut lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    if lines.next() != Some("v=0") {
        return Err(SdpError::PeerMalformed);
    }
    let mut out = String::from("v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\n");
    for line in lines {
        match line.split_once('=') {
            Some(("c" | "m" | "a", value)) if !value.is_empty() => {
                let _ = write!(out, "{line}\r\n");
            }
            // Without it, the lines that follow would count for the stream before.
            Some(("m", _)) => return Err(SdpError::PeerMalformed),
            Some((kind, _)) if kind.len() == 1 => {}
            None if line.is_empty() => {}
            _ => return Err(SdpError::PeerMalformed),
        }
    }
    Ok(out.into_bytes())
}

/// Only literal unicast addresses: a host name would make us ask a name server on behalf of a
/// stranger, and a group address would multiply our packets.
fn media_ip(connection: &Connection) -> Result<IpAddr, SdpError> {
    let ip: IpAddr = connection.connection_address.parse().map_err(|_| SdpError::PeerAddress)?;
    let ip = ip.to_canonical();
    let usable = !ip.is_multicast() && ip != IpAddr::V4(Ipv4Addr::BROADCAST);
    usable.then_some(ip).ok_or(SdpError::PeerAddress)
}

/// Payload types in the order of the media line, each once.
fn formats(media: &Media) -> Result<Vec<u8>, SdpError> {
    let mut seen = [false; 128];
    let mut formats = Vec::new();
    for format in media.fmt.split_ascii_whitespace() {
        let payload_type: u8 = format.parse().map_err(|_| SdpError::PeerMalformed)?;
        let seen = seen.get_mut(usize::from(payload_type)).ok_or(SdpError::PeerMalformed)?;
        if !std::mem::replace(seen, true) {
            formats.push(payload_type);
        }
    }
    Ok(formats)
}

/// Encoding names at 8 kHz, one channel, by payload type. One pass: a peer chooses how many
/// formats and how many mappings there are.
fn encodings(media: &Media) -> [Option<&str>; 128] {
    let mut names = [None; 128];
    for value in media.get_attribute_values("rtpmap").flatten() {
        let Some((number, mapping)) = value.split_once(' ') else { continue };
        let mut parts = mapping.trim().split('/');
        let (name, rate, channels) = (parts.next(), parts.next(), parts.next());
        if rate != Some("8000") || !matches!(channels, None | Some("1")) {
            continue;
        }
        // As we would write it: neither a sign nor leading zeros.
        let canonical = number.bytes().all(|byte| byte.is_ascii_digit())
            && (number == "0" || !number.starts_with('0'));
        let slot = number.parse().ok().filter(|_| canonical);
        if let Some(slot) = slot.and_then(|slot: usize| names.get_mut(slot))
            && slot.is_none()
        {
            *slot = name;
        }
    }
    names
}

fn codecs(formats: &[u8], encodings: &[Option<&str>; 128]) -> Vec<(Codec, u8)> {
    let mut found: Vec<(Codec, u8)> = Vec::new();
    for &payload_type in formats {
        let name = encodings[usize::from(payload_type)];
        let codec = SampleCodec::ALL.into_iter().find(|codec| match name {
            Some(name) => name.eq_ignore_ascii_case(codec.name()),
            // The static types need no rtpmap (RFC 3551 §6).
            None => codec.payload_type() == payload_type,
        });
        if let Some(codec) = codec.map(SampleCodec::codec)
            && !found.iter().any(|(known, _)| *known == codec)
        {
            found.push((codec, payload_type));
        }
    }
    found
}

fn telephone_event(formats: &[u8], encodings: &[Option<&str>; 128]) -> Option<u8> {
    formats.iter().copied().find(|&payload_type| {
        encodings[usize::from(payload_type)]
            .is_some_and(|name| name.eq_ignore_ascii_case("telephone-event"))
    })
}

/// RFC 3605; without the attribute, the next port.
fn rtcp_address(media: &Media, rtp: SocketAddr) -> SocketAddr {
    let default = SocketAddr::new(rtp.ip(), rtp.port().saturating_add(1));
    let Some(Some(value)) = media.get_first_attribute_value("rtcp") else {
        return default;
    };
    // An address other than the stream's would be a way to point reports at a third party.
    match value.split_ascii_whitespace().next().and_then(|port| port.parse().ok()) {
        Some(port) if port != 0 => SocketAddr::new(rtp.ip(), port),
        Some(_) | None => default,
    }
}

fn direction(session: &Session, media: &Media) -> Direction {
    let named = |direction: &Direction| media.has_attribute(direction.name());
    let of_session = |direction: &Direction| session.has_attribute(direction.name());
    Direction::ALL
        .into_iter()
        .find(named)
        .or_else(|| Direction::ALL.into_iter().find(of_session))
        .unwrap_or(Direction::SendReceive)
}

/// Session part of a description of ours.
fn preamble(local: &Local) -> String {
    let family = if local.address.is_ipv4() { "IP4" } else { "IP6" };
    let Local { address, session, version, .. } = local;
    format!(
        "v=0\r\no=- {session} {version} IN {family} {address}\r\ns=-\r\n\
         c=IN {family} {address}\r\nt=0 0\r\n"
    )
}
