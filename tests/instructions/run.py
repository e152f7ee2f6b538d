#!/usr/bin/env python3
"""Counts what an RTP packet costs, in instructions, and compares with baseline.json.

Instructions, not seconds: the same on a busy machine. Each program runs twice under callgrind, with
few and with many packets; the difference is what one costs, without the set-up. A figure
more than its tolerance above the baseline fails; one as much below says that the baseline can be
lowered. `--update` writes the baseline.
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
    subprocess.run(["cargo", "build", "--release", "--locked", "--quiet", "-p", "graphophone-media",
                    "--example", "packet_instructions"], cwd=ROOT, check=True)


def count(command):
    """The instructions of a run, and the number that it prints last."""
    with tempfile.TemporaryDirectory() as scratch:
        ran = subprocess.run(
            ["valgrind", "--tool=callgrind", f"--callgrind-out-file={scratch}/out", *command],
            capture_output=True, text=True, timeout=PATIENCE)
    collected = re.search(r"Collected\s*:\s*(\d+)", ran.stderr)
    if ran.returncode != 0 or not collected:
        sys.exit(f"{' '.join(command)} has failed:\n{ran.stdout}{ran.stderr}")
    return int(collected.group(1)), int(ran.stdout.split()[-1])


def cost(few, many):
    (few, few_units), (many, many_units) = count(few), count(many)
    return round((many - few) / (many_units - few_units))


def measure():
    packets = str(EXAMPLES / "packet_instructions")
    return {"packet": cost([packets, "100"], [packets, "300"])}


def main():
    build()
    found = measure()
    if "--update" in sys.argv:
        new = {name: {"instructions": figure, "tolerancePercent": 3}
               for name, figure in found.items()}
        BASELINE.write_text(json.dumps(new, indent=2) + "\n")
    failed = False
    for name, baseline in json.loads(BASELINE.read_text()).items():
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
