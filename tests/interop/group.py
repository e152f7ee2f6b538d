"""A group call of Microsoft's Python SDKs with three baresip phones, judged by what each hears: two
called, one invited later; mute, hold music, a private word, removal, end."""

import argparse
import asyncio
import contextlib
import os
import pathlib
import tempfile
import time

import numpy

import rig
from peer import RATE, Baresip
from python_sdk import Sdk
from rig import check, passed
from sipp import free_port

# Who says what: Hz. Far from each other's harmonics.
VOICES = {"alice": 440, "bob": 710, "carol": 1150}
PROMPT, MUSIC = 1850, 2700
IDS = {name: f"00000000-0000-0000-0000-0000000000a{n}" for n, name in enumerate(VOICES)}
CONFIG = "".join(f"""
[[phone]]
user = "{name}"
password = "{name}-password"
user_id = "{IDS[name]}"
""" for name in VOICES)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    rig.add_server_options(parser)
    parser.add_argument("--only", choices=["msgraph", "msgraph_beta"])
    options = parser.parse_args()
    with rig.server_of(options, CONFIG) as ready:
        os.environ["REQUESTS_CA_BUNDLE"] = os.environ["SSL_CERT_FILE"] = ready.ca
        for package, base in [("msgraph", f"{ready.https}/v1.0"),
                              ("msgraph_beta", f"{ready.http}/beta")]:
            if options.only in (None, package):
                begin = time.monotonic()
                with tempfile.TemporaryDirectory(prefix="graphophone-group-") as folder, \
                        phones(ready, pathlib.Path(folder)) as peers:
                    bot = Bot(package, base, ready, peers)
                    asyncio.run(asyncio.wait_for(bot.work(), 90))
                passed(f"{package}: the group call took {time.monotonic() - begin:.1f} s")


@contextlib.contextmanager
def phones(ready, folder):
    with contextlib.ExitStack() as stack:
        yield {name: stack.enter_context(Baresip(
            name, folder / name, free_port(), ready.sip["udp"], f"{name}-password"))
            for name in VOICES}


class Bot(Sdk):
    def __init__(self, package, base, ready, peers):
        super().__init__(package, base, ready)
        self.peers = peers
        self.call = self.one = None

    def body(self, path, **members):
        """The body of an action below `/communications/calls/{id}`."""
        name = path.rpartition(".")[2]
        module = self.part(f"generated.communications.calls.item.{path}.{name}_post_request_body")
        kind = "".join(word.capitalize() for word in name.split("_")) + "PostRequestBody"
        return getattr(module, kind)(**members)

    def say(self, text):
        return f"{self.package}: {text}"

    def invited(self, name):
        identity = self.model("IdentitySet", odata_type="#microsoft.graph.identitySet")
        identity.user = self.model("Identity", odata_type="#microsoft.graph.identity", id=IDS[name])
        return self.model("InvitationParticipantInfo", identity=identity,
                          odata_type="#microsoft.graph.invitationParticipantInfo")

    def prompt(self, hertz, seconds):
        uri = self.host.add(f"{hertz}.wav", rig.wav(rig.tone(hertz, seconds)))
        info = self.model("MediaInfo", odata_type="#microsoft.graph.mediaInfo", uri=uri,
                          resource_id=uri)
        return self.model("MediaPrompt", odata_type="#microsoft.graph.mediaPrompt", media_info=info)

    async def work(self):
        alice, bob, carol = self.peers.values()
        modality = self.part("generated.models.modality").Modality
        made = await self.calls.post(self.model(
            "Call", odata_type="#microsoft.graph.call", callback_uri=self.hook.url,
            tenant_id=self.ready.tenant, requested_modalities=[modality.Audio],
            targets=[self.invited("alice"), self.invited("bob")],
            media_config=self.model("ServiceHostedMediaConfig")))
        self.call, self.one = made.id, self.calls.by_call_id(made.id)
        check(made.state.value == "establishing", self.say("a call of two targets is made"))
        await self.told("updated established+active")
        for phone in (alice, bob):
            await self.do(phone.expect, "Call established", "to be in the call")
        await self.roster(lambda people: {"alice", "bob"} <= set(people), "alice and bob are in it")

        for phone in self.peers.values():
            self.voice(phone)
        await self.hears(alice, "bob")
        await self.hears(bob, "alice")

        invite = await self.one.participants.invite.post(self.body(
            "participants.invite", participants=[self.invited("carol")], client_context="carol"))
        check(invite.status.value.lower() == "running", self.say("the invitation is running"))
        await self.told("deleted operation completed", invite.id)
        await self.do(carol.expect, "Call established", "to be invited")
        people = await self.roster(lambda people: "carol" in people, "carol is in it")
        self.voice(carol)
        await self.hears(alice, "bob", "carol")
        await self.hears(bob, "alice", "carol")
        await self.hears(carol, "alice", "bob")

        listed = await self.one.participants.get()
        check({person.id for person in listed.value} == set(people.values()),
              self.say("GET of the participants agrees with the notification"))
        muted = await self.one.participants.by_participant_id(people["bob"]).mute.post(
            self.body("participants.item.mute", client_context="hush"))
        check(muted.status.value.lower() == "completed", self.say("bob is muted"))
        await self.hears(alice, "carol")
        await self.hears(bob, "alice", "carol")
        one = await self.one.participants.by_participant_id(people["bob"]).get()
        check(one.is_muted is True, self.say("and GET says so"))

        played = await self.one.play_prompt.post(self.body(
            "play_prompt", prompts=[self.prompt(PROMPT, 1.5)], client_context="all"))
        await self.hears(alice, "carol", PROMPT)
        await self.hears(bob, "alice", "carol", PROMPT)
        await self.told("deleted operation completed", played.id)

        await self.music(people)
        await self.whisper(people)

        await self.one.participants.by_participant_id(people["carol"]).delete()
        await self.do(carol.expect, "terminated (duration", "to be removed")
        await self.roster(lambda people: "carol" not in people, "carol is gone")

        await self.one.delete()
        await self.told("deleted terminated")
        rig.verify_tokens(self.ready, self.hook.of(self.call))
        passed(self.say("each notification carries a good token"))
        # As in Graph the call goes on without its bot; here for as long as there are two.
        check("terminated (duration" not in alice.log() + bob.log(),
              self.say("the others are still in the call"))
        await self.do(alice.hang_up)
        for phone in (alice, bob):
            await self.do(phone.expect, "terminated (duration", "to be out of the call")

    async def music(self, people):
        alice, bob, carol = self.peers.values()
        place = self.one.participants.by_participant_id(people["alice"])
        start = await place.start_hold_music.post(self.body(
            "participants.item.start_hold_music", custom_prompt=self.prompt(MUSIC, 1.0),
            client_context="hold"))
        await self.told("deleted operation completed", start.id)
        await self.hears(alice, MUSIC)
        await self.hears(carol)
        stop = await place.stop_hold_music.post(self.body(
            "participants.item.stop_hold_music", client_context="back"))
        await self.told("deleted operation completed", stop.id)
        await self.hears(alice, "carol")
        await self.hears(bob, "alice", "carol")

    async def whisper(self, people):
        """alice and carol speak with each other alone."""
        alice, bob, carol = self.peers.values()
        mode = self.part("generated.models.routing_mode").RoutingMode
        group = await self.one.audio_routing_groups.post(self.model(
            "AudioRoutingGroup", odata_type="#microsoft.graph.audioRoutingGroup",
            routing_mode=mode.OneToOne, sources=[people["alice"]], receivers=[people["carol"]]))
        await self.hears(carol, "alice")
        await self.hears(alice, "carol")
        await self.hears(bob)
        await self.one.audio_routing_groups.by_audio_routing_group_id(group.id).delete()
        await self.hears(bob, "alice", "carol")

    async def do(self, work, *arguments):
        # The SDK's connections live in this loop: wait beside it.
        return await asyncio.to_thread(work, *arguments)

    async def told(self, name, operation=None):
        return await self.do(self.hook.wait, self.call, name, 15, operation)

    async def roster(self, holds, what):
        """Waits for a roster of which something holds; ids of participants by name of phone."""
        names = {user: name for name, user in IDS.items()}

        def people():
            rosters = [n.data for n in self.hook.of(self.call)
                       if n.name == "updated participants"]
            if not rosters:
                return None
            found = {names.get((person["info"]["identity"].get("user") or {}).get("id"), "bot"):
                     person["id"] for person in rosters[-1]}
            return found if holds(found) else None
        found = await self.do(rig.wait_until, people, 15, f"a roster: {what}")
        passed(self.say(f"the roster says that {what}"))
        return found

    def voice(self, phone):
        phone.speak(numpy.array(rig.tone(VOICES[phone.name], 60, RATE, 0.3)))

    async def hears(self, phone, *who):
        """Exactly these voices (or pitches) are what a phone hears now."""
        wanted = {VOICES.get(one, one) for one in who}
        pitches = [*VOICES.values(), PROMPT, MUSIC]

        def heard():
            samples = phone.heard()[-RATE // 5:]
            if len(samples) < RATE // 5:
                return None
            levels = {hertz: level(samples, hertz) for hertz in pitches}
            present = {hertz for hertz, value in levels.items() if value > 800}
            absent = {hertz for hertz, value in levels.items() if value < 150}
            return levels if present == wanted and absent == set(pitches) - wanted else None

        def silent():
            before = len(phone.heard())
            time.sleep(0.3)
            fresh = phone.heard()[before:]
            return not len(fresh) or numpy.abs(fresh).max() < 150
        names = " and ".join(map(str, who)) or "nothing"
        try:
            await self.do(rig.wait_until, heard if who else lambda: silent() or heard(), 10,
                          f"{phone.name} to hear {names}")
        except rig.Failed as failure:
            samples = phone.heard()[-RATE // 5:]
            levels = {hertz: round(level(samples, hertz)) for hertz in pitches}
            raise rig.Failed(f"{failure}; levels: {levels}") from failure
        passed(self.say(f"{phone.name} hears {names}" + (", and nothing else" if who else "")))


def level(samples, hertz):
    """Amplitude of a pitch."""
    turn = numpy.exp(-2j * numpy.pi * hertz * numpy.arange(len(samples)) / RATE)
    window = numpy.hanning(len(samples))
    return 2 * abs(numpy.sum(samples * window * turn)) / numpy.sum(window)


if __name__ == "__main__":
    rig.run(main)
