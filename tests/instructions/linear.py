#!/usr/bin/env python3
"""Shows that parsing is linear: twice the input costs at most 2.3 times the instructions (P16).

Instructions, not seconds: the same on a busy machine. Each generator makes a foreign input of a
size and of twice that size, by which a careless parser is slow; the fuzz build (fuzz/run.py) takes
each once under callgrind, and an empty input to know what starting costs. A generator that costs
hardly anything is refused early, which is as good.

    tests/instructions/linear.py           all, two at a time; prints `ok NAME: …`
    tests/instructions/linear.py --times   how long the largest that is taken lasts, in milliseconds
"""
import base64
import concurrent.futures
import os
import pathlib
import re
import struct
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "target" / "debug" / "graphophone-fuzz"
MOST = 2.3
# Members of one object go into an ordered map: n log n, for at most 4,000 values.
MOST_IN_A_MAP = 2.5
# Less than this is not worth a ratio: what is refused early, or lies below the allocator's noise.
FEW = 300_000
PATIENCE = 60

HEAD = (b"OPTIONS sip:bot@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n"
        b"Max-Forwards: 70\r\nFrom: <sip:a@example.com>;tag=1\r\nTo: <sip:bot@example.com>\r\n"
        b"Call-ID: c1\r\nCSeq: 1 OPTIONS\r\n")
INVITE = HEAD.replace(b"OPTIONS", b"INVITE") + b"Contact: <sip:a@192.0.2.10>\r\n"
SDP = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
PROMPT = (b'{"prompts":[{"@odata.type":"#microsoft.graph.mediaPrompt","mediaInfo":{"uri":'
          b'"http://127.0.0.1/a.wav"}}]')


def sip(headers, body=b""):
    return HEAD + headers + b"Content-Length: %d\r\n\r\n" % len(body) + body


def many(make):
    return lambda n: b"".join(make(k) for k in range(n))


def multipart(boundary, body):
    head = INVITE + b'Content-Type: multipart/mixed;boundary="%s"\r\n' % boundary
    # Not a multiple of eight octets long: those are a stranger's (fuzz/src/targets/sip_agent.rs).
    head += b"Content-Length: %d\r\n" % len(body)
    head += b"X: %s\r\n\r\n" % (b"x" * ((8 - (len(head) + len(body) + 7) % 8) % 8 + 1))
    return head + body


def riff(chunks):
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WAVE" + chunks


def chunk(name, body):
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


FMT = chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, 16_000, 32_000, 2, 16))


def report(blocks):
    words = 6 * blocks + 6
    return (bytes([0x80 | blocks, 200]) + struct.pack(">H", words) + bytes(24)
            + blocks * struct.pack(">IIIIII", 7, 1, 2, 3, 4, 5))


# (target, name, generator, size): the input for `size` and for twice as much.
GENERATORS = [
    ("sip_message", "distinct headers", lambda n: sip(many(lambda k: b"X%d: y\r\n" % k)(n)), 55),
    ("sip_message", "headers beyond the limit", lambda n: sip(b"X: y\r\n" * n), 1_200),
    ("sip_message", "distinct headers beyond the limit",
     lambda n: sip(many(lambda k: b"X%d: y\r\n" % k)(n)), 750),
    ("sip_message", "folded lines", lambda n: sip(b"Subject: x" + b"\r\n y" * n + b"\r\n"), 8),
    ("sip_message", "folded lines beyond the limit",
     lambda n: sip(b"Subject: x" + b"\r\n y" * n + b"\r\n"), 1_800),
    ("sip_message", "long folded lines",
     lambda n: sip(b"Subject: x" + (b"\r\n " + b"y" * n) * 16 + b"\r\n"), 250),
    ("sip_message", "Vias", lambda n: sip(b"Via: SIP/2.0/UDP h;branch=z9hG4bK2\r\n" * n), 15),
    ("sip_message", "Vias in one header",
     lambda n: sip(b"Via: " + b",".join([b"SIP/2.0/UDP h;branch=z9hG4bK2"] * n) + b"\r\n"), 130),
    ("sip_message", "commas in Via", lambda n: sip(b"Via: " + b"," * n + b"\r\n"), 1_000),
    ("sip_message", "parameters of Via",
     lambda n: sip(b"Via: SIP/2.0/UDP h;branch=z9hG4bK2"
                   + many(lambda k: b";p%d=1" % k)(n) + b"\r\n"), 100),
    ("sip_message", "parameters of a Contact",
     lambda n: INVITE.replace(b">\r\nC", b">" + many(lambda k: b";p%d" % k)(n) + b"\r\nC")
     + b"Content-Length: 0\r\n\r\n", 120),
    ("sip_message", "list of Contacts",
     lambda n: sip(b"Contact: " + b",".join([b"<sip:a@b>"] * n) + b"\r\n"), 100),
    ("sip_message", "quoted pairs in a name",
     lambda n: sip(b"").replace(b"To: ", b'To: "' + b'\\"' * n + b'" '), 500),
    ("sip_message", "open brackets", lambda n: sip(b"Contact: " + b"<(\"" * n + b"\r\n"), 320),
    ("sip_message", "parameters of the Request-URI",
     lambda n: sip(b"").replace(b"example.com SIP",
                                b"example.com" + many(lambda k: b";p%d=1" % k)(n) + b" SIP", 1),
     750),
    ("sip_message", "parameters of To's URI",
     lambda n: sip(b"").replace(b"To: <sip:bot@example.com",
                                b"To: <sip:bot@example.com" + many(lambda k: b";p%d=1" % k)(n)),
     150),
    ("sip_message", "as many parameters as there may be, in many fields",
     lambda n: sip((b"Route: <sip:a@b" + many(lambda k: b";p%d" % k)(60) + b">\r\n") * n), 50),
    ("sip_message", "escapes in the Request-URI",
     lambda n: sip(b"").replace(b"sip:bot", b"sip:" + b"%41" * n, 1), 2_000),
    ("sip_message", "a long method", lambda n: sip(b"").replace(b"OPTIONS", b"O" * n), 2_500),
    ("sip_message", "line ends only", lambda n: b"\r\n" * n, 3_800),
    ("sip_message", "a body", lambda n: sip(b"", b"x" * n), 7_500),
    ("sip_message", "headers that are refused and copied",
     lambda n: b"OPTIONS x SIP/2.0\r\n" + b"Via: x\r\n \r\n" * n + b"\r\n", 620),
    ("sip_framing_diff", "a header octet by octet",
     lambda n: sip(b"Subject: " + b"x" * n + b"\r\n"), 880),
    ("sip_framing_diff", "a body octet by octet", lambda n: sip(b"", b"x" * n), 3_800),
    ("sip_framing_diff", "a header section without end octet by octet",
     lambda n: HEAD + b"X: y\r\n" * n, 620),
    ("sip_framing_diff", "messages one after another", lambda n: sip(b"") * n, 25),
    ("sip_framing_diff", "keep-alives", lambda n: b"\r\n" * n, 110),
    ("sip_agent", "delimiters of a multipart body",
     lambda n: multipart(b"b", b"--b\r\n" * n), 1_200),
    ("sip_agent", "a body like its long delimiter",
     lambda n: multipart(b"-" * 3_000, b"-" * n), 5_000),
    ("sip_auth", "parameters of credentials",
     lambda n: b"Digest " + many(lambda k: b"p%d=1, " % k)(n), 500),
    ("sip_auth", "an open quotation", lambda n: b'Digest realm="' + b"\\" * n, 5_000),
    ("sdp", "attributes", lambda n: SDP + b"m=audio 4000 RTP/AVP 0\r\n" + b"a=x\r\n" * n, 750),
    ("sdp", "formats", lambda n: SDP + b"m=audio 4000 RTP/AVP" + b" 0" * n + b"\r\n", 1_800),
    ("sdp", "formats and their mappings",
     lambda n: SDP + b"m=audio 4000 RTP/AVP" + b" 99" * n + b"\r\n"
     + b"a=rtpmap:98 x/1\r\n" * (n // 4), 500),
    ("sdp", "media lines", lambda n: SDP + b"m=audio 0 RTP/AVP 0\r\n" * n, 180),
    ("sdp", "lines that are passed over", lambda n: SDP + b"z=1\r\n" * n, 750),
    ("wav", "chunks", lambda n: riff(chunk(b"JUNK", b"xy") * n + FMT + chunk(b"data", bytes(4))),
     120),
    ("wav", "chunks beyond the limit", lambda n: riff(chunk(b"JUNK", b"") * n), 1_200),
    ("wav", "one long chunk",
     lambda n: riff(chunk(b"LIST", bytes(n)) + FMT + chunk(b"data", bytes(4))), 50_000),
    ("wav", "samples", lambda n: riff(FMT + chunk(b"data", bytes(2 * n))), 10_000),
    ("odata_json", "nesting", lambda n: b'{"a":' * n + b"1" + b"}" * n, 30),
    ("odata_json", "nesting beyond the limit", lambda n: b"[" * n, 25_000),
    ("odata_json", "members",
     lambda n: PROMPT + many(lambda k: b',"m%d":1' % k)(n) + b"}", 380),
    ("odata_json", "values beyond the limit", lambda n: b"[" + b"0," * n + b"0]", 25_000),
    ("odata_json", "the same member twice at the end",
     lambda n: b"{" + many(lambda k: b'"m%d":1,' % k)(n) + b'"m0":1}', 380),
    ("odata_json", "a long text", lambda n: PROMPT + b',"clientContext":"' + b"x" * n + b'"}',
     50_000),
    ("odata_json", "escapes", lambda n: PROMPT + b',"x":"' + b"\\u00e9" * n + b'"}', 10_000),
    ("odata_json", "blanks", lambda n: PROMPT + b" " * n + b"}", 50_000),
    ("odata_json", "line ends before a fault", lambda n: b"{" + b"\n" * n + b"x", 50_000),
    ("rtp_rtcp", "report blocks", lambda n: report(31) * n, 120),
    ("rtp_rtcp", "events in a packet",
     lambda n: bytes([0x80, 101, 0, 1]) + bytes(8) + bytes([5, 0x8A, 3, 0x20]) * n, 1_000),
    ("url_policy", "labels of a host", lambda n: b"https://" + b"a." * n + b"com/", 480),
    ("url_policy", "a label of ASCII", lambda n: b"https://" + b"a" * n + b".com/", 980),
    ("url_policy", "a label of Unicode",
     lambda n: b"https://" + "\u00fc".encode() * n + b".com/", 480),
    ("url_policy", "a label of Unicode in ASCII",
     lambda n: b"https://xn--" + b"tda" * n + b".com/", 300),
    ("url_policy", "dots of a path", lambda n: b"https://a.com" + b"/.." * n, 320),
    ("jwt", "a token", lambda n: b"\0" + base64.urlsafe_b64encode(b"x" * n) + b".e30.", 1_500),
    ("jwt", "members of a token request", lambda n: b"\6" + b"a=b&" * n, 980),
    ("http_values", "directives", lambda n: b"\0" + b"x, " * n, 5_000),
]


def environment(target):
    return dict(os.environ, GRAPHOPHONE_FUZZ_TARGET=target)


def count(target, data):
    """Instructions of a process that takes one input."""
    with tempfile.TemporaryDirectory() as scratch:
        file = pathlib.Path(scratch, "input")
        file.write_bytes(data)
        ran = subprocess.run(
            ["valgrind", "--tool=callgrind", f"--callgrind-out-file={scratch}/out", PROGRAM,
             "-rss_limit_mb=0", "-timeout=1000", file],
            env=environment(target), capture_output=True, text=True, timeout=PATIENCE)
    collected = re.search(r"Collected\s*:\s*(\d+)", ran.stderr)
    if ran.returncode != 0 or not collected:
        sys.exit(f"{target} has failed:\n{ran.stderr[-3_000:]}")
    return int(collected.group(1))


def times():
    """The largest input of each generator, ten times in one process."""
    for target, name, generator, size in GENERATORS:
        with tempfile.NamedTemporaryFile() as file:
            file.write(generator(2 * size))
            file.flush()
            ran = subprocess.run([PROGRAM, "-runs=10", file.name], env=environment(target),
                                 capture_output=True, text=True, timeout=PATIENCE)
        took = re.search(r"Executed .* in (\d+) ms", ran.stderr)
        print(f"{target}: {name}: {len(generator(2 * size))} bytes, "
              f"{int(took.group(1)) / 10 if took else '?'} ms")


def main():
    if not PROGRAM.exists():
        sys.exit("build it first: fuzz/run.py --seconds 1 sdp")
    if "--times" in sys.argv:
        return times()
    failed = False
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        starts = {target: pool.submit(count, target, b"")
                  for target in dict.fromkeys(row[0] for row in GENERATORS)}
        costs = [(row, [pool.submit(count, row[0], row[2](size)) for size in (row[3], 2 * row[3])])
                 for row in GENERATORS]
        for (target, name, _, size), counted in costs:
            once, twice = (max(0, future.result() - starts[target].result()) for future in counted)
            ratio = twice / once if once > FEW or twice > 10 * FEW else 1.0
            line = f"{target}: {name}: {ratio:.2f} times the instructions for twice the input"
            line += f" ({once} for {size})"
            most = MOST_IN_A_MAP if "member" in name and target == "odata_json" else MOST
            failed |= ratio > most
            print(f"FAILED {line}" if ratio > most else f"ok {line}", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
