#!/usr/bin/env python3
"""Interoperability checks with programs of others, on loopback. One or several of:

    tests/interop/run.py python     Microsoft's Python SDKs (v1.0 and beta)
    tests/interop/run.py node       Microsoft's JavaScript client
    tests/interop/run.py sipp       sipp as callee, as caller and in transfers, UDP and TCP
    tests/interop/run.py baresip    baresip registers, is called, records the prompt
    tests/interop/run.py flows      the bots of examples/bots with baresip and sipp as callers
    tests/interop/run.py group      a group call of Microsoft's Python SDKs with baresip phones
    tests/interop/run.py sipvicious SIPVicious finds no extension and no password
    tests/interop/run.py schemathesis  requests made from /openapi.json: no 5xx, no surprise
    tests/interop/run.py all

Each starts a server of its own, unless --ready-file names one that runs. What they need is put
into target/interop (a Python environment, node_modules); missing Debian packages are installed
with apt-get, and named. Arguments not known here go to the checks themselves."""

import argparse
import hashlib
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import venv

import rig

HERE = pathlib.Path(__file__).resolve().parent
CACHE = rig.ROOT / "target" / "interop"
CHECKS = ["python", "node", "sipp", "baresip", "flows", "group", "sipvicious", "schemathesis"]


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checks", nargs="+", metavar="check", choices=[*CHECKS, "all"])
    parser.add_argument("--ready-file", type=pathlib.Path)
    parser.add_argument("--server", metavar="COMMAND",
                        help="default: `graphophone dev` as cargo builds it")
    options, rest = parser.parse_known_args()
    if options.ready_file:
        server = ["--ready-file", str(options.ready_file.resolve())]
    else:
        server = ["--server", options.server or our_server()]
    wanted = CHECKS if "all" in options.checks else options.checks
    failed = [name for name in wanted if not carry_out(name, server, rest)]
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def carry_out(name, server, rest):
    print(f"== {name}", flush=True)
    begin = time.monotonic()
    code = globals()[f"run_{name}"](server, rest)
    took = time.monotonic() - begin
    print(f"== {name}: {'good' if code == 0 else f'FAILED ({code})'} after {took:.0f} s", flush=True)
    return code == 0


def run_python(server, rest):
    return script("python_sdk.py", python("requirements.txt"), server, rest)


def run_sipp(server, rest):
    debian("sip-tester", "sipp")
    code = script("sipp.py", sys.executable, server, rest)
    # Its server has a configuration of its own.
    if code == 0 and server[0] == "--server":
        code = script("sipp_refer.py", sys.executable, server, [])
    return code


def run_baresip(server, rest):
    debian("baresip-core", "baresip")
    return script("baresip.py", python("requirements-audio.txt"), server, rest)


def run_flows(server, rest):
    debian("baresip-core", "baresip")
    debian("sip-tester", "sipp")
    environment = node_environment()
    modules(environment)
    node = shutil.which("node", path=environment["PATH"])
    more = ["--node", node, "--node-modules", str(CACHE / "node")]
    return script("flows.py", python("requirements.txt"), server, [*more, *rest])


def run_group(server, rest):
    debian("baresip-core", "baresip")
    return script("group.py", python("requirements.txt"), server, rest)


def run_sipvicious(server, rest):
    return script("sipvicious.py", python("requirements-sipvicious.txt"), server, rest)


def run_schemathesis(server, rest):
    return script("schemathesis_run.py", python("requirements-schemathesis.txt"), server, rest)


def run_node(server, rest):
    environment = node_environment()
    modules(environment)
    parser = argparse.ArgumentParser()
    rig.add_server_options(parser)
    with rig.server_of(parser.parse_args(server), "") as ready, \
            tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(vars(ready), file)
        file.flush()
        # Node resolves imports from where the script lies: it must lie beside node_modules.
        target = CACHE / "node" / "node_client.mjs"
        shutil.copy(HERE / "node_client.mjs", target)
        environment["NODE_EXTRA_CA_CERTS"] = ready.ca
        # Found by hand: subprocess looks for programs in our own PATH, not in the one it is given.
        node = shutil.which("node", path=environment["PATH"])
        return subprocess.run([node, str(target), file.name, *rest], env=environment,
                              timeout=120, check=False).returncode


def script(name, interpreter, server, rest):
    return subprocess.run([interpreter, str(HERE / name), *server, *rest], timeout=600,
                          check=False).returncode


def our_server():
    def cargo(*arguments):
        return subprocess.run(["cargo", *arguments], cwd=rig.ROOT, check=True,
                              stdout=subprocess.PIPE, text=True).stdout
    cargo("build", "--quiet", "--locked", "-p", "graphophone")
    # It says where CARGO_TARGET_DIR and its configuration put the binary.
    target = json.loads(cargo("metadata", "--no-deps", "--format-version", "1"))["target_directory"]
    return shlex.join([f"{target}/debug/graphophone", "dev"])


def python(requirements):
    """The interpreter of an environment with these packages; made anew when they change."""
    wanted = HERE / requirements
    place = CACHE / wanted.stem
    mark, want = place / "installed", hashlib.sha256(wanted.read_bytes()).hexdigest()
    interpreter = place / "bin" / "python"
    if not mark.exists() or mark.read_text() != want:
        print(f"      pip install -r {requirements} into {place}", flush=True)
        venv.create(place, with_pip=True, clear=True)
        # Half a gigabyte of generated models: compiling all of them would take minutes.
        subprocess.run([str(interpreter), "-m", "pip", "install", "--quiet", "--no-compile",
                        "--disable-pip-version-check", "-r", str(wanted)], check=True)
        mark.write_text(want)
    return str(interpreter)


def node_environment():
    environment = dict(os.environ)
    if not has_node():
        environment["PATH"] = f"{pathlib.Path(python('requirements-node.txt')).parent}:{os.environ['PATH']}"
    return environment


def has_node():
    """@azure/identity wants Node.js 20; Debian 12 has 18."""
    if not shutil.which("node") or not shutil.which("npm"):
        return False
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True)
    return int(version.stdout.lstrip("v").split(".")[0]) >= 20


def modules(environment):
    place = CACHE / "node"
    place.mkdir(parents=True, exist_ok=True)
    lock = (HERE / "package-lock.json").read_bytes()
    mark, want = place / "installed", hashlib.sha256(lock).hexdigest()
    if not mark.exists() or mark.read_text() != want:
        print(f"      npm ci in {place}", flush=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, place / name)
        npm = shutil.which("npm", path=environment["PATH"])
        subprocess.run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"],
                       cwd=place, env=environment, check=True)
        mark.write_text(want)


def debian(package, program):
    if shutil.which(program):
        return
    print(f"      apt-get install {package} (for {program})", flush=True)
    apt = ["apt-get", "-qq"] if os.geteuid() == 0 else ["sudo", "apt-get", "-qq"]
    subprocess.run([*apt, "update"], check=True)
    subprocess.run([*apt, "install", "-y", "--no-install-recommends", package], check=True,
                   env=dict(os.environ, DEBIAN_FRONTEND="noninteractive"))


if __name__ == "__main__":
    rig.run(main)
