//! RTP and RTCP datagrams: what is read lies within the datagram, and what we write we read.

use graphophone_media::{
    dtmf::KeyPresses,
    rtcp,
    rtp::{HEADER_LEN, Packet, is_rtcp},
};

pub(crate) fn run(data: &[u8]) {
    if let Ok(packet) = Packet::parse(data) {
        assert!(packet.payload.len() + HEADER_LEN <= data.len());
        let mut header = [0; HEADER_LEN];
        packet.header.write(&mut header);
        let rewritten = [&header[..], packet.payload].concat();
        assert_eq!(Packet::parse(&rewritten), Ok(packet), "written anew, it is another packet");
        let mut keys = Vec::new();
        KeyPresses::default().packet(
            packet.header.marker,
            packet.header.timestamp,
            packet.payload,
            |code| keys.push(code),
        );
        assert!(keys.len() <= packet.payload.len() / 4 && keys.iter().all(|code| *code <= 16));
    }
    if let Ok(items) = rtcp::parse(data) {
        assert!(data.len() % 4 == 0, "RTCP is made of words");
        // A BYE names its sources in a word each, and nothing is shorter.
        assert!(items.count() <= data.len() / 4);
        let first = data[1];
        assert!(is_rtcp(data), "a report of type {first} is taken for audio");
    }
}
