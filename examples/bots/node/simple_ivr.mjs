// SimpleIvr: answers, plays a menu, and on key 1 transfers the caller to somebody else.
// (After the SimpleIvrBot of Microsoft's samples.)
//
//   graphophone dev --calling-webhook http://127.0.0.1:3978/api/calls --data data --ready-file ready.json
//   NODE_EXTRA_CA_CERTS=data/ca.pem node examples/bots/node/simple_ivr.mjs ready.json

import { Bot, main } from "./bot.mjs";

class SimpleIvr extends Bot {
  constructor(options) {
    super(options);
    this.person = options.person;
    this.greeted = new Set();
  }

  async audioActive(call) {
    if (this.greeted.has(call)) return;
    this.greeted.add(call);
    await this.graph.act(call, "subscribeToTone", { clientContext: "keys" });
    await this.playMenu(call);
  }

  async keyPressed(call, { tone }) {
    // Whatever plays is cut, so that the caller need not wait.
    await this.graph.act(call, "cancelMediaProcessing", {});
    if (tone === "tone1") await this.play(call, ["transfer.wav"], "transfer");
    else await this.playMenu(call);
  }

  async transferFailed(call) {
    await this.playMenu(call);
  }

  async playMenu(call) {
    await this.play(call, ["menu.wav", "menu.wav", "menu.wav"], "menu");
  }

  async operationEnded(call, { clientContext, status }) {
    if (clientContext !== "transfer" || status !== "completed") return;
    await this.graph.act(call, "transfer", {
      transferTarget: {
        "@odata.type": "#microsoft.graph.invitationParticipantInfo",
        identity: {
          "@odata.type": "#microsoft.graph.identitySet",
          user: { "@odata.type": "#microsoft.graph.identity", id: this.person },
        },
      },
    });
  }
}

// --person: user id, or sip: URI, of who is behind key 1.
await main(SimpleIvr, { person: "00000000-0000-0000-0000-000000000001" });
