"""SimpleIvr: answers, plays a menu, and on key 1 transfers the caller to somebody else.
(After the SimpleIvrBot of Microsoft's samples.)

    graphophone dev --calling-webhook http://127.0.0.1:3978/api/calls --ready-file ready.json
    python examples/bots/python/simple_ivr.py ready.json
"""

import bot
from msgraph.generated.communications.calls.item.cancel_media_processing.cancel_media_processing_post_request_body import (
    CancelMediaProcessingPostRequestBody)
from msgraph.generated.communications.calls.item.subscribe_to_tone.subscribe_to_tone_post_request_body import (
    SubscribeToTonePostRequestBody)
from msgraph.generated.communications.calls.item.transfer.transfer_post_request_body import (
    TransferPostRequestBody)
from msgraph.generated.models.identity import Identity
from msgraph.generated.models.identity_set import IdentitySet
from msgraph.generated.models.invitation_participant_info import InvitationParticipantInfo


class SimpleIvr(bot.Bot):
    def __init__(self, options):
        super().__init__(options)
        self.person = options.person
        self.greeted = set()

    async def audio_active(self, one, call):
        if call in self.greeted:
            return
        self.greeted.add(call)
        await one.subscribe_to_tone.post(SubscribeToTonePostRequestBody(client_context="keys"))
        await self.play_menu(one)

    async def key_pressed(self, one, tone):
        # Whatever plays is cut, so that the caller need not wait.
        await one.cancel_media_processing.post(CancelMediaProcessingPostRequestBody())
        if tone["tone"] == "tone1":
            await self.play(one, "transfer.wav", context="transfer")
        else:
            await self.play_menu(one)

    async def transfer_failed(self, one):
        await self.play_menu(one)

    async def play_menu(self, one):
        await self.play(one, "menu.wav", "menu.wav", "menu.wav", context="menu")

    async def operation_ended(self, one, operation):
        if operation.get("clientContext") == "transfer" and operation["status"] == "completed":
            person = Identity(odata_type="#microsoft.graph.identity", id=self.person)
            await one.transfer.post(TransferPostRequestBody(
                transfer_target=InvitationParticipantInfo(
                    odata_type="#microsoft.graph.invitationParticipantInfo",
                    identity=IdentitySet(odata_type="#microsoft.graph.identitySet", user=person))))


if __name__ == "__main__":
    bot.main(SimpleIvr, person=("00000000-0000-0000-0000-000000000001",
                                "user id, or sip: URI, of who is behind key 1"))
