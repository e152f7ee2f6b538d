#!/usr/bin/env python3
"""Requests made from /openapi.json by schemathesis, against a server of the dev profile with its
tokens: no 5xx, no status or content type that is not documented, no body of another shape.

Ids in paths are those of a call and of an operation that it has, so that requests get behind the
404s; what ends the call is sent to calls that do not exist."""

import argparse
import concurrent.futures
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import rig

CHECKS = ",".join(["not_a_server_error", "status_code_conformance", "content_type_conformance",
                   "response_schema_conformance"])
# What takes the call away, or the keys that its token is checked with.
ENDS = ["/v1.0/communications/calls/{call}", "/beta/communications/calls/{call}"]
SEED = "20261127"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    rig.add_server_options(parser)
    parser.add_argument("--max-examples", type=int, default=4)
    parser.add_argument("--keep", help="directory for the reports")
    options = parser.parse_args()
    begin = time.monotonic()
    with rig.server_of(options, "") as ready, tempfile.TemporaryDirectory() as scratch:
        graph = rig.Graph(ready)
        document = rig.fetch_json(ready, f"{ready.http}/openapi.json")
        count = sum(len([m for m in item if m != "parameters"])
                    for item in document["paths"].values())
        rig.check(count > 50, "the document has all routes", count)
        schema = pathlib.Path(scratch) / "openapi.json"
        schema.write_text(json.dumps(document))
        kept = options.keep or scratch

        def go(name, token, known, *filters, phases="examples,coverage,fuzzing"):
            run(ready, schema, pathlib.Path(kept) / name, token, known, filters,
                [f"--phases={phases}", f"--max-examples={options.max_examples}"])

        # The boundaries of every member are thousands of requests. Of beta they are tried only
        # where they are not those of v1.0, which the same code reads.
        others = [path for path in of_beta(document) if path not in ENDS]
        rig.check(len(others) > 3, "beta has members of its own", others)
        webhook, bot = rig.Webhook(), graph.token
        first, second = (living_call(graph, webhook, ready.phone) for _ in range(2))
        live = ["--include-tag-regex=^Graph", "--exclude-deprecated",
                *[f"--exclude-path={path}" for path in ENDS]]
        # The longest first, two at a time.
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            work = [
                pool.submit(go, "v1.0", bot, first, *live, "--exclude-path-regex=^/beta/"),
                pool.submit(go, "beta", bot, second, *[f"--include-path={path}" for path in others]),
                pool.submit(go, "ends", bot, {}, "--exclude-deprecated", f"--include-path={ENDS[0]}"),
                pool.submit(go, "beta like v1.0", bot, second, *live, "--exclude-path-regex=^/v1.0/",
                            *[f"--exclude-path={path}" for path in others],
                            phases="examples,fuzzing"),
                pool.submit(go, "ends of beta", bot, {}, "--exclude-deprecated",
                            f"--include-path={ENDS[1]}", phases="examples,fuzzing"),
                pool.submit(go, "public", None, {"tenant": ready.tenant}, "--include-tag=Public"),
            ]
            for each in work:
                each.result()
        for ids in (first, second):
            made = graph("GET", f"/{ids['call']}/operations")["value"]
            rig.check(len(made) > 10, "requests reached a call that lives", len(made))
        # Hangs up, among other things.
        go("operator", ready.adminToken, {}, "--include-tag=Operator",
           "--exclude-path=/graphophone/v1/keys/rotate")
    rig.passed(f"schemathesis took {time.monotonic() - begin:.0f} s")


def living_call(graph, webhook, phone):
    """What stands for the ids in paths: of a call that is up, and of an operation that it has."""
    call = graph.create(webhook.url, phone)
    webhook.wait(call, "updated established+active")
    return {"call": call, "operation": graph("POST", f"/{call}/cancelMediaProcessing", {})["id"]}


def of_beta(document):
    """Paths of beta whose requests are not as in v1.0."""
    def spelled(value, within=()):
        if isinstance(value, dict) and "$ref" in value:
            name = value["$ref"].rpartition("/")[2]
            if name in within:
                return name.partition(".")[2]
            return spelled(document["components"]["schemas"][name], (*within, name))
        if isinstance(value, dict):
            return {key: spelled(inner, within) for key, inner in value.items()
                    if key not in ("tags", "operationId", "responses")}
        if isinstance(value, list):
            return [spelled(inner, within) for inner in value]
        return value
    paths = document["paths"]
    return [path for path, item in paths.items() if path.startswith("/beta/communications/")
            and spelled(item) != spelled(paths.get(path.replace("/beta/", "/v1.0/", 1)))]


def run(ready, schema, folder, token, known, filters, extent):
    """One run over some of the operations."""
    begin = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "schemathesis.toml"
    lines = ["[parameters]"]
    lines += [f'"path.{name}" = {json.dumps(values)}' for name, values in known.items()]
    config.write_text("\n".join(lines) + "\n")
    command = [pathlib.Path(sys.executable).parent / "st", f"--config-file={config}", "run",
               str(schema), f"--url={ready.http}", f"--checks={CHECKS}", "--no-color",
               *extent, f"--seed={SEED}", "--request-timeout=15", "--suppress-health-check=all",
               "--continue-on-failure", "--warnings=off", *filters]
    if token:
        command.append(f"--header=Authorization: Bearer {token}")
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=400, check=False)
    if done.returncode != 0:
        print(done.stdout[-12000:].replace(token or "\0", "***"))
    took = time.monotonic() - begin
    summary = [line.strip() for line in done.stdout.splitlines() if "generated" in line]
    rig.check(done.returncode == 0, f"schemathesis, {folder.name}: {' '.join(summary)} in {took:.0f} s",
              done.returncode)


if __name__ == "__main__":
    rig.run(main)
