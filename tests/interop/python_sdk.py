"""A bot on Microsoft's own Python SDKs, unmodified: token, call, prompt, poll, loop, cancel,
hang-up; first msgraph-sdk on /v1.0 over HTTPS, then msgraph-beta-sdk on /beta over HTTP."""

import argparse
import asyncio
import importlib
import os
import uuid

import rig
from rig import check, passed

PROMPT_SECONDS = 1.5


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    rig.add_server_options(parser)
    options = parser.parse_args()
    with rig.server_of(options, "") as ready:
        # Both must stand before the SDKs make their first connection.
        os.environ["REQUESTS_CA_BUNDLE"] = os.environ["SSL_CERT_FILE"] = ready.ca
        for package, base in [("msgraph", f"{ready.https}/v1.0"),
                              ("msgraph_beta", f"{ready.http}/beta")]:
            asyncio.run(asyncio.wait_for(Bot(package, base, ready).work(), 90))


class Sdk:
    """A bot on one of Microsoft's SDKs, with its web servers."""

    def __init__(self, package, base, ready):
        from azure.identity import ClientSecretCredential
        from kiota_authentication_azure.azure_identity_authentication_provider import (
            AzureIdentityAuthenticationProvider)

        self.package, self.ready = package, ready
        self.hook, self.host = rig.Webhook(), rig.PromptHost()
        credential = ClientSecretCredential(
            ready.tenant, ready.clientId, ready.clientSecret,
            authority=ready.https, disable_instance_discovery=True)
        adapter = self.part("graph_request_adapter").GraphRequestAdapter(
            AzureIdentityAuthenticationProvider(credential, scopes=[rig.SCOPE]))
        adapter.base_url = base
        self.calls = self.part("graph_service_client").GraphServiceClient(
            request_adapter=adapter).communications.calls

    def part(self, name):
        return importlib.import_module(f"{self.package}.{name}")

    def model(self, name, **members):
        module = "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")
        return getattr(self.part(f"generated.models.{module}"), name)(**members)


class Bot(Sdk):
    async def work(self):
        say = lambda text: f"{self.package}: {text}"
        call = await self.create()
        check(uuid.UUID(call.id), say("POST /calls gives a call with an id"))
        check(call.state.value == "establishing", say("it is establishing"), call.state)
        await self.heard(call.id, "updated established+active")
        passed(say("the established notification came"))
        one = self.calls.by_call_id(call.id)
        check((await one.get()).state.value == "established", say("GET says established"))

        uri = self.host.add("hello.wav", rig.wav(rig.tone(440, PROMPT_SECONDS)))
        played = await self.play(one, uri, "first", looping=False)
        check(played.status.value.lower() == "running", say("playPrompt is running"), played.status)
        check(played.client_context == "first", say("clientContext is echoed"))
        done = await self.poll(one, played.id, "completed")
        check(done.result_info.code == 200 and done.result_info.subcode == 0,
              say("GET of the operation says completed with 200/0"), done.result_info)
        self.check_receipt(done.additional_data.get("graphophoneReceipt"), say)
        ended = await self.heard(call.id, "deleted operation completed", played.id)
        check(ended.data["completionReason"] == "completedSuccessfully"
              and ended.data["clientContext"] == "first",
              say("its notification says completedSuccessfully"), ended.data)
        self.check_receipt(ended.data.get("graphophoneReceipt"), say)

        endless = await self.play(one, uri, "endless", looping=True)
        still = await self.poll(one, endless.id, "running", until=self.is_second_pass)
        check(still.status.value.lower() == "running", say("the loop goes on"), still.status)
        cancelled = await self.cancel(one)
        check(cancelled.status.value.lower() == "completed", say("the cancel is completed"))
        cut = await self.heard(call.id, "deleted operation failed", endless.id)
        check(cut.data["completionReason"] == "mediaOperationCanceled"
              and cut.data["resultInfo"]["subcode"] == 8508,
              say("the loop's notification says mediaOperationCanceled, 8508"), cut.data)

        await one.delete()
        await self.heard(call.id, "deleted terminated")
        await self.check_gone(one, say)
        names = [n.name for n in self.hook.of(call.id)]
        # SDKs of v1.0 know no state ringing.
        ringing = ["updated ringing"] if self.package == "msgraph_beta" else []
        check(names == ["updated establishing", *ringing, "updated established",
                        "updated established+active", "deleted operation completed",
                        "deleted operation failed", "updated terminating", "deleted terminated"],
              say("the notifications came in order, each once"), names)
        check(all(n.old_resource == n.resource.replace("/communications/", "/app/", 1)
                  for n in self.hook.of(call.id)), say("resource and resourceUrl agree"))
        rig.verify_tokens(self.ready, self.hook.of(call.id))
        passed(say("each notification carries a good token"))

    async def create(self):
        modality = self.part("generated.models.modality").Modality
        identity = self.model("IdentitySet", odata_type="#microsoft.graph.identitySet")
        identity.user = self.model("Identity", odata_type="#microsoft.graph.identity",
                                   id=self.ready.phone)
        target = self.model("InvitationParticipantInfo", identity=identity,
                            odata_type="#microsoft.graph.invitationParticipantInfo")
        return await self.calls.post(self.model(
            "Call", odata_type="#microsoft.graph.call", callback_uri=self.hook.url,
            tenant_id=self.ready.tenant, requested_modalities=[modality.Audio], targets=[target],
            media_config=self.model("ServiceHostedMediaConfig")))

    async def play(self, one, uri, context, looping):
        body = self.part("generated.communications.calls.item.play_prompt"
                         ".play_prompt_post_request_body").PlayPromptPostRequestBody()
        body.client_context = context
        info = self.model("MediaInfo", odata_type="#microsoft.graph.mediaInfo", uri=uri,
                          resource_id=str(uuid.uuid4()))
        body.prompts = [self.model("MediaPrompt", odata_type="#microsoft.graph.mediaPrompt",
                                   media_info=info)]
        if hasattr(body, "loop"):
            body.loop = looping
        elif looping:
            # v1.0 has no such member in its metadata; this is how its users send it.
            body.additional_data = {"loop": True}
        return await one.play_prompt.post(body)

    async def cancel(self, one):
        body = self.part("generated.communications.calls.item.cancel_media_processing"
                         ".cancel_media_processing_post_request_body"
                         ).CancelMediaProcessingPostRequestBody(client_context="stop")
        return await one.cancel_media_processing.post(body)

    @staticmethod
    def is_second_pass(operation):
        """More was sent than the prompt has: only a loop is still running then."""
        receipt = operation.additional_data.get("graphophoneReceipt") or {}
        sent = sum(prompt["millisecondsSent"] for prompt in receipt.get("prompts", []))
        return sent > 1000 * PROMPT_SECONDS

    async def poll(self, one, operation, status, within=15, until=lambda _: False):
        async def reached():
            while True:
                now = await one.operations.by_comms_operation_id(operation).get()
                if now.status.value.lower() != "running" or until(now):
                    return now
                await asyncio.sleep(0.1)
        now = await asyncio.wait_for(reached(), within)
        check(now.status.value.lower() == status,
              f"{self.package}: polling sees {status}", now.result_info)
        return now

    async def heard(self, call, name, operation=None):
        # The SDK's connections live in this loop: wait for the webhook beside it.
        return await asyncio.to_thread(self.hook.wait, call, name, 15, operation)

    def check_receipt(self, receipt, say):
        prompts = (receipt or {}).get("prompts") or [{}]
        sent, acknowledged = (prompts[0].get(f"milliseconds{which}")
                              for which in ("Sent", "Acknowledged"))
        check(len(prompts) == 1 and prompts[0].get("reason") == "completed"
              and abs(sent - 1000 * PROMPT_SECONDS) <= 20
              and (acknowledged is None or acknowledged <= sent)
              and len(prompts[0]["sha256"]) == 64,
              say(f"the receipt says {sent} ms sent, {acknowledged} acknowledged"), receipt)

    async def check_gone(self, one, say):
        errors = self.part("generated.models.o_data_errors.o_data_error")
        try:
            await one.get()
        except errors.ODataError as error:
            check(error.response_status_code == 404 and error.error.code == "8522",
                  say("GET after the end gives 404, 8522"), error)
        else:
            raise rig.Failed(say("GET after the end still finds the call"))


if __name__ == "__main__":
    rig.run(main)
