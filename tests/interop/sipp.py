"""sipp (Debian: sip-tester) against the server, over UDP and TCP: as callee of calls that a bot
makes, plays into and hangs up; and as caller of calls that a bot answers. Not one may fail."""

import argparse
import collections
import concurrent.futures
import contextlib
import csv
import pathlib
import random
import shutil
import socket
import subprocess
import tempfile
import threading
import time

import rig
from rig import Failed, check

HERE = pathlib.Path(__file__).parent
PROMPT_SECONDS = 0.6
# What counts as the rate asked for, of it.
SLOWEST = 0.8
# The dev profile's own ids (config.dev.toml); a file of ours replaces its list of apps.
TENANT = "11111111-2222-3333-4444-555555555555"
APP = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    rig.add_server_options(parser)
    parser.add_argument("--webhook-port", type=int, default=0,
                        help="with --ready-file: port of that server's calling_webhook")
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--rate", type=int, default=20, help="calls per second")
    parser.add_argument("--only", choices=["callee", "caller"])
    parser.add_argument("--transport", choices=["udp", "tcp"])
    options = parser.parse_args()
    bot = Bot(options.webhook_port)
    config = f"""
        [[app]]
        id = "{APP}"
        tenant = "{TENANT}"
        secret = "dev-client-secret"
        roles = ["Calls.Initiate.All"]
        calling_webhook = "{bot.hook.url}"
    """
    with rig.server_of(options, config) as ready:
        bot.serve(ready)
        for role in [options.only] if options.only else ["callee", "caller"]:
            for transport in [options.transport] if options.transport else ["udp", "tcp"]:
                work = callee if role == "callee" else caller
                work(bot, ready, transport, options.calls, options.rate)


def callee(bot, ready, transport, count, rate):
    """The bot calls sipp: 20 calls a second, a prompt in each, hung up by the bot."""
    port = free_port()
    target = f"127.0.0.1:{port}" + (";transport=tcp" if transport == "tcp" else "")
    with Sipp("callee", transport, port, count) as sipp:
        begin = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            made = []
            for number in range(count):
                time.sleep(max(0.0, begin + number / rate - time.monotonic()))
                made.append(pool.submit(bot.call, f"sip:{number}@{target}"))
            calls = [call.result(30) for call in made]
        asked = time.monotonic() - begin
        bot.wait_ended(calls, 30)
        sipp.expect(count)
    bot.judge(calls, ["updated establishing", "updated established", "updated established+active",
                      "deleted operation completed", "updated terminating", "deleted terminated"])
    check(count / asked >= SLOWEST * rate, f"sipp as callee over {transport}: {count} calls asked for at "
          f"{count / asked:.1f} calls/s, each heard a prompt, none failed", f"{asked:.1f} s")


def caller(bot, ready, transport, count, rate):
    """sipp calls; the bot answers, plays, and hangs up every other call."""
    remote = getattr(ready, "sip", {}).get(transport)
    check(remote, f"the server listens on SIP over {transport}")
    bot.expect_calls()
    with Sipp("caller", transport, free_port(), count, "-r", str(rate), "-s", "bot", remote) as sipp:
        sipp.expect(count)
        calls = bot.answered(count, 10)
        bot.wait_ended(calls, 30)
    common = ["created incoming", "updated establishing", "updated established",
              "updated established+active", "deleted operation completed"]
    by_bot = [call for call in calls if call in bot.hung_up]
    by_sipp = [call for call in calls if call not in bot.hung_up]
    bot.judge(by_bot, [*common, "updated terminating", "deleted terminated"])
    bot.judge(by_sipp, [*common, "deleted terminated"])
    check(min(len(by_bot), len(by_sipp)) * 2 + 1 >= count,
          f"sipp as caller over {transport}: {count} calls, {len(by_bot)} ended by the bot, "
          f"{len(by_sipp)} by sipp, none failed")
    came = (count - 1) / (bot.last - bot.first) if count > 1 else rate
    check(came >= SLOWEST * rate, f"they came at {came:.1f} calls/s", f"{rate} were asked for")


class Bot:
    """Answers, plays one prompt into each call, and hangs up what it should."""

    def __init__(self, port):
        self.hook = rig.Webhook(port, self.heard)
        self.uri = rig.PromptHost().add("prompt.wav", rig.wav(rig.tone(440, PROMPT_SECONDS)))
        self.pool = concurrent.futures.ThreadPoolExecutor(16)
        self.lock, self.faults = threading.Lock(), []
        self.graph, self.incoming, self.hung_up = None, [], set()
        self.first = self.last = None

    def serve(self, ready):
        self.graph = rig.Graph(ready)

    def call(self, target):
        return self.graph.create(self.hook.url, target)

    def heard(self, notification):
        if notification.name == "created incoming":
            with self.lock:
                self.last = time.monotonic()
                self.first = self.first or self.last
        # Notifications of a call come one by one; a request of ours must not keep the next back.
        self.pool.submit(self.act, notification)

    def act(self, notification):
        try:
            call = notification.call
            if notification.name == "created incoming":
                with self.lock:
                    self.incoming.append(call)
                    if len(self.incoming) % 2:
                        self.hung_up.add(call)
                self.graph.answer(call, self.hook.url)
            elif notification.name == "updated established+active":
                self.graph.play(call, self.uri, context=call)
            elif notification.name == "deleted operation completed":
                with self.lock:
                    ours = call not in self.incoming or call in self.hung_up
                if ours:
                    self.graph.hang_up(call)
        except Exception as error:  # it would stay unseen in the pool's future
            with self.lock:
                self.faults.append(f"{notification.name} of {notification.call}: {error!r}")

    def expect_calls(self):
        with self.lock:
            self.incoming, self.hung_up = [], set()
            self.first = self.last = None

    def answered(self, count, within):
        rig.wait_until(lambda: len(self.incoming) == count, within, f"{count} incoming calls")
        return list(self.incoming)

    def wait_ended(self, calls, within):
        def ended():
            last = {n.call: n.name for n in list(self.hook.all)}
            return all(last.get(call) == "deleted terminated" for call in calls)
        try:
            rig.wait_until(ended, within, "all calls to end")
        except Failed as failure:
            stuck = [names for call in calls
                     if (names := [n.name for n in self.hook.of(call)])[-1:]
                     != ["deleted terminated"]]
            raise Failed(f"{failure}: {len(stuck)} have not, such as {stuck[:3]}; "
                         f"faults: {self.faults[:3]}") from failure

    def judge(self, calls, expected):
        if self.faults:
            raise Failed(f"{len(self.faults)} requests of the bot failed: {self.faults[:3]}")
        of = collections.defaultdict(list)
        for notification in list(self.hook.all):
            of[notification.call].append(notification)
        for call in calls:
            names = [notification.name for notification in of[call]]
            if names != expected:
                raise Failed(f"call {call} was told {names}, not {expected}")
            receipt = next(n.data["graphophoneReceipt"]["prompts"][0] for n in of[call]
                           if n.operation)
            if abs(receipt["millisecondsSent"] - 1000 * PROMPT_SECONDS) > 20:
                raise Failed(f"call {call} has a short receipt: {receipt}")


class Sipp:
    """One run of a scenario in a folder of its own."""

    def __init__(self, role, transport, port, count, *more):
        self.name = f"sipp as {role} over {transport}"
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="graphophone-sipp-"))
        shutil.copy(HERE / f"sipp_{role}.xml", self.folder / "scenario.xml")
        (self.folder / "sipp.ulaw").write_bytes(bytes(map(ulaw, rig.tone(300, 1, rate=8_000))))
        # Without -timeout a lost call would keep it waiting for ever.
        self.command = ["sipp", *more, "-sf", "scenario.xml", "-i", "127.0.0.1", "-mi", "127.0.0.1",
                        "-p", str(port), "-mp", str(free_port(count=4)), "-m", str(count),
                        "-t", "u1" if transport == "udp" else "t1", "-nostdin", "-timeout", "90",
                        "-timeout_error", "-trace_err", "-error_file", "errors.txt",
                        "-trace_stat", "-stf", "stat.csv", "-fd", "1"]

    def __enter__(self):
        out = (self.folder / "screen.txt").open("wb")
        self.process = subprocess.Popen(self.command, cwd=self.folder, stdout=out, stderr=out)
        # sipp writes its statistics once it has bound its sockets.
        rig.wait_until(lambda: (self.folder / "stat.csv").exists() or self.process.poll() is not None,
                       10, "sipp to start")
        return self

    def __exit__(self, kind, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if kind is None:
            shutil.rmtree(self.folder)
        else:
            print(f"      logs of {self.name}: {self.folder}", flush=True)

    def expect(self, count):
        try:
            code = self.process.wait(100)
        except subprocess.TimeoutExpired as error:
            raise Failed(f"{self.name} does not end") from error
        with (self.folder / "stat.csv").open() as file:
            last = collections.deque(csv.DictReader(file, delimiter=";"), 1).pop()
        good, bad = int(last["SuccessfulCall(C)"]), int(last["FailedCall(C)"])
        if (code, good, bad) != (0, count, 0):
            errors = self.folder / "errors.txt"
            why = errors.read_text(errors="replace")[:1500] if errors.exists() else "(no error log)"
            raise Failed(f"{self.name}: {good} good and {bad} failed calls, exit code {code}\n{why}")


def ulaw(sample):
    """ITU-T G.711: one 16-bit sample to µ-law."""
    sign, magnitude = (0x80, -sample) if sample < 0 else (0, sample)
    magnitude = min(magnitude, 32_635) + 132
    exponent = magnitude.bit_length() - 8
    return ~(sign | exponent << 4 | (magnitude >> exponent + 3) & 0x0F) & 0xFF


def free_port(transports=(socket.SOCK_STREAM, socket.SOCK_DGRAM), count=1):
    """The first of `count` ports in a row that are free now. Below the ports the kernel gives
    out by itself, so that they stay free until sipp binds them."""
    for _ in range(200):
        port = random.randrange(10_000, 20_000, 4)
        with contextlib.ExitStack() as sockets:
            try:
                for number in range(port, port + count):
                    for transport in transports:
                        probe = socket.socket(socket.AF_INET, transport)
                        sockets.enter_context(probe).bind(("127.0.0.1", number))
            except OSError:
                continue
            return port
    raise Failed("no free port")


if __name__ == "__main__":
    rig.run(main)
