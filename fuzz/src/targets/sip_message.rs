//! A SIP datagram: what passes is printed as something that passes and prints the same; what is
//! refused gets an answer no longer than itself; memory is a small multiple of the input.

use graphophone_sip::fuzzing::{Judged, datagram};

pub(crate) fn run(data: &[u8]) {
    let mut judged = None;
    let used = allocation_counter::measure(|| judged = Some(datagram(data)));
    // Structures around small slices; nothing by a length that the message declares.
    assert!(used.bytes_max <= 64 * data.len() as u64 + 65_536, "{} bytes", used.bytes_max);
    match judged.expect("measured") {
        Judged::Pass { printed, body } => match datagram(&printed) {
            Judged::Pass { printed: again, body: same } => {
                assert!(printed == again, "printed anew, it is another message");
                assert!(body == same, "printed anew, it has another body");
            }
            Judged::Refuse(_) | Judged::Drop => panic!("what we print we refuse"),
        },
        Judged::Refuse(response) => {
            assert!(response.len() <= data.len(), "a refusal longer than the request");
            assert!(response.starts_with(b"SIP/2.0 ") && response.ends_with(b"\r\n\r\n"));
        }
        Judged::Drop => {}
    }
}
