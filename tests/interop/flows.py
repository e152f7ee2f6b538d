"""The bots of examples/bots on Microsoft's SDKs, with baresip as caller and as whom callers are
transferred to: SimpleIvr (a menu, keys, a transfer) and VoiceRecorder (record, download, play back)."""

import argparse
import contextlib
import json
import os
import pathlib
import re
import shutil
import sys
import tempfile
import time
import urllib.error
import urllib.request
import wave

import rig
from baresip import correlate
from peer import RATE, Baresip, loud_length, program, read
from rig import Failed, check, passed
from sipp import APP, TENANT, free_port

BOTS = rig.ROOT / "examples" / "bots"
SPEECH = rig.ROOT / "crates" / "graphophone" / "assets" / "demo-1.wav"
ALICE, BOB = "00000000-0000-0000-0000-00000000a11c", "00000000-0000-0000-0000-000000000b0b"
CONFIG = f"""
[[phone]]
user = "alice"
password = "alice-password"
user_id = "{ALICE}"

[[phone]]
user = "bob"
password = "bob-password"
user_id = "{BOB}"

[[app]]
id = "{APP}"
tenant = "{TENANT}"
secret = "dev-client-secret"
roles = ["Calls.Initiate.All", "Calls.InitiateGroupCall.All", "Calls.JoinGroupCall.All", "Calls.AccessMedia.All"]
calling_webhook = "http://127.0.0.1:PORT/api/calls"
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    rig.add_server_options(parser)
    parser.add_argument("--webhook-port", type=int,
                        help="with --ready-file: port of that server's calling_webhook")
    parser.add_argument("--node", help="a `node`; without it the JavaScript bots are left out")
    parser.add_argument("--node-modules", type=pathlib.Path,
                        help="directory in which node_modules lies; the bots are copied there")
    parser.add_argument("--only", action="append", default=[], choices=[*FLOWS, *KINDS])
    options = parser.parse_args()
    port = options.webhook_port or free_port()
    config = CONFIG.replace("PORT", str(port))
    with rig.server_of(options, config) as ready, \
            tempfile.TemporaryDirectory(prefix="graphophone-flows-") as folder:
        folder = pathlib.Path(folder)
        for kind in chosen(KINDS, options):
            if kind.startswith("node") and not options.node:
                continue
            for name in chosen(FLOWS, options):
                place = folder / f"{kind}-{name}"
                place.mkdir()
                bot = Bot(kind, ready, place, port, options)
                FLOWS[name](bot)
                passed(f"{name} on {kind} took {time.monotonic() - bot.begun:.1f} s")


def chosen(all_of_them, options):
    return [one for one in all_of_them if one in options.only] or all_of_them


class Bot:
    """One of examples/bots, as written, and what it says."""

    def __init__(self, kind, ready, place, port, options):
        self.kind, self.ready, self.place, self.port = kind, ready, place, port
        self.options, self.lines, self.begun = options, None, None
        self.ready_file = place / "ready.json"
        self.ready_file.write_text(json.dumps(vars(ready)))

    def say(self, text):
        return f"{self.kind}: {text}"

    @contextlib.contextmanager
    def run(self, name, *arguments):
        environment = dict(os.environ, NODE_EXTRA_CA_CERTS=self.ready.ca)
        command = [*self.command(name), str(self.ready_file), "--port", str(self.port), *arguments]
        with program(command, self.place, environment) as self.lines:
            rig.wait_until(lambda: any("listens at" in line for line in self.lines()), 180,
                           f"{name} to listen")
            self.begun = time.monotonic()
            yield

    def command(self, name):
        if self.kind == "python":
            return [sys.executable, str(BOTS / "python" / f"{name}.py")]
        if self.kind == "python-beta":
            # What the first line of bot.py says: another package, and nothing else.
            copy = self.place / "bots"
            shutil.copytree(BOTS, copy, dirs_exist_ok=True)
            for file in (copy / "python").glob("*.py"):
                file.write_text(re.sub(r"\bmsgraph\.", "msgraph_beta.", file.read_text()))
            return [sys.executable, str(copy / "python" / f"{name}.py")]
        # Node resolves imports from where the script lies.
        copy = self.options.node_modules / "bots"
        shutil.copytree(BOTS, copy, dirs_exist_ok=True)
        version = "beta" if self.kind == "node-beta" else "v1.0"
        return [self.options.node, str(copy / "node" / f"{name}.mjs"), "--version", version]

    def told(self):
        """The notifications of its one call, in short and in order."""
        calls = re.compile(r"([0-9a-f-]{36}) ((?:created|updated|deleted) .*)")
        return [found[2] for line in self.lines() if (found := calls.fullmatch(line))]

    def expect(self, told, within=30):
        """Waits for a notification that matches, and says which one in the order it was."""
        def found():
            return next((n + 1 for n, line in enumerate(self.told()) if re.fullmatch(told, line)), 0)
        try:
            return rig.wait_until(found, within, f"the bot to be told {told!r}")
        except Failed as failure:
            raise Failed(f"{failure}; it was told {self.told()}") from failure

    def judge(self, expected):
        """Everything it was told, against one pattern for each notification."""
        told = self.told()
        good = len(told) == len(expected) and all(map(re.fullmatch, expected, told))
        check(good, self.say(f"the bot was told {len(told)} things, in order, each once"), told)
        wrong = [line for line in self.lines() if "error" in line]
        check(not wrong, self.say("no request of the bot failed"), wrong)

    def forge(self):
        """A notification that the server has not sent must not be taken."""
        other = "eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ.eyJpc3MiOiJodHRwczovL2dyYXBoLm1pY3Jvc29mdC5jb20ifQ.AAAA"
        for token in [None, other]:
            request = urllib.request.Request(
                f"http://127.0.0.1:{self.port}/api/calls", b'{"value": []}',
                {"Authorization": f"Bearer {token}"} if token else {}, method="POST")
            try:
                status = urllib.request.urlopen(request, timeout=10).status
            except urllib.error.HTTPError as error:
                status = error.code
            if status != 401:
                raise Failed(f"the bot takes a notification with token {token}: {status}")
        passed(self.say("the bot refuses a notification without a token, and with a forged one"))


def ivr(bot):
    """Incoming call, menu, keys, transfer to another phone; both then talk to each other."""
    sip = bot.ready.sip["udp"]
    with bot.run("simple_ivr", "--person", BOB), \
            Baresip("bob", bot.place / "bob", free_port(), sip, "bob-password") as bob, \
            Baresip("alice", bot.place / "alice", free_port(), sip, "alice-password") as alice:
        bot.forge()
        alice.dial(f"sip:ivr@{sip}")
        menu = read(BOTS / "prompts" / "menu.wav")
        rig.wait_until(lambda: len(alice.heard()) >= len(menu) + RATE // 2, 30,
                       f"alice to hear the menu; the bot was told {bot.told()}")
        best, _ = correlate(menu, alice.heard())
        check(best >= 0.98, bot.say(f"alice hears the menu: correlation {best:.4f}"))
        alice.press("2")
        bot.expect(r"deleted playPromptOperation failed 400/8508")
        alice.press("1")
        bot.expect(r"deleted playPromptOperation completed 200/0")
        best, _ = correlate(read(BOTS / "prompts" / "transfer.wav"), alice.heard())
        check(best >= 0.98, bot.say(f"alice hears who she is given to: correlation {best:.4f}"))
        bot.expect(r"deleted terminated .*/7015")
        bob.expect("Call established", "to be called")
        alice.expect("Call established", "to call who she is transferred to", times=2)
        alice.expect("terminated (duration", "to leave the bot")
        bot.judge([
            "created incoming", "updated establishing", "updated established",
            "updated established active", "updated established tone2 #1",
            "deleted playPromptOperation failed 400/8508", "updated established tone1 #2",
            "deleted playPromptOperation failed 400/8508",
            "deleted playPromptOperation completed 200/0", "updated transferring",
            "updated transferAccepted", r"deleted terminated (0|200)/7015"])
        for one, other, number in [(alice, bob, 0), (bob, alice, 1)]:
            heard_by(bot, one, other, number)
        alice.hang_up()
        bob.expect("terminated (duration", "to see alice hang up")


def refused(bot):
    """The transfer is refused: the caller is still with the bot, and hears the menu again."""
    sip = bot.ready.sip["udp"]
    with bot.run("simple_ivr", "--person", BOB), \
            Baresip("bob", bot.place / "bob", free_port(), sip, "bob-password", "manual") as bob, \
            Baresip("alice", bot.place / "alice", free_port(), sip, "alice-password") as alice:
        alice.dial(f"sip:ivr@{sip}")
        rig.wait_until(lambda: len(alice.heard()) > RATE // 2, 30, "alice to hear the menu")
        alice.press("1")
        bot.expect("updated transferring")
        bob.expect("Incoming call", "to be called")
        before = len(alice.heard())
        bob.hang_up()
        failed = "updated established .*/7[07]00"
        bot.expect(failed)
        menu = read(BOTS / "prompts" / "menu.wav")
        rig.wait_until(lambda: len(alice.heard()) >= before + len(menu) + RATE // 2, 15,
                       f"alice to hear the menu again; the bot was told {bot.told()}")
        best, _ = correlate(menu, alice.heard()[before:])
        check(best >= 0.98, bot.say(f"alice hears the menu again: correlation {best:.4f}"))
        alice.hang_up()
        bot.expect("deleted terminated .*")
        bot.judge([
            "created incoming", "updated establishing", "updated established",
            "updated established active", "updated established tone1 #1",
            "deleted playPromptOperation failed 400/8508",
            "deleted playPromptOperation completed 200/0", "updated transferring",
            *(["updated transferAccepted"] if "updated transferAccepted" in bot.told() else []),
            failed, "deleted terminated .*"])


def heard_by(bot, speaker, listener, number):
    speech = read(SPEECH)[:2 * RATE]
    before = len(listener.heard(number))
    speaker.speak(speech)
    rig.wait_until(lambda: len(listener.heard(number)) >= before + len(speech) + RATE // 2, 15,
                   f"{listener.name} to hear {speaker.name}")
    best, _ = correlate(speech, listener.heard(number)[before:])
    check(best >= 0.98, bot.say(f"{listener.name} hears {speaker.name}: correlation {best:.4f}"))


def recorder(bot):
    """Incoming call, prompt and beep, speech, stop tone, download, playback, hang-up."""
    sip = bot.ready.sip["udp"]
    speech = read(SPEECH)
    with bot.run("voice_recorder", "--folder", str(bot.place)), \
            Baresip("alice", bot.place / "alice", free_port(), sip, "alice-password") as alice:
        alice.dial(f"sip:recorder@{sip}")
        asked = alice.until_quiet()
        best, _ = correlate(read(BOTS / "prompts" / "record.wav"), alice.heard())
        check(best >= 0.98, bot.say(f"alice is asked to speak: correlation {best:.4f}"))
        alice.speak(speech)
        alice.pause(len(speech) / RATE + 0.2)
        alice.press("#")
        bot.expect(r"deleted recordOperation completed 200/8514")
        bot.expect(r"deleted terminated 200/7000")
        alice.expect("terminated (duration", "to be hung up")
        bot.judge([
            "created incoming", "updated establishing", "updated established",
            "updated established active", "deleted recordOperation completed 200/8514",
            "deleted playPromptOperation completed 200/0", "updated terminating",
            "deleted terminated 200/7000"])
        recordings = list(bot.place.glob("*.wav"))
        check(len(recordings) == 1, bot.say("the bot has downloaded a recording"), recordings)
        with wave.open(str(recordings[0])) as file:
            format_ = (file.getframerate(), file.getnchannels(), file.getsampwidth())
        check(format_ == (16_000, 1, 2), bot.say("it is 16 kHz, mono, 16 bits"), format_)
        compare(bot, "recorded", speech, read(recordings[0]))
        compare(bot, "played back", speech, alice.heard()[asked + len(read(BOTS / "prompts" / "heard.wav")):])


def compare(bot, what, spoken, got):
    best, _ = correlate(spoken, got)
    check(best >= 0.98, bot.say(f"what alice said is {what}: correlation {best:.4f}"))
    lengths = [1_000 * loud_length(samples) for samples in (spoken, got)]
    check(abs(lengths[0] - lengths[1]) <= 40, bot.say(
        f"{what}: {lengths[1]:.0f} ms of {lengths[0]:.0f} ms spoken"))


FLOWS = {"ivr": ivr, "refused": refused, "recorder": recorder}
KINDS = ["python", "python-beta", "node", "node-beta"]

if __name__ == "__main__":
    rig.run(main)
