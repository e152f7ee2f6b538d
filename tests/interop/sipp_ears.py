"""What sipp lacks when it takes part in a conversation: ears, and somebody who tells it to go on."""

import socket
import threading

import numpy


class Ears:
    """A socket whose port sipp names for its audio (PCMU), and what comes there."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.payloads, self.lock = {}, threading.Lock()

    def __enter__(self):
        threading.Thread(target=self.listen, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.socket.close()

    def listen(self):
        while True:
            try:
                packet = self.socket.recv(2048)
            except OSError:
                return
            # RTP version 2, payload type 0 (RFC 3550 §5.1); RTCP has others.
            if len(packet) > 12 and packet[0] == 0x80 and packet[1] & 0x7F == 0:
                with self.lock:
                    self.payloads.setdefault(int.from_bytes(packet[4:8], "big"), packet[12:])

    def heard(self):
        """Samples in the order of their timestamps; silence that was not sent is not in them."""
        with self.lock:
            data = b"".join(self.payloads[at] for at in sorted(self.payloads))
        return LINEAR[numpy.frombuffer(data, numpy.uint8)]

    @staticmethod
    def nudge(port, call_id, number):
        """Lets the scenario of the sipp at `port` go on that waits for OPTIONS."""
        request = (f"OPTIONS sip:keys@127.0.0.1:{port} SIP/2.0\r\n"
                   f"Via: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bK-nudge-{number}\r\n"
                   f"From: <sip:nudge@127.0.0.1>;tag={number}\r\nTo: <sip:keys@127.0.0.1>\r\n"
                   f"Call-ID: {call_id}\r\nCSeq: {number} OPTIONS\r\nContent-Length: 0\r\n\r\n")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as once:
            once.sendto(request.encode(), ("127.0.0.1", port))


def linear(code):
    """ITU-T G.711: one µ-law octet to 16 bits."""
    code = ~code & 0xFF
    magnitude = ((code & 0x0F) << 3) + 132 << (code >> 4 & 7)
    return (132 - magnitude) if code & 0x80 else (magnitude - 132)


LINEAR = numpy.array([linear(code) for code in range(256)], float)
