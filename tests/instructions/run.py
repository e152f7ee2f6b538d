#!/usr/bin/env python3
"""Counts what an RTP packet costs, in instructions, and compares with baseline.json.

Instructions, not seconds: the same on a busy machine. Each program runs twice under callgrind, with
few and with many units; the difference is what one costs, without the set-up. A figure more than
its tolerance above the baseline fails; one as much below says that the baseline can be lowered.
`--update` writes the baseline.

- packet: the engine's work for one RTP packet outside of the kernel.
- playPrompt: a whole process with bot, server and far end, from the request to the end of the
  notification, and ten packets in between. Threads meet in another order in each run, so this
  one varies by up to 4 %.
"""
import json
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
BASELINE = pathlib.Path(__file__).with_name("baseline.json")
EXAMPLES = ROOT / "target" / "release" / "examples"
# Seconds that one run under callgrind may take.
PATIENCE = 600


def build():
    for package, example in [("graphophone-media", "packet_instructions"),
                             ("graphophone", "play_latency")]:
        subprocess.run(["cargo", "build", "--release", "--locked", "--quiet", "-p", package,
                        "--example", example], cwd=ROOT, check=True)


def count(command):
    """The instructions of a run, and what it prints."""
    with tempfile.TemporaryDirectory() as scratch:
        ran = subprocess.run(
            ["valgrind", "--tool=callgrind", f"--callgrind-out-file={scratch}/out", *command],
            capture_output=True, text=True, timeout=PATIENCE)
    collected = re.search(r"Collected\s*:\s*(\d+)", ran.stderr)
    if ran.returncode != 0 or not collected:
        sys.exit(f"{' '.join(command)} has failed:\n{ran.stdout}{ran.stderr}")
    return int(collected.group(1)), ran.stdout


def packet():
    """It prints how many it has sent."""
    (few, few_sent), (many, many_sent) = (
        count([str(EXAMPLES / "packet_instructions"), rounds]) for rounds in ("100", "300"))
    return round((many - few) / (int(many_sent) - int(few_sent)))


def play_prompt():
    with tempfile.TemporaryDirectory() as data:
        def run(plays):
            return [str(EXAMPLES / "play_latency"), "--only-plays", "--plays", str(plays),
                    "--data", data]
        # Makes the keys: what that takes is chance.
        subprocess.run(run(1), check=True, capture_output=True, timeout=PATIENCE)
        few, many = 20, 80
        return round((count(run(many))[0] - count(run(few))[0]) / (many - few))


def measure():
    return {"packet": packet(), "playPrompt": play_prompt()}


def main():
    build()
    found, baselines = measure(), json.loads(BASELINE.read_text())
    if "--update" in sys.argv:
        for name, figure in found.items():
            baselines[name]["instructions"] = figure
        BASELINE.write_text(json.dumps(baselines, indent=2) + "\n")
    failed = False
    for name, baseline in baselines.items():
        figure, expected = found[name], baseline["instructions"]
        change = 100 * (figure - expected) / expected
        line = f"{name}: {figure} instructions, {change:+.1f} % of the baseline's {expected}"
        if change > baseline["tolerancePercent"]:
            failed = True
            print(f"FAILED {line}: more than {baseline['tolerancePercent']} % above")
        else:
            print(f"ok {line}")
            if change < -baseline["tolerancePercent"]:
                print("   the baseline can be lowered: tests/instructions/run.py --update")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
