#!/usr/bin/env python3
"""Builds the fuzz targets, runs each over its corpus and then on for a while, two at a time.

    fuzz/run.py --seconds 10              all targets, 10 s each: what test.sh runs
    fuzz/run.py --seconds 3600 wav sdp    some, for longer
    fuzz/run.py --reproduce wav FILE      one input, with a backtrace
    fuzz/run.py --minimise                the seeds in fuzz/seeds, as far as they add coverage

Prints `ok TARGET: …` for each target. A finding fails the run; the input that caused it is kept in
target/fuzz/TARGET and printed. What was discovered on the way is kept in target/fuzz/corpus and
used again by the next run on this machine. Needs a C++ compiler for libFuzzer.
"""
import argparse
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
SHARED = ROOT.parent / "shared" / "corpus"
OUT = ROOT / "target" / "fuzz"
PROGRAM = ROOT / "target" / "debug" / "graphophone-fuzz"
# Which corpus of ../shared a target begins with: (generator, folder).
SIP, WAV, JSON = ("gen_sip.py", "sip"), ("gen_wav.py", "wav"), (None, "json")
SHARED_SEEDS = {
    "odata_json": [JSON], "sdp": [], "sip_agent": [SIP], "sip_framing_diff": [SIP],
    "sip_message": [SIP], "wav": [WAV],
}
# Folders of the project that are seeds as they are.
OWN_SEEDS = {"compressed": [ROOT / "crates" / "media" / "tests" / "compressed"]}
# Longest input in bytes, where libFuzzer's 4 KiB are not enough for what there is to find.
LONGEST = {"sip_message": 70_000, "sip_framing_diff": 8_192, "wav": 16_384, "odata_json": 16_384,
           "sdp": 16_384, "jwt": 20_000, "compressed": 11_000}
# An input that takes longer is a finding, in seconds; the machine may be busy.
SLOW = 10
# Megabytes that a whole target may use, corpus and all.
MEMORY = 1_024


def targets():
    """The names, from the only list of them."""
    text = (HERE / "src" / "targets" / "mod.rs").read_text()
    return re.findall(r'^    \("(\w+)", \w+::run\),$', text, re.MULTILINE)


def build():
    """The lock file is the project's; cargo adds what only this package needs."""
    lock = HERE / "Cargo.lock"
    if not lock.exists() or lock.stat().st_mtime < (ROOT / "Cargo.lock").stat().st_mtime:
        shutil.copy(ROOT / "Cargo.lock", lock)
    env = dict(os.environ, RUSTC_WRAPPER=str(HERE / "instrument.sh"),
               CARGO_TARGET_DIR=str(ROOT / "target"))
    subprocess.run(["cargo", "build", "--quiet"], cwd=HERE, env=env, check=True)


def seed(target):
    """The seeds in git, and the corpora of ../shared, generated if they have to be."""
    folders = [HERE / "seeds" / target, *OWN_SEEDS.get(target, [])]
    for generator, name in SHARED_SEEDS.get(target, []):
        folder = OUT / "shared" / name if generator else SHARED / name
        if generator and not (folder / "index.json").exists():
            subprocess.run([sys.executable, SHARED / generator, folder], check=True,
                           stdout=subprocess.DEVNULL)
        folders.append(folder)
    return [folder for folder in folders if folder.is_dir()]


def command(target, *options):
    dictionary = HERE / "dictionaries" / f"{target.split('_')[0]}.dict"
    found = [f"-dict={dictionary}"] if dictionary.exists() else []
    return [str(PROGRAM), f"-timeout={SLOW}", f"-rss_limit_mb={MEMORY}",
            f"-max_len={LONGEST.get(target, 4_096)}", *found, *options]


def environment(target, **more):
    return dict(os.environ, GRAPHOPHONE_FUZZ_TARGET=target, **more)


def fuzz(target, seconds, chance):
    """What it did, or the end of its log with the file that is the finding."""
    corpus, findings = OUT / "corpus" / target, OUT / target
    corpus.mkdir(parents=True, exist_ok=True)
    findings.mkdir(parents=True, exist_ok=True)
    options = [f"-max_total_time={seconds}", f"-artifact_prefix={findings}/",
               "-print_final_stats=1", f"-seed={chance}", "-use_value_profile=0"]
    arguments = command(target, *options, str(corpus), *map(str, seed(target)))
    with open(OUT / f"{target}.log", "w") as log:
        ran = subprocess.run(arguments, env=environment(target, RUST_BACKTRACE="1"), stdout=log,
                             stderr=subprocess.STDOUT, timeout=seconds + 600)
    text = (OUT / f"{target}.log").read_text(errors="replace")
    runs = re.search(r"stat::number_of_executed_units: (\d+)", text)
    if ran.returncode != 0 or not runs:
        return False, f"FAILED {target}: {tail(text)}\nagain: fuzz/run.py --reproduce {target} FILE"
    coverage = re.findall(r"cov: (\d+)", text)[-1]
    inputs = re.findall(r"corp: (\d+)", text)[-1]
    return True, (f"ok {target}: {runs.group(1)} runs in {seconds} s, {coverage} edges, "
                  f"{inputs} inputs in the corpus")


def tail(text):
    """From the panic on, without the middle of the backtrace."""
    lines = text.splitlines()
    begin = next((at for at, line in enumerate(lines) if "panicked at" in line or "ERROR:" in line),
                 max(0, len(lines) - 20))
    kept = lines[begin:begin + 6] + [line for line in lines[begin:] if "Test unit written" in line]
    return "\n".join(kept)


def minimise(target):
    """Merges what was discovered into the seeds in git, small inputs only."""
    seeds, shared = HERE / "seeds" / target, seed(target)[1:]
    scratch = OUT / "merge" / target
    shutil.rmtree(scratch, ignore_errors=True)
    (scratch / "all").mkdir(parents=True)
    (scratch / "base").mkdir()
    for folder in shared:
        subprocess.run(["cp", "-a", f"{folder}/.", scratch / "base"], check=True)
    # Into a copy of what there is anyway, so that only what adds to it is new.
    merged = command(target, "-merge=1", "-max_len=1024", str(scratch / "all"),
                     *map(str, [scratch / "base", seeds, OUT / "corpus" / target]
                          if seeds.is_dir() else [scratch / "base", OUT / "corpus" / target]))
    subprocess.run(merged, env=environment(target), check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL, timeout=600)
    known = {file.read_bytes() for file in (scratch / "base").rglob("*") if file.is_file()}
    shutil.rmtree(seeds, ignore_errors=True)
    seeds.mkdir(parents=True)
    kept = 0
    for file in sorted((scratch / "all").iterdir(), key=lambda file: file.stat().st_size):
        if file.read_bytes() not in known and kept + file.stat().st_size <= 60_000:
            kept += file.stat().st_size
            shutil.copy(file, seeds / file.name[:16])
    print(f"{target}: {len(list(seeds.iterdir()))} seeds, {kept} bytes")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("targets", nargs="*", help="all if none is named")
    parser.add_argument("--seconds", type=int, default=20, help="for each target")
    parser.add_argument("--parallel", type=int, default=2, help="targets at a time")
    parser.add_argument("--chance", type=int, default=0, help="seed of chance; 0: another each time")
    parser.add_argument("--reproduce", nargs=2, metavar=("TARGET", "FILE"))
    parser.add_argument("--minimise", action="store_true")
    asked = parser.parse_args()
    chosen = asked.targets or targets()
    if unknown := set(chosen) - set(targets()):
        sys.exit(f"no such target: {', '.join(unknown)}; there are {', '.join(targets())}")
    OUT.mkdir(parents=True, exist_ok=True)
    build()
    if asked.reproduce:
        target, file = asked.reproduce
        sys.exit(subprocess.run([str(PROGRAM), file],
                                env=environment(target, RUST_BACKTRACE="1")).returncode)
    if asked.minimise:
        for target in chosen:
            minimise(target)
        return
    for target in chosen:
        seed(target)
    good = True
    with concurrent.futures.ThreadPoolExecutor(asked.parallel) as pool:
        running = [pool.submit(fuzz, target, asked.seconds, asked.chance) for target in chosen]
        for done in concurrent.futures.as_completed(running):
            passed, line = done.result()
            good &= passed
            print(line, flush=True)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
