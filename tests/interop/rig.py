"""What the checks share: the server's ready file, a bot's webhook, a host for prompts, a plain
Graph client. Standard library only; loopback only; every wait has a deadline."""

import contextlib
import http.client
import http.server
import json
import math
import os
import pathlib
import shlex
import shutil
import signal
import socketserver
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCOPE = "https://graph.microsoft.com/.default"


class Failed(Exception):
    """A check failed; the text says which and why."""


def passed(text):
    print(f"ok    {text}", flush=True)


def check(holds, text, detail=None):
    """One line per check; the first that does not hold ends the script."""
    if not holds:
        raise Failed(text if detail is None else f"{text}: {detail}")
    passed(text)


def run(main):
    """Runs `main`; exit code 1 and one line on stderr say that a check failed."""
    try:
        main()
    except Exception as failure:
        if not isinstance(failure, Failed):
            traceback.print_exc()
        text = failure if isinstance(failure, Failed) else f"{type(failure).__name__}: {failure}"
        print(f"FAIL  {text}", file=sys.stderr, flush=True)
        sys.stdout.flush()
        # Not sys.exit: a worker that still waits must not keep the process.
        os._exit(1)


class Ready:
    """A running server, as its ready file describes it."""

    def __init__(self, path):
        self.__dict__.update(json.loads(pathlib.Path(path).read_text()))

    def ssl_context(self):
        return ssl.create_default_context(cafile=self.ca)


@contextlib.contextmanager
def server(command, config, within=60):
    """Starts `command` (a list) with a configuration of its own and yields its `Ready`."""
    with tempfile.TemporaryDirectory(prefix="graphophone-interop-") as scratch:
        scratch = pathlib.Path(scratch)
        ready, log = scratch / "ready.json", scratch / "server.log"
        (scratch / "config.toml").write_text(config)
        arguments = ["--config", str(scratch / "config.toml"), "--data", str(scratch / "data"),
                     "--http", "127.0.0.1:0", "--ready-file", str(ready)]
        kept = os.environ.get("GRAPHOPHONE_TEST_LOGS")
        if kept:
            arguments += ["--log", "debug"]
        # Apart: the dev profile prints its credentials, and no log may have them.
        with log.open("wb") as err, (scratch / "welcome.txt").open("wb") as out:
            process = subprocess.Popen([*command, *arguments], stdout=out, stderr=err)
        try:
            wait_until(lambda: ready.exists() or process.poll() is not None, within,
                       "the server to write its ready file")
            if process.poll() is not None:
                raise Failed(f"the server ended with {process.returncode}:\n{log.read_text()}")
            yield Ready(ready)
            if process.poll() is not None:
                raise Failed(f"the server died ({process.returncode}):\n{log.read_text()}")
        except BaseException:
            sys.stderr.write(log.read_text(errors="replace")[-4000:])
            raise
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if kept:
                pathlib.Path(kept).mkdir(parents=True, exist_ok=True)
                shutil.copy(log, pathlib.Path(kept) / f"interop-{process.pid}.log")
    check(process.returncode == 0, "the server stops cleanly", process.returncode)


def server_of(options, config):
    """The server of `--ready-file`, or one of our own with this configuration."""
    if options.ready_file:
        return contextlib.nullcontext(Ready(options.ready_file))
    return server(shlex.split(options.server), config)


def add_server_options(parser):
    parser.add_argument("--ready-file", help="ready file of a server that already runs")
    parser.add_argument("--server", default="graphophone dev", metavar="COMMAND",
                        help="starts a server; --config, --data, --http and --ready-file are added")


def wait_until(holds, within, what):
    end = time.monotonic() + within
    while not (value := holds()):
        if time.monotonic() > end:
            raise Failed(f"waited {within} s for {what}")
        time.sleep(0.02)
    return value


def tone(hertz, seconds, rate=16_000, loud=0.5):
    """Samples of a sine, as ints."""
    step = 2 * math.pi * hertz / rate
    return [round(32767 * loud * math.sin(step * n)) for n in range(round(rate * seconds))]


def wav(samples, rate=16_000):
    """Mono 16-bit PCM, as Graph's documents ask for."""
    data = struct.pack(f"<{len(samples)}h", *samples)
    return (struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(data), b"WAVE", b"fmt ", 16,
                        1, 1, rate, 2 * rate, 2, 16, b"data", len(data)) + data)


class _Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, handler, port=0):
        super().__init__(("127.0.0.1", port), handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def server_bind(self):
        # The inherited one asks the resolver for our name.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", kind="application/octet-stream"):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class PromptHost:
    """Serves WAV files and counts how often each was asked for."""

    def __init__(self):
        self.files, self.asked = {}, {}
        host = self

        class Handler(_Handler):
            def do_GET(self):
                host.asked[self.path] = host.asked.get(self.path, 0) + 1
                body = host.files.get(self.path)
                if body is None:
                    self.answer(404, b"no such prompt")
                else:
                    self.answer(200, body, "audio/wav")

        self.port = _Server(Handler).server_port

    def add(self, name, body):
        self.files[f"/{name}"] = body
        return f"http://127.0.0.1:{self.port}/{name}"


class Notification:
    """One commsNotification with the token it came with."""

    def __init__(self, value, headers):
        self.change = value["changeType"]
        self.resource = value["resourceUrl"]
        self.old_resource = value.get("resource")
        self.data = value["resourceData"]
        self.headers = headers

    @property
    def call(self):
        parts = self.resource.strip("/").split("/")
        return parts[2] if parts[:2] == ["communications", "calls"] and len(parts) > 2 else None

    @property
    def operation(self):
        parts = self.resource.strip("/").split("/")
        return parts[4] if len(parts) == 5 and parts[3] == "operations" else None

    @property
    def name(self):
        """`updated established+active`, `deleted operation completed`, …"""
        if self.operation:
            return f"{self.change} operation {self.data.get('status')}"
        if isinstance(self.data, list):
            return f"{self.change} participants"
        audio = (self.data.get("mediaState") or {}).get("audio")
        return f"{self.change} {self.data.get('state')}" + (f"+{audio}" if audio else "")

    @property
    def why(self):
        result = None if isinstance(self.data, list) else self.data.get("resultInfo")
        return f" ({result.get('message')})" if result else ""


class Webhook:
    """A bot's callback. Answers 202 and keeps everything in order of arrival."""

    def __init__(self, port=0, heard=lambda notification: None):
        self.all, self.news = [], threading.Condition()
        hook = self

        class Handler(_Handler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                try:
                    new = [Notification(value, self.headers) for value in json.loads(body)["value"]]
                except (ValueError, KeyError, TypeError) as error:
                    new = []
                    print(f"a notification cannot be read ({error!r}): {body[:500]!r}",
                          file=sys.stderr, flush=True)
                with hook.news:
                    hook.all += new
                    hook.news.notify_all()
                self.answer(202)
                for notification in new:
                    heard(notification)

        self.url = f"http://127.0.0.1:{_Server(Handler, port).server_port}/api/calls"

    def of(self, call):
        with self.news:
            return [n for n in self.all if n.call == call]

    def wait(self, call, name, within=15, operation=None):
        """The first notification of `call` with this name (and operation)."""
        def found():
            return next((n for n in self.all if n.call == call and n.name == name
                         and operation in (None, n.operation)), None)
        with self.news:
            if not self.news.wait_for(found, within):
                came = [n.name + n.why for n in self.all if n.call == call]
                raise Failed(f"waited {within} s for the notification {name!r}; came: {came}")
            return found()


class Graph:
    """A bot without an SDK: one connection per thread, a token from the server's own issuer."""

    def __init__(self, ready):
        self.ready, self.local = ready, threading.local()
        self.host = urllib.parse.urlsplit(ready.http).netloc
        form = urllib.parse.urlencode({
            "grant_type": "client_credentials", "client_id": ready.clientId,
            "client_secret": ready.clientSecret, "scope": SCOPE})
        status, answer = self.send("POST", f"/{ready.tenant}/oauth2/v2.0/token", form.encode(),
                                   {"Content-Type": "application/x-www-form-urlencoded"})
        if status != 200:
            raise Failed(f"no token: {status} {answer}")
        self.token = answer["access_token"]

    def send(self, method, path, body=None, headers=None):
        connection = getattr(self.local, "connection", None)
        fresh = connection is None
        if fresh:
            connection = self.local.connection = http.client.HTTPConnection(self.host, timeout=15)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            # Left half-read, it would answer the next request with this one's response.
            self.local.connection = None
            connection.close()
            idle = isinstance(error, (http.client.RemoteDisconnected, ConnectionError))
            if idle and not fresh:
                # The server may close a connection that waited too long (RFC 9110 §9.2.2).
                return self.send(method, path, body, headers)
            raise
        return response.status, json.loads(text) if text else None

    def __call__(self, method, path, body=None, expect=200):
        headers = {"Authorization": f"Bearer {self.token}"}
        if body is not None:
            body, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        status, answer = self.send(method, f"/v1.0/communications/calls{path}", body, headers)
        if status != expect:
            raise Failed(f"{method} …/calls{path} gives {status}, not {expect}: {answer}")
        return answer

    def create(self, callback, target, kind="user"):
        return self("POST", "", {
            "@odata.type": "#microsoft.graph.call", "callbackUri": callback,
            "tenantId": self.ready.tenant, "requestedModalities": ["audio"],
            "mediaConfig": {"@odata.type": "#microsoft.graph.serviceHostedMediaConfig"},
            "targets": [{
                "@odata.type": "#microsoft.graph.invitationParticipantInfo",
                "identity": {"@odata.type": "#microsoft.graph.identitySet",
                             kind: {"@odata.type": "#microsoft.graph.identity", "id": target}}}],
        }, expect=201)["id"]

    def answer(self, call, callback):
        self("POST", f"/{call}/answer", {
            "callbackUri": callback, "acceptedModalities": ["audio"],
            "mediaConfig": {"@odata.type": "#microsoft.graph.serviceHostedMediaConfig"},
        }, expect=202)

    def play(self, call, *uris, context=None):
        prompts = [{"@odata.type": "#microsoft.graph.mediaPrompt",
                    "mediaInfo": {"@odata.type": "#microsoft.graph.mediaInfo", "uri": uri,
                                  "resourceId": uri}} for uri in uris]
        body = {"clientContext": context, "prompts": prompts}
        return self("POST", f"/{call}/playPrompt", body)["id"]

    def hang_up(self, call):
        self("DELETE", f"/{call}", expect=204)


def verify_tokens(ready, notifications):
    """Checks each notification's bearer token as Microsoft's samples do (notifications.md §3)."""
    import jwt  # PyJWT; only the checks that verify need it

    document = fetch_json(ready, f"{ready.http}/v1/.well-known/OpenIdConfiguration")
    keys = {key["kid"]: jwt.PyJWK(key).key
            for key in fetch_json(ready, document["jwks_uri"])["keys"]}
    issuers = ["https://graph.microsoft.com", "https://api.botframework.com"]
    for notification in notifications:
        kind, _, token = notification.headers.get("Authorization", "").partition(" ")
        if kind != "Bearer":
            raise Failed(f"{notification.name} came without a bearer token")
        try:
            key = keys[jwt.get_unverified_header(token)["kid"]]
            claims = jwt.decode(token, key, algorithms=["RS256"], audience=ready.clientId,
                                options={"require": ["exp", "iat", "nbf", "iss", "aud"]})
        except (jwt.PyJWTError, KeyError) as error:
            raise Failed(f"the token of {notification.name} is not good: {error!r}") from error
        if claims["iss"] not in issuers or claims.get("tid") != ready.tenant:
            raise Failed(f"the token of {notification.name} has wrong claims: {claims}")


def fetch_json(ready, url):
    import urllib.request

    context = ready.ssl_context() if url.startswith("https:") else None
    with urllib.request.urlopen(url, timeout=10, context=context) as response:
        return json.load(response)
