"""sipp and REFER (RFC 3515): as a far end that is asked to call somebody else, and reaches them or
finds them busy; and as one that asks the server to, under `incoming_refer = "follow"`."""

import argparse

import rig
from rig import check
from sipp import PROMPT_SECONDS, Sipp, free_port

# Of the NOTIFY that ends it, and what the bot is told then.
OUTCOMES = {
    "200 OK": (["updated transferring", "updated transferAccepted", "deleted terminated"], (0, 7015)),
    "486 Busy Here": (["updated transferring", "updated transferAccepted", "updated established"],
                      (500, 7000)),
}
BEGIN = ["updated establishing", "updated established", "updated established+active"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    rig.add_server_options(parser)
    options = parser.parse_args()
    with rig.server_of(options, '[sip]\nincoming_refer = "follow"\n') as ready:
        bot = Bot(ready)
        for transport in ["udp", "tcp"]:
            for outcome in OUTCOMES:
                transferred(bot, transport, outcome)
        followed(bot)


class Bot:
    def __init__(self, ready):
        self.graph, self.hook = rig.Graph(ready), rig.Webhook()
        self.uri = rig.PromptHost().add("prompt.wav", rig.wav(rig.tone(440, PROMPT_SECONDS)))

    def call(self, target):
        call = self.graph.create(self.hook.url, target)
        self.hook.wait(call, "updated established+active")
        return call

    def transfer(self, call, target):
        identity = {"@odata.type": "#microsoft.graph.identitySet",
                    "user": {"@odata.type": "#microsoft.graph.identity", "id": target}}
        self.graph("POST", f"/{call}/transfer", {"transferTarget": {
            "@odata.type": "#microsoft.graph.invitationParticipantInfo", "identity": identity}},
            expect=202)

    def play(self, call):
        """Plays to whoever is at the other end now, to the last packet."""
        operation = self.graph.play(call, self.uri)
        ended = self.hook.wait(call, "deleted operation completed", operation=operation)
        sent = ended.data["graphophoneReceipt"]["prompts"][0]["millisecondsSent"]
        check(abs(sent - 1000 * PROMPT_SECONDS) <= 20, f"{sent} ms of a prompt are sent to who is there now")

    def hang_up(self, call):
        self.graph.hang_up(call)
        self.hook.wait(call, "deleted terminated")

    def told(self, call):
        return self.hook.of(call)


def transferred(bot, transport, outcome):
    """The bot transfers sipp, which says at once what has become of that."""
    names, result = OUTCOMES[outcome]
    port = free_port()
    with Sipp("transferee", transport, port, 1, "-key", "outcome", outcome) as sipp:
        call = bot.call(address("sipp", port, transport))
        bot.transfer(call, address("bob", free_port(), "udp"))

        def over():
            told = bot.told(call)
            return told[-1] if [n.name for n in told] == [*BEGIN, *names] else None
        try:
            last = rig.wait_until(over, 15, f"{names} to be told")
        except rig.Failed as failure:
            raise rig.Failed(f"{failure}; told: {[n.name for n in bot.told(call)]}") from failure
        if last.change == "updated":
            # It goes on as before.
            bot.play(call)
            bot.hang_up(call)
        sipp.expect(1)
    got = (last.data["resultInfo"]["code"], last.data["resultInfo"]["subcode"])
    check(got == result, f"sipp over {transport} is referred and says {outcome}: the bot is told "
          f"{last.name}, {got[0]}/{got[1]}", got)


def followed(bot):
    """sipp (over TCP) refers the server to another sipp (over UDP), with which the call goes on."""
    here, there = free_port(), free_port()
    target = address("bob", there, "udp")
    with Sipp("callee", "udp", there, 1) as other, \
            Sipp("referrer", "tcp", here, 1, "-key", "target", target) as sipp:
        call = bot.call(address("sipp", here, "tcp"))
        sipp.expect(1)
        bot.play(call)
        bot.hang_up(call)
        other.expect(1)
    names = [n.name for n in bot.told(call)]
    check(names == [*BEGIN, "deleted operation completed", "updated terminating",
                    "deleted terminated"],
          "sipp refers the server to another sipp and is told by NOTIFY: 100, 180, 200; the bot's "
          "call goes on with that", names)


def address(user, port, transport):
    return f"sip:{user}@127.0.0.1:{port}" + (";transport=tcp" if transport == "tcp" else "")


if __name__ == "__main__":
    rig.run(main)
