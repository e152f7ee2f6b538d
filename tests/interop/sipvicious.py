#!/usr/bin/env python3
"""SIPVicious against a server that knows two phones and no trunk: svwar must find no extension,
svcrack no password. Its own good cases come first, so that finding nothing means something."""

import argparse
import pathlib
import socket
import subprocess
import sys

import rig

USER, PASSWORD = "150", "1234"
CONFIG = f"""
trunk = []

[sip]
listen = ["udp:127.0.0.1:0"]

[[phone]]
user = "{USER}"
password = "{PASSWORD}"
user_id = "00000000-0000-0000-0000-000000000150"

[[phone]]
user = "151"
password = "correct horse battery staple"
user_id = "00000000-0000-0000-0000-000000000151"
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    rig.add_server_options(parser)
    with rig.server_of(parser.parse_args(), CONFIG) as ready:
        port = ready.sip["udp"].rpartition(":")[2]
        found = crack(port, "151", "1234-1235")
        rig.check(is_nothing(found), "svcrack says so when no password is right", found)
        found = crack(port, USER, f"{PASSWORD}-{PASSWORD}")
        rig.check(PASSWORD in found, "svcrack recognises the right password when it is told", found)
        for method in ("REGISTER", "INVITE", "OPTIONS"):
            found = svwar(port, method)
            rig.check(is_nothing(found), f"svwar finds no extension with {method}", found)
        # Five guesses a minute are looked at: the right one is the 35th, and takes a few seconds.
        found = crack(port, USER, "1200-1250")
        rig.check(is_nothing(found), "svcrack finds no password among 51 with the right one", found)


def is_nothing(found):
    return "found nothing" in found.lower()


def svwar(port, method):
    return vicious("svwar", port, "-m", method, "-e", "100-200", "--force")


def crack(port, user, passwords):
    return vicious("svcrack", port, "-u", user, "-r", passwords)


def vicious(program, port, *arguments):
    """What it says; it prints a table of what it has found."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        ours = probe.getsockname()[1]
    command = [str(pathlib.Path(sys.executable).parent / f"sipvicious_{program}"),
               "-b", "127.0.0.1", "-x", "127.0.0.1", "-P", str(ours), "-p", port,
               "--maximumtime", "5", *arguments, "127.0.0.1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False,
                          stdin=subprocess.DEVNULL)
    return done.stdout + done.stderr


if __name__ == "__main__":
    rig.run(main)
