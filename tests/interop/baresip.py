"""baresip (Debian: baresip-core) registers as a configured phone, is called by a bot, and records
the prompt; the recording must be the prompt: correlation at least 0.99, length within 20 ms."""

import argparse
import contextlib
import pathlib
import subprocess
import tempfile
import wave

import numpy

import rig
from rig import Failed, check, passed

USER, PASSWORD, USER_ID = "baresip", "baresip-password", "5f1d9e0c-0000-4000-8000-000000000bae"
CONFIG = f"""
[[phone]]
user = "{USER}"
password = "{PASSWORD}"
user_id = "{USER_ID}"
"""
RATE, HEARD_RATE = 16_000, 8_000
SECONDS = 4.0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    rig.add_server_options(parser)
    parser.add_argument("--modules", default="/usr/lib/baresip/modules")
    options = parser.parse_args()
    with rig.server_of(options, CONFIG) as ready, tempfile.TemporaryDirectory() as folder:
        for transport in ["udp", "tcp"]:
            for codec in ["PCMU", "PCMA"]:
                place = pathlib.Path(folder) / f"{transport}-{codec}"
                one_call(ready, transport, codec, place, options.modules)


def one_call(ready, transport, codec, place, modules):
    what = f"baresip over {transport} with {codec}"
    hook, host, graph = rig.Webhook(), rig.PromptHost(), rig.Graph(ready)
    sent = sweep()
    uri = host.add("sweep.wav", rig.wav(sent.astype(int).tolist(), RATE))
    with baresip(ready, transport, codec, place, modules) as log:
        rig.wait_until(lambda: "200 OK" in log() and "[1 binding" in log(), 15,
                       f"{what} to register; it says:\n{log()[-800:]}")
        passed(f"{what} has registered")
        call = graph.create(hook.url, USER_ID)
        hook.wait(call, "updated established+active")
        operation = graph.play(call, uri)
        ended = hook.wait(call, "deleted operation completed", SECONDS + 10, operation)
        sent_ms = ended.data["graphophoneReceipt"]["prompts"][0]["millisecondsSent"]
        check(abs(sent_ms - 1000 * SECONDS) <= 20, f"{what}: the receipt says {sent_ms} ms sent")
        graph.hang_up(call)
        hook.wait(call, "deleted terminated")
        rig.wait_until(lambda: "terminated (duration" in log(), 10, f"{what} to see the hang-up")
    recordings = list((place / "heard").glob("*-dec.wav"))
    check(len(recordings) == 1, f"{what} has recorded", recordings)
    compare(sent, recordings[0], what)


def sweep():
    """300 to 3,000 Hz: every moment of it is unlike any other, so a shift cannot hide."""
    time = numpy.arange(round(RATE * SECONDS)) / RATE
    phase = 2 * numpy.pi * (300 * time + (3_000 - 300) / (2 * SECONDS) * time ** 2)
    return numpy.round(0.5 * 32_767 * numpy.sin(phase))


def compare(sent, recording, what):
    with wave.open(str(recording)) as file:
        if (file.getframerate(), file.getnchannels(), file.getsampwidth()) != (HEARD_RATE, 1, 2):
            raise Failed(f"{what}: an unexpected recording format {file.getparams()}")
        heard = numpy.frombuffer(file.readframes(file.getnframes()), "<i2").astype(float)
    expected = halve(sent)
    best, at = correlate(expected, heard)
    check(best >= 0.99, f"{what}: correlation with the sent audio {best:.4f} "
          f"({1000 * at / HEARD_RATE:.0f} ms into the recording)")
    loud = numpy.flatnonzero(numpy.abs(heard) > 0.02 * numpy.abs(heard).max())
    length = (loud[-1] - loud[0] + 1) / HEARD_RATE
    check(abs(length - SECONDS) <= 0.02, f"{what}: {1000 * length:.1f} ms heard of "
          f"{1000 * SECONDS:.0f} ms sent")


def halve(samples):
    """16 kHz to 8 kHz with an ideal low-pass."""
    spectrum = numpy.fft.rfft(samples)
    return numpy.fft.irfft(spectrum[:len(samples) // 4 + 1], len(samples) // 2) / 2


def correlate(expected, heard):
    """Greatest normalised cross-correlation, and the shift it is at."""
    if len(heard) < len(expected):
        heard = numpy.pad(heard, (0, len(expected) - len(heard)))
    size = 1 << (len(heard) + len(expected)).bit_length()
    products = numpy.fft.irfft(
        numpy.fft.rfft(heard, size) * numpy.conj(numpy.fft.rfft(expected, size)), size)
    energy = numpy.concatenate(([0.0], numpy.cumsum(heard ** 2)))
    shifts = len(heard) - len(expected) + 1
    windows = energy[len(expected):len(expected) + shifts] - energy[:shifts]
    scores = products[:shifts] / numpy.sqrt(
        numpy.maximum(windows, 1.0) * numpy.sum(expected ** 2))
    at = int(numpy.argmax(scores))
    return float(scores[at]), at


@contextlib.contextmanager
def baresip(ready, transport, codec, place, modules):
    """Runs without sound card and keyboard; yields a function that gives its log so far."""
    (place / "heard").mkdir(parents=True)
    # aubridge is player and source in one (it hands back what it hears): it needs no device.
    # A jitter buffer would keep the last packets for itself when nothing follows them.
    (place / "config").write_text(f"""
sip_listen 127.0.0.1:0
net_interface 127.0.0.1
audio_player aubridge,loop
audio_source aubridge,loop
ausrc_srate {HEARD_RATE}
auplay_srate {HEARD_RATE}
ausrc_channels 1
auplay_channels 1
audio_buffer 20-160
jitter_buffer_delay 0-0
module_path {modules}
module g711.so
module aubridge.so
module sndfile.so
module_app account.so
module_app menu.so
snd_path {place}/heard
""")
    address = ready.sip[transport]
    (place / "accounts").write_text(
        f"<sip:{USER}@{address};transport={transport}>;auth_user={USER};auth_pass={PASSWORD};"
        f"answermode=auto;regint=60;audio_codecs={codec}/8000/1\n")
    (place / "contacts").touch()
    out = place / "log.txt"
    with out.open("wb") as log:
        process = subprocess.Popen(["baresip", "-f", str(place), "-v"], stdin=subprocess.DEVNULL,
                                   stdout=log, stderr=log)
    try:
        yield lambda: out.read_text(errors="replace")
    except Failed:
        print(out.read_text(errors="replace")[-3000:], flush=True)
        raise
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


if __name__ == "__main__":
    rig.run(main)
