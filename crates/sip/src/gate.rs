//! The gate: strict checks of foreign bytes before the user agent sees a message, and the 400 for
//! what does not pass. Linear in the size of the input; frames and parses with one parser, so the
//! two cannot disagree about where a message ends (threat T2).

use bytes::Bytes;
use sipx_sip::{
    Finding,
    HeaderName::ContentLength,
    Limits, Message, Method, Request, Response, StreamParser, Via,
    error::{LimitKind, ParseError},
    headers::Contact,
    parse_datagram, validate_request, validate_response,
};

/// Most Via values; each is copied into every response.
pub(crate) const MOST_VIAS: usize = 32;
/// Most parameters of the start line or of a header field; the parser compares each name with all
/// others. A Via may have some for each of its values.
pub(crate) const MOST_PARAMETERS: usize = 64;
const MOST_PARAMETERS_OF_VIA: usize = MOST_VIAS * 8;
/// Pairs of CR LF a peer may send between two messages; RFC 5626 keep-alives are two at a time.
const MOST_CRLF: usize = 1_000;
/// What ends a header section.
const END_OF_HEAD: &[u8] = b"\r\n\r\n";

pub(crate) const LIMITS: Limits = Limits {
    max_message_bytes: 64 * 1024,
    max_body_bytes: 64 * 1024,
    max_headers: 128,
    max_header_bytes: 8 * 1024,
    max_folding_lines: 16,
};

/// What becomes of a piece of input.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Well-formed as far as a user agent needs it.
    Pass(Box<Message>),
    /// Send this back to the source.
    Refuse(Bytes),
    /// Noise, or something that must not be answered.
    Drop,
}

/// Judges a datagram, which carries at most one message.
pub(crate) fn datagram(bytes: Bytes) -> Verdict {
    if has_too_many_parameters(&bytes) {
        return refuse(&bytes, 513);
    }
    match parse_datagram(bytes.clone(), &LIMITS) {
        Ok(message) => judge(message),
        Err(error) => refuse(&bytes, status_of(&error)),
    }
}

/// Judges a byte stream.
#[derive(Debug)]
pub(crate) struct StreamGate {
    parser: StreamParser,
    /// What there is of the current message, to answer one that breaks the framing.
    recent: Vec<u8>,
    /// Its header section is complete, its body is not.
    in_body: bool,
    crlf: usize,
}

/// What came out of one read.
#[derive(Debug, Default)]
pub(crate) struct Read {
    pub(crate) verdicts: Vec<Verdict>,
    /// A keep-alive asks for CR LF (RFC 5626 §4.4.1).
    pub(crate) pong: bool,
    /// The framing is lost or the peer misbehaves: close after the verdicts are carried out.
    pub(crate) close: bool,
}

impl StreamGate {
    pub(crate) fn new() -> Self {
        let parser = StreamParser::new(LIMITS);
        Self { parser, recent: Vec::new(), in_body: false, crlf: 0 }
    }

    /// Whether a message has begun and not ended.
    pub(crate) fn is_inside_message(&self) -> bool {
        !self.recent.is_empty()
    }

    /// Takes the next bytes of the stream.
    ///
    /// The parser gets them in pieces that end no more than one message: it would forget the
    /// messages before a fault in the same piece, and what is read at once is up to the network.
    pub(crate) fn push(&mut self, chunk: &[u8]) -> Read {
        let mut read = Read::default();
        let mut rest = chunk;
        while !rest.is_empty() && !read.close {
            let (piece, after) = rest.split_at(self.piece(rest));
            rest = after;
            self.push_piece(piece, &mut read);
            let keep_alives = self.parser.take_keepalives();
            self.crlf += keep_alives;
            read.pong |= keep_alives >= 2;
            read.close |= self.crlf > MOST_CRLF;
        }
        read
    }

    /// How much of `rest` to take: up to the end of a header section, and then octet by octet, for
    /// only the parser says where the body ends.
    fn piece(&self, rest: &[u8]) -> usize {
        if self.in_body {
            return 1;
        }
        let before = &self.recent[self.recent.len().saturating_sub(END_OF_HEAD.len() - 1)..];
        // The end may have begun in what is there already.
        let joined =
            |at: usize| at.checked_sub(before.len()).map_or_else(|| before[at], |at| rest[at]);
        let ends = |end: &usize| {
            let from = before.len() + end - END_OF_HEAD.len();
            END_OF_HEAD.iter().enumerate().all(|(at, byte)| joined(from + at) == *byte)
        };
        let shortest = (END_OF_HEAD.len() - before.len()).max(1);
        (shortest..=rest.len()).find(ends).unwrap_or(rest.len())
    }

    fn push_piece(&mut self, piece: &[u8], read: &mut Read) {
        self.recent.extend_from_slice(piece);
        let ends_head = !self.in_body && self.recent.ends_with(END_OF_HEAD);
        if ends_head && has_too_many_parameters(&self.recent) {
            read.verdicts.push(refuse(&self.recent, 513));
            read.close = true;
            return;
        }
        match self.parser.push(piece) {
            Ok(messages) if messages.is_empty() => {
                self.in_body |=
                    self.recent.ends_with(END_OF_HEAD) && !self.recent.iter().all(is_line_end);
                if !self.in_body {
                    // Without the line ends before a message, which the parser drops.
                    let dropped = self.recent.len().saturating_sub(self.parser.pending());
                    self.recent.drain(..dropped);
                } else if self.recent.len() > LIMITS.max_message_bytes {
                    read.verdicts.push(refuse(&self.recent, 513));
                    read.close = true;
                }
            }
            Ok(messages) => {
                (self.crlf, self.in_body) = (0, false);
                self.recent.clear();
                // Other calls may share the connection, so a faulty message costs only itself. But
                // whoever is not clear about a length may have desynchronised on purpose.
                let lengths = |message: &Message| message.headers().count(&ContentLength);
                read.close = messages.iter().any(|message| lengths(message) != 1);
                read.verdicts.extend(messages.into_iter().map(judge));
            }
            Err(error) => {
                read.verdicts.push(refuse(&self.recent, status_of(&error)));
                read.close = true;
            }
        }
    }
}

/// Counts before anything is parsed, and only counts: what stands in quotes is counted, too.
fn has_too_many_parameters(raw: &[u8]) -> bool {
    let end = raw.windows(END_OF_HEAD.len()).position(|window| window == END_OF_HEAD);
    let (mut count, mut most) = (0, MOST_PARAMETERS);
    raw[..end.unwrap_or(raw.len())].split(|byte| *byte == b'\n').any(|line| {
        if !matches!(line.first(), Some(b' ' | b'\t')) {
            let is_via = copied_kind(line) == Some(VIA);
            (count, most) = (0, if is_via { MOST_PARAMETERS_OF_VIA } else { MOST_PARAMETERS });
        }
        count += line.iter().filter(|byte| **byte == b';').count();
        count > most
    })
}

fn is_line_end(byte: &u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

fn judge(message: Message) -> Verdict {
    match message {
        Message::Request(request) => match fault_of_request(&request) {
            None => Verdict::Pass(Box::new(Message::Request(request))),
            Some(status) => refuse(&Message::Request(request).to_bytes(), status),
        },
        Message::Response(response) => {
            if is_sound_response(&response) {
                Verdict::Pass(Box::new(Message::Response(response)))
            } else {
                Verdict::Drop
            }
        }
    }
}

/// The status a request is refused with, if it is not sound.
fn fault_of_request(request: &Request) -> Option<u16> {
    let findings = validate_request(request);
    // RFC 2543 phones send no Max-Forwards, and we do not forward.
    let mut grave = findings.iter().filter(|finding| !finding.is_repairable());
    if let Some(finding) = grave.next() {
        let versions = findings.contains(&Finding::UnsupportedVersion);
        return Some(if versions { 505 } else { finding.status() });
    }
    if !is_clean(&request.headers) || has_odd_repetition(&request.headers) {
        return Some(400);
    }
    let mut vias = 0;
    for via in request.headers.typed_all::<Via>() {
        vias += 1;
        match via {
            Ok(via) if via.branch() != Some(b"z9hG4bK") => {}
            Ok(_) | Err(_) => return Some(400),
        }
        if vias > MOST_VIAS {
            return Some(513);
        }
    }
    if request.method == Method::Invite {
        let mut contacts = request.headers.typed_all::<Contact>();
        let sound = |contact: &Contact| contact.0.uri.scheme().is_sip();
        match (contacts.next(), contacts.next()) {
            (Some(Ok(contact)), None) if sound(&contact) => {}
            (None | Some(_), _) => return Some(400),
        }
    }
    None
}

fn is_sound_response(response: &Response) -> bool {
    validate_response(response).is_empty()
        && is_clean(&response.headers)
        && std::str::from_utf8(&response.reason).is_ok()
}

/// No header may hide anything from a log line, a regular expression or the next parser.
fn is_clean(headers: &sipx_sip::Headers) -> bool {
    headers.iter().all(|header| {
        let value = header.value();
        std::str::from_utf8(&value)
            .is_ok_and(|text| text.chars().all(|c| !c.is_control() || c == '\t'))
    })
}

/// Headers that may stand only once, beyond those that sipx checks.
fn has_odd_repetition(headers: &sipx_sip::Headers) -> bool {
    use sipx_sip::HeaderName::{ContentType, Expires};
    [ContentType, ContentLength, Expires].iter().any(|name| headers.count(name) > 1)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the error may grow new variants")]
const fn status_of(error: &ParseError) -> u16 {
    match error {
        ParseError::Limit { limit: LimitKind::BodyBytes, .. } => 413,
        ParseError::Limit { .. } => 513,
        _ => 400,
    }
}

/// Composes a response to something that may not even parse: from the lines that a response
/// copies, taken as they stand. Requests only, never an ACK, never longer than the request.
fn refuse(raw: &[u8], status: u16) -> Verdict {
    compose_refusal(raw, status).map_or(Verdict::Drop, Verdict::Refuse)
}

fn compose_refusal(raw: &[u8], status: u16) -> Option<Bytes> {
    let start = raw.iter().position(|byte| !is_line_end(byte))?;
    let raw = &raw[start..];
    let end = raw.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(raw.len());
    let lines = split_lines(&raw[..end]);
    let start_line = lines.first()?;
    let is_request = start_line.to_ascii_uppercase().ends_with(b" SIP/2.0")
        || status == 505 && start_line.windows(5).any(|window| window == b" SIP/");
    if !is_request && !looks_like_request(start_line) || start_line.starts_with(b"ACK ") {
        return None;
    }
    let reason = match status {
        413 => "Request Entity Too Large",
        505 => "Version Not Supported",
        513 => "Message Too Large",
        _ => "Bad Request",
    };
    let mut out = format!("SIP/2.0 {status} {reason}\r\n").into_bytes();
    let mut vias = 0;
    let mut seen = [false; 4];
    for line in &lines[1..] {
        let Some(kind) = copied_kind(line) else { continue };
        if !line.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~')) {
            continue;
        }
        if kind == VIA {
            vias += 1;
            // The sender of such a thing is the first; nobody needs the rest of the way.
            if vias > MOST_VIAS {
                continue;
            }
        } else if std::mem::replace(&mut seen[kind], true) {
            continue;
        }
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
    (vias > 0 && out.len() <= raw.len() + start).then(|| Bytes::from(out))
}

const VIA: usize = 4;

/// Which of the headers of a response this line is: From, To, Call-ID, CSeq or Via.
fn copied_kind(line: &[u8]) -> Option<usize> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = line[..colon].trim_ascii_end().to_ascii_lowercase();
    match name.as_slice() {
        b"from" | b"f" => Some(0),
        b"to" | b"t" => Some(1),
        b"call-id" | b"i" => Some(2),
        b"cseq" => Some(3),
        b"via" | b"v" => Some(VIA),
        _ => None,
    }
}

/// A method token, a blank, and something about SIP: enough to owe an answer.
fn looks_like_request(line: &[u8]) -> bool {
    let token = line.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
    token > 0 && line.get(token) == Some(&b' ') && line.windows(8).any(|w| w == b" SIP/2.0")
}

/// Logical lines with folds joined by a blank.
fn split_lines(head: &[u8]) -> Vec<Vec<u8>> {
    let mut lines: Vec<Vec<u8>> = Vec::new();
    for line in head.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match (line.first(), lines.last_mut()) {
            (Some(b' ' | b'\t'), Some(last)) => {
                last.push(b' ');
                last.extend_from_slice(line.trim_ascii_start());
            }
            _ => lines.push(line.to_vec()),
        }
    }
    lines
}

#[cfg(test)]
mod tests;
