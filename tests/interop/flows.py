"""The bots of examples/bots on Microsoft's SDKs, with baresip as caller and as whom callers are
transferred to: SimpleIvr (a menu, keys, a transfer) and VoiceRecorder (record, download, play back).
SimpleIvr once more with sipp as caller, whose keys come by SIP INFO."""

import argparse
import concurrent.futures
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
from sipp import APP, TENANT, Sipp, free_port
from sipp_ears import Ears

BOTS = rig.ROOT / "examples" / "bots"
SPEECH = rig.ROOT / "crates" / "graphophone" / "assets" / "demo-1.wav"
PHONES = {"alice": "00000000-0000-0000-0000-00000000a11c",
          "bob": "00000000-0000-0000-0000-000000000b0b",
          "carol": "00000000-0000-0000-0000-000000000ca1"}
# Each bot has an application and a number.
APPS = {"ivr": APP, "recorder": "aaaaaaaa-bbbb-cccc-dddd-ffffffffffff"}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    rig.add_server_options(parser)
    parser.add_argument("--node", help="a `node`; without it the JavaScript bots are left out")
    parser.add_argument("--node-modules", type=pathlib.Path,
                        help="directory in which node_modules lies; the bots are copied there")
    parser.add_argument("--only", action="append", default=[], choices=KINDS)
    options = parser.parse_args()
    if options.ready_file:
        raise Failed("these flows need a server with their own configuration: without --ready-file")
    ports = {name: free_port() for name in APPS}
    with rig.server_of(options, config(ports)) as ready, \
            tempfile.TemporaryDirectory(prefix="graphophone-flows-") as folder:
        for kind in options.only or KINDS:
            if kind.startswith("python") or options.node:
                run(kind, ready, pathlib.Path(folder), ports, options)


def run(kind, ready, folder, ports, options):
    """Both bots on one client, each busy with its own callers."""
    begin = time.monotonic()
    ivr_bot, recorder_bot = (Bot(kind, name, ready, folder, ports[name], options) for name in APPS)
    recorder_bot.more = ["--folder", str(recorder_bot.place)]
    ivr_bot.more = ["--person", PHONES["bob"]]
    with ivr_bot, recorder_bot:
        for bot in (ivr_bot, recorder_bot):
            bot.listens()
        passed(f"{kind}: the bots listen after {time.monotonic() - begin:.1f} s")
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for work in [pool.submit(converse, ivr_bot, [ivr, *MORE.get(kind, [])]),
                         pool.submit(converse, recorder_bot, [recorder])]:
                work.result()
    passed(f"{kind} took {time.monotonic() - begin:.1f} s")


def converse(bot, flows):
    for flow in flows:
        bot.begin(flow.__name__)
        begin = time.monotonic()
        flow(bot)
        passed(bot.say(f"{flow.__name__} took {time.monotonic() - begin:.1f} s"))


def config(ports):
    phones = "".join(f"""
        [[phone]]
        user = "{user}"
        password = "{user}-password"
        user_id = "{user_id}"
    """ for user, user_id in PHONES.items())
    return phones + "".join(f"""
        [[app]]
        id = "{app}"
        tenant = "{TENANT}"
        secret = "dev-client-secret"
        roles = ["Calls.Initiate.All", "Calls.AccessMedia.All"]
        calling_webhook = "http://127.0.0.1:{ports[name]}/api/calls"
        [[route]]
        to = "{name}"
        app = "{app}"
    """ for name, app in APPS.items())


class Bot:
    """One of examples/bots, as written, and what it says. Its calls come one after another."""

    PROGRAMS = {"ivr": "simple_ivr", "recorder": "voice_recorder"}

    def __init__(self, kind, name, ready, folder, port, options):
        self.kind, self.name, self.ready, self.port = kind, name, ready, port
        self.options, self.more = options, []
        self.place = folder / f"{kind}-{name}"
        self.place.mkdir()
        self.ready_file = self.place / "ready.json"
        self.ready_file.write_text(json.dumps({**vars(ready), "clientId": APPS[name]}))

    def __enter__(self):
        environment = dict(os.environ, NODE_EXTRA_CA_CERTS=self.ready.ca)
        command = [*self.command(self.PROGRAMS[self.name]), str(self.ready_file),
                   "--port", str(self.port), *self.more]
        self.program = program(command, self.place, environment)
        self.all_lines = self.program.__enter__()
        return self

    def __exit__(self, *failure):
        return self.program.__exit__(*failure)

    def listens(self):
        rig.wait_until(lambda: any("listens at" in line for line in self.all_lines()), 180,
                       f"{self.name} to listen")

    def begin(self, flow):
        """Forgets the calls before, and gives the phones of the next one a folder."""
        self.since = len(self.all_lines())
        self.folder = self.place / flow
        self.folder.mkdir()

    def lines(self):
        return self.all_lines()[self.since:]

    def phone(self, user, **more):
        return Baresip(user, self.folder / user, free_port(), self.ready.sip["udp"],
                       f"{user}-password", **more)

    def say(self, text):
        return f"{self.kind}: {text}"

    def command(self, name):
        if self.kind == "python":
            return [sys.executable, str(BOTS / "python" / f"{name}.py")]
        if self.kind == "python-beta":
            # What the first line of bot.py says: another package, and nothing else.
            copy = self.place / "bots"
            shutil.copytree(BOTS, copy)
            for file in (copy / "python").glob("*.py"):
                file.write_text(re.sub(r"\bmsgraph\.", "msgraph_beta.", file.read_text()))
            return [sys.executable, str(copy / "python" / f"{name}.py")]
        # Node resolves imports from where the script lies.
        copy = self.options.node_modules / "bots"
        shutil.copytree(BOTS, copy, dirs_exist_ok=True)
        more = {"node": [], "node-beta": ["--version", "beta"], "teams": ["--client", "teams"]}
        return [self.options.node, str(copy / "node" / f"{name}.mjs"), *more[self.kind]]

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
    with bot.phone("bob") as bob, bot.phone("alice") as alice:
        bot.forge()
        alice.dial(f"sip:ivr@{bot.ready.sip['udp']}")
        menu = read(BOTS / "prompts" / "menu.wav")
        hears(bot, "alice", alice.heard, "menu")
        alice.press("2")
        bot.expect(r"deleted playPromptOperation failed 400/8508")
        alice.press("1")
        bot.expect(r"deleted playPromptOperation completed 200/0")
        hears(bot, "alice", alice.heard, "transfer", len(menu))
        bot.expect(r"deleted terminated .*/7015")
        bob.expect("Call established", "to be called")
        alice.expect("Call established", "to call who she is transferred to", times=2)
        alice.expect("terminated (duration", "to leave the bot")
        bot.judge(TRANSFERRED)
        for one, other, number in [(alice, bob, 0), (bob, alice, 1)]:
            heard_by(bot, one, other, number)
        alice.hang_up()
        bob.expect("terminated (duration", "to see alice hang up")


def refused(bot):
    """The transfer is refused: the caller is still with the bot, and hears the menu again."""
    with bot.phone("bob", answers="manual") as bob, bot.phone("alice") as alice:
        alice.dial(f"sip:ivr@{bot.ready.sip['udp']}")
        rig.wait_until(lambda: len(alice.heard()) > RATE // 2, 30, "alice to hear the menu")
        alice.press("1")
        bot.expect("updated transferring")
        bob.expect("Incoming call", "to be called")
        before = len(alice.heard())
        bob.hang_up()
        failed = "updated established .*/7[07]00"
        bot.expect(failed)
        hears(bot, "alice", alice.heard, "menu", before)
        alice.hang_up()
        bot.expect("deleted terminated .*")
        bot.judge([
            "created incoming", "updated establishing", "updated established",
            "updated established active", "updated established tone1 #1",
            "deleted playPromptOperation failed 400/8508",
            "deleted playPromptOperation completed 200/0", "updated transferring",
            *(["updated transferAccepted"] if "updated transferAccepted" in bot.told() else []),
            failed, "deleted terminated .*"])


def info(bot):
    """As `ivr`, with sipp as caller: its keys come by SIP INFO, and it says of the transfer what it
    is told to say."""
    sip, port = bot.ready.sip["udp"], free_port()
    menu = read(BOTS / "prompts" / "menu.wav")
    with bot.phone("bob"), Ears() as ears, \
            Sipp("keys", "udp", port, 1, "-key", "ears", str(ears.port), "-cid_str", "keys@sipp",
                 "-s", "ivr", sip) as caller:
        hears(bot, "sipp", ears.heard, "menu")
        ears.nudge(port, "keys@sipp", 1)
        bot.expect("updated established tone2 #1")
        ears.nudge(port, "keys@sipp", 2)
        bot.expect("deleted terminated .*/7015")
        caller.expect(1)
        hears(bot, "sipp", ears.heard, "transfer", len(menu))
        bot.judge(TRANSFERRED)


TRANSFERRED = [
    "created incoming", "updated establishing", "updated established",
    "updated established active", "updated established tone2 #1",
    "deleted playPromptOperation failed 400/8508", "updated established tone1 #2",
    "deleted playPromptOperation failed 400/8508",
    "deleted playPromptOperation completed 200/0", "updated transferring",
    "updated transferAccepted", r"deleted terminated (0|200)/7015"]


def hears(bot, who, heard, prompt, since=0):
    """Somebody hears the whole of a prompt, somewhere behind so many samples."""
    wanted = read(BOTS / "prompts" / f"{prompt}.wav")
    rig.wait_until(lambda: len(heard()) >= since + len(wanted), 30,
                   f"{who} to hear {prompt}.wav; the bot was told {bot.told()}")

    def found():
        return correlate(wanted, heard()[since:])[0] >= 0.98
    try:
        rig.wait_until(found, 5, "it")
    except Failed:
        pass
    best, _ = correlate(wanted, heard()[since:])
    check(best >= 0.98, bot.say(f"{who} hears {prompt}.wav: correlation {best:.4f}"))


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
    speech = read(SPEECH)
    with bot.phone("carol") as carol:
        carol.dial(f"sip:recorder@{bot.ready.sip['udp']}")
        asked = carol.until_quiet()
        best, _ = correlate(read(BOTS / "prompts" / "record.wav"), carol.heard())
        check(best >= 0.98, bot.say(f"carol is asked to speak: correlation {best:.4f}"))
        carol.speak(speech)
        carol.pause(len(speech) / RATE + 0.2)
        carol.press("#")
        bot.expect(r"deleted recordOperation completed 200/8514")
        bot.expect(r"deleted terminated 200/7000")
        carol.expect("terminated (duration", "to be hung up")
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
        compare(bot, "played back", speech, carol.heard()[asked + len(read(BOTS / "prompts" / "heard.wav")):])


def compare(bot, what, spoken, got):
    best, _ = correlate(spoken, got)
    check(best >= 0.98, bot.say(f"what carol said is {what}: correlation {best:.4f}"))
    lengths = [1_000 * loud_length(samples) for samples in (spoken, got)]
    check(abs(lengths[0] - lengths[1]) <= 40, bot.say(
        f"{what}: {lengths[1]:.0f} ms of {lengths[0]:.0f} ms spoken"))


# Client and version: msgraph-sdk, msgraph-beta-sdk, microsoft-graph-client, teams.graph (v1.0 only).
KINDS = ["python", "python-beta", "node", "node-beta", "teams"]
# What has nothing to do with the version, or not even with the client.
MORE = {"python": [refused, info], "node": [refused]}

if __name__ == "__main__":
    rig.run(main)
