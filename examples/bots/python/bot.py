"""What the two bots share: a Graph client, a web server for notifications and prompts, and the
check of the token that every notification carries. For the beta API write msgraph_beta for msgraph,
here and in the bots; nothing else changes."""

import argparse
import asyncio
import http.server
import json
import os
import pathlib
import sys
import threading
import urllib.request

import jwt  # PyJWT, which azure-identity brings along
from azure.identity import ClientSecretCredential
from kiota_authentication_azure.azure_identity_authentication_provider import (
    AzureIdentityAuthenticationProvider)
from msgraph.generated.communications.calls.item.answer.answer_post_request_body import (
    AnswerPostRequestBody)
from msgraph.generated.communications.calls.item.play_prompt.play_prompt_post_request_body import (
    PlayPromptPostRequestBody)
from msgraph.generated.models.media_info import MediaInfo
from msgraph.generated.models.media_prompt import MediaPrompt
from msgraph.generated.models.modality import Modality
from msgraph.generated.models.o_data_errors.o_data_error import ODataError
from msgraph.generated.models.play_prompt_operation import PlayPromptOperation
from msgraph.generated.models.service_hosted_media_config import ServiceHostedMediaConfig
from msgraph.graph_request_adapter import GraphRequestAdapter
from msgraph.graph_service_client import GraphServiceClient

PROMPTS = pathlib.Path(__file__).resolve().parents[1] / "prompts"
ISSUERS = ["https://graph.microsoft.com", "https://api.botframework.com"]


class Bot:
    """Answers calls; what happens in them is the business of the classes built on this one."""

    def __init__(self, options):
        self.ready = json.loads(options.ready_file.read_text())
        os.environ["REQUESTS_CA_BUNDLE"] = os.environ["SSL_CERT_FILE"] = self.ready["ca"]
        credential = ClientSecretCredential(
            self.ready["tenant"], self.ready["clientId"], self.ready["clientSecret"],
            authority=self.ready["https"], disable_instance_discovery=True)
        adapter = GraphRequestAdapter(AzureIdentityAuthenticationProvider(
            credential, scopes=["https://graph.microsoft.com/.default"]))
        version = "beta" if GraphServiceClient.__module__.startswith("msgraph_beta") else "v1.0"
        adapter.base_url = f"{self.ready['https']}/{version}"
        self.calls = GraphServiceClient(request_adapter=adapter).communications.calls
        openid = f"{self.ready['http']}/v1/.well-known/OpenIdConfiguration"
        with urllib.request.urlopen(openid, timeout=10) as answer:
            self.keys = jwt.PyJWKClient(json.load(answer)["jwks_uri"])
        # The SDK loads thousands of models at the first answer it reads: now, and not while
        # somebody calls.
        PlayPromptOperation().get_field_deserializers()
        self.files = {path.name: path.read_bytes() for path in PROMPTS.glob("*.wav")}
        self.news = asyncio.Queue()
        self.web = serve(self, options.port, asyncio.get_running_loop())
        self.url = f"http://127.0.0.1:{self.web.server_port}"
        say(f"listens at {self.url}/api/calls")

    async def run(self):
        """Takes notifications one by one, in their order."""
        while True:
            notification = await self.news.get()
            data = notification["resourceData"]
            # /communications/calls/{id}, or /communications/calls/{id}/operations/{operation}
            call, *below = notification["resourceUrl"].split("/")[3:]
            say(f"{call} {notification['changeType']} {describe(data)}")
            one = self.calls.by_call_id(call)
            try:
                if below[:1] == ["operations"]:
                    await self.operation_ended(one, data)
                elif data.get("state") == "incoming":
                    await self.answer(one)
                elif data.get("state") == "established" and data.get("resultInfo"):
                    await self.transfer_failed(one)
                elif data.get("toneInfo"):
                    await self.key_pressed(one, data["toneInfo"])
                elif (data.get("mediaState") or {}).get("audio") == "active":
                    await self.audio_active(one, call)
            except ODataError as error:  # one call that goes wrong is not the end of the bot
                say(f"{call} error {error.error.code} {error.error.message}")

    async def answer(self, one):
        # What is named here is fetched while the call is being set up.
        media = ServiceHostedMediaConfig(pre_fetch_media=[self.info(name) for name in self.files])
        await one.answer.post(AnswerPostRequestBody(
            callback_uri=f"{self.url}/api/calls", accepted_modalities=[Modality.Audio],
            media_config=media))

    async def play(self, one, *names, context):
        await one.play_prompt.post(PlayPromptPostRequestBody(
            prompts=[self.prompt(name) for name in names], client_context=context))

    def prompt(self, name):
        return MediaPrompt(odata_type="#microsoft.graph.mediaPrompt", media_info=self.info(name))

    def info(self, name):
        return MediaInfo(odata_type="#microsoft.graph.mediaInfo", resource_id=name,
                         uri=f"{self.url}/prompts/{name}")

    def is_genuine(self, authorization):
        """Whether the calling service has signed this, for us (as Microsoft's samples check it)."""
        kind, _, token = (authorization or "").partition(" ")
        try:
            key = self.keys.get_signing_key_from_jwt(token).key
            claims = jwt.decode(token, key, algorithms=["RS256"], audience=self.ready["clientId"])
        except jwt.PyJWTError as error:
            say(f"refused a notification: {error}")
            return False
        return kind == "Bearer" and claims["iss"] in ISSUERS and claims["tid"] == self.ready["tenant"]

    async def audio_active(self, one, call):
        """The caller hears us and we hear the caller. Told again when a hold ends."""

    async def key_pressed(self, one, tone):
        """A key, after subscribeToTone: `tone["tone"]`, numbered by `tone["sequenceId"]`."""

    async def transfer_failed(self, one):
        """Nobody was there, or would: the caller is still with us."""

    async def operation_ended(self, one, operation):
        """A playPrompt or recordResponse has completed or failed."""


def serve(bot, port, loop):
    """POST /api/calls takes notifications, GET /prompts/NAME gives files."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if not bot.is_genuine(self.headers["Authorization"]):
                return self.reply(401)
            # Answer first, act later: the service waits for this answer before it tells more.
            self.reply(202)
            for notification in json.loads(body)["value"]:
                loop.call_soon_threadsafe(bot.news.put_nowait, notification)

        def do_GET(self):
            file = bot.files.get(self.path.removeprefix("/prompts/"))
            self.reply(404 if file is None else 200, file or b"")

        def reply(self, status, body=b""):
            self.send_response(status)
            self.send_header("Content-Type", "audio/wav")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def describe(data):
    """`established active`, `established tone1 #1`, `playPromptOperation completed 200/0` …"""
    tone = data.get("toneInfo")
    words = [data.get("state"), (data.get("mediaState") or {}).get("audio"),
             f"{tone['tone']} #{tone['sequenceId']}" if tone else None]
    if data.get("status"):
        words = [data["@odata.type"].rpartition(".")[2], data["status"]]
    result = data.get("resultInfo")
    words += [f"{result['code']}/{result['subcode']}"] if result else []
    return " ".join(word for word in words if word)


def say(text):
    print(text, flush=True)


def main(make, **more):
    """Runs the bot that `make` makes of the command line until it is stopped."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("ready_file", type=pathlib.Path, help="what `graphophone dev` has written")
    parser.add_argument("--port", type=int, default=3978, help="of the bot's own web server")
    for name, (default, text) in more.items():
        parser.add_argument(f"--{name.replace('_', '-')}", default=default, help=text)

    async def work():
        await make(parser.parse_args()).run()
    try:
        asyncio.run(work())
    except KeyboardInterrupt:
        pass
