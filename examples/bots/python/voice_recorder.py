"""VoiceRecorder: answers, records what the caller says until #, plays it back and hangs up.
(After the VoiceRecorderAndPlaybackBot of Microsoft's samples.)

    graphophone dev --calling-webhook http://127.0.0.1:3978/api/calls --ready-file ready.json
    python examples/bots/python/voice_recorder.py ready.json
"""

import pathlib
import ssl
import urllib.request

import bot
from msgraph.generated.communications.calls.item.record_response.record_response_post_request_body import (
    RecordResponsePostRequestBody)


class VoiceRecorder(bot.Bot):
    def __init__(self, options):
        super().__init__(options)
        self.folder = pathlib.Path(options.folder)
        self.greeted = set()

    async def audio_active(self, one, call):
        if call in self.greeted:
            return
        self.greeted.add(call)
        await one.record_response.post(RecordResponsePostRequestBody(
            prompts=[self.prompt("record.wav")], play_beep=True, stop_tones=["#"],
            initial_silence_timeout_in_seconds=10, max_silence_timeout_in_seconds=5,
            max_record_duration_in_seconds=60, client_context=call))

    async def operation_ended(self, one, operation):
        call = operation.get("clientContext")
        if operation["@odata.type"] != "#microsoft.graph.recordOperation":
            await one.delete()  # the caller has heard it
        elif operation["status"] == "completed" and operation["resultInfo"]["code"] == 200:
            # The location is for who shows the token that came with it, and for a short time.
            name = f"{call}.wav"
            self.files[name] = self.download(operation)
            (self.folder / name).write_bytes(self.files[name])
            bot.say(f"{call} recorded {len(self.files[name])} bytes")
            await self.play(one, "heard.wav", name, context=call)
        else:
            await one.delete()

    def download(self, operation):
        token = operation["recordingAccessToken"]
        request = urllib.request.Request(operation["recordingLocation"],
                                         headers={"Authorization": f"Bearer {token}"})
        trusted = ssl.create_default_context(cafile=self.ready["ca"])
        with urllib.request.urlopen(request, timeout=10, context=trusted) as answer:
            return answer.read()


if __name__ == "__main__":
    bot.main(VoiceRecorder, folder=(".", "where recordings are kept"))
