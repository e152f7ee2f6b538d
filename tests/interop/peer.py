"""A SIP phone of another make that is told what to do: baresip without sound card and keyboard.
It calls, speaks files, presses keys (RFC 4733), follows a REFER, and records what it hears."""

import contextlib
import math
import pathlib
import re
import subprocess
import time
import wave

import numpy

import rig
from rig import Failed

RATE = 8_000
MODULES = "/usr/lib/baresip/modules"


class Baresip:
    """One phone. `listen` is the port of its SIP socket, on UDP."""

    def __init__(self, name, place, listen, server=None, password=None, answers="auto"):
        self.name, self.place = name, pathlib.Path(place)
        (self.place / "heard").mkdir(parents=True)
        # A player that needs no device, and as microphone a file: silence, until it speaks.
        write(self.place / "silence.wav", numpy.zeros(60 * RATE))
        (self.place / "config").write_text(f"""
sip_listen 127.0.0.1:{listen}
net_interface 127.0.0.1
audio_player aubridge,{name}
audio_source aufile,{self.place}/silence.wav
ausrc_srate {RATE}
auplay_srate {RATE}
ausrc_channels 1
auplay_channels 1
audio_buffer 20-160
jitter_buffer_delay 0-0
call_max_calls 4
module_path {MODULES}
module stdio.so
module g711.so
module aubridge.so
module aufile.so
module sndfile.so
module_app account.so
module_app menu.so
snd_path {self.place}/heard
""")
        (self.place / "contacts").touch()
        registers = f"auth_user={name};auth_pass={password};regint=60" if password else "regint=0"
        at = server or f"127.0.0.1:{listen}"
        (self.place / "accounts").write_text(
            f"<sip:{name}@{at};transport=udp>;{registers};answermode={answers};"
            "audio_codecs=PCMU/8000/1\n")
        self.uri = f"sip:{name}@127.0.0.1:{listen}"
        self.registers = bool(password)

    def __enter__(self):
        with (self.place / "log.txt").open("wb") as log:
            self.process = subprocess.Popen(["baresip", "-f", str(self.place), "-v"],
                                            stdin=subprocess.PIPE, stdout=log, stderr=log)
        self.expect("[1 binding" if self.registers else "baresip is ready", "to be ready")
        return self

    def __exit__(self, kind, *_):
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if kind is not None:
            print(f"--- {self.name} says:\n{self.log()[-3000:]}", flush=True)

    def log(self):
        """What it has said, without the echo of what was typed and the colours."""
        text = (self.place / "log.txt").read_text(errors="replace")
        text = re.sub(r"\x1b\[[0-9;]*m", "", text)
        return "\n".join(line for line in text.splitlines() if not line.startswith("/") and line)

    def expect(self, text, what, within=15, times=1):
        rig.wait_until(lambda: self.log().count(text) >= times or self.process.poll() is not None,
                       within, f"{self.name} {what}")
        if self.process.poll() is not None:
            raise Failed(f"{self.name} has ended with {self.process.returncode}")

    def tell(self, keys):
        self.process.stdin.write(keys.encode())
        self.process.stdin.flush()

    def dial(self, target):
        self.tell(f"/dial {target}\n")
        self.expect("Call established", "to be answered")

    def press(self, *keys):
        """Presses keys one after another; a key is down for a quarter of a second."""
        for key in keys:
            before = self.log().count("send DTMF digit end")
            self.tell(key)
            self.expect("send DTMF digit end", f"to let go of {key}", 5, before + 1)

    def speak(self, samples):
        """Says something (at `RATE`) and is silent again; comes back at once."""
        # At the end of its file baresip would hang up.
        spoken = self.place / f"spoken-{time.monotonic_ns()}.wav"
        write(spoken, numpy.concatenate((samples, numpy.zeros(60 * RATE))))
        self.tell(f"/ausrc aufile,{spoken}\n")

    @staticmethod
    def pause(seconds):
        """As long as it takes to say something: speech has no event that it is over."""
        time.sleep(seconds)

    def hold(self):
        self.tell("x")

    def resume(self):
        self.tell("X")

    def hang_up(self):
        self.tell("b")

    def recordings(self):
        """What each of its calls has heard, the oldest first."""
        return sorted((self.place / "heard").glob("*-dec.wav"))

    def heard(self, number=0):
        """Samples that were heard in a call; silence that was not sent is not in them."""
        recordings = self.recordings()
        if number >= len(recordings):
            return numpy.zeros(0)
        # The length in the header is written at the end of the call only.
        data = recordings[number].read_bytes()
        return numpy.frombuffer(data[44:len(data) - len(data) % 2], "<i2").astype(float)

    def until_quiet(self, number=0, within=20, quiet=0.4):
        """Waits until something was heard and nothing more comes; its length in samples."""
        end = time.monotonic() + within
        length, since = 0, time.monotonic()
        while time.monotonic() < end:
            now = len(self.heard(number))
            if now != length:
                length, since = now, time.monotonic()
            elif length and time.monotonic() - since > quiet:
                return length
            time.sleep(0.02)
        raise Failed(f"{self.name} hears on and on" if length else f"{self.name} hears nothing")


def read(path, rate=RATE):
    """The samples of a mono WAV file, at `rate`."""
    with wave.open(str(path)) as file:
        if (file.getnchannels(), file.getsampwidth()) != (1, 2):
            raise Failed(f"{path}: not mono of 16 bits: {file.getparams()}")
        samples = numpy.frombuffer(file.readframes(file.getnframes()), "<i2").astype(float)
        return resample(samples, file.getframerate(), rate)


def resample(samples, rate, wanted):
    """With an ideal low-pass."""
    if rate == wanted:
        return samples
    # Half a sample at the end would stretch all of it.
    samples = numpy.pad(samples, (0, -len(samples) % (rate // math.gcd(rate, wanted))))
    length = len(samples) * wanted // rate
    spectrum = numpy.fft.rfft(samples)
    kept = numpy.zeros(length // 2 + 1, complex)
    both = min(len(kept), len(spectrum))
    kept[:both] = spectrum[:both]
    return numpy.fft.irfft(kept, length) * length / len(samples)


def write(path, samples, rate=RATE):
    pathlib.Path(path).write_bytes(rig.wav(numpy.round(samples).astype(int).tolist(), rate))
    return path


def loud_length(samples, rate=RATE):
    """Seconds between the first and the last sample that is not silence."""
    loud = numpy.flatnonzero(numpy.abs(samples) > 0.02 * numpy.abs(samples).max())
    return (loud[-1] - loud[0] + 1) / rate


@contextlib.contextmanager
def program(command, place, environment=None):
    """Runs a program (a bot) and yields a function that gives its lines so far."""
    out = pathlib.Path(place) / "bot.txt"
    with out.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        yield lambda: out.read_text(errors="replace").splitlines()
        if process.poll() is not None:
            raise Failed(f"the bot has ended with {process.returncode}")
    except BaseException:
        print(f"--- the bot says:\n{out.read_text(errors='replace')[-4000:]}", flush=True)
        raise
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
