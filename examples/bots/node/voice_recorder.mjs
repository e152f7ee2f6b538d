// VoiceRecorder: answers, records what the caller says until #, plays it back and hangs up.
// (After the VoiceRecorderAndPlaybackBot of Microsoft's samples.)
//
//   graphophone dev --calling-webhook http://127.0.0.1:3978/api/calls --data data --ready-file ready.json
//   NODE_EXTRA_CA_CERTS=data/ca.pem node examples/bots/node/voice_recorder.mjs ready.json

import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { Bot, main, say } from "./bot.mjs";

class VoiceRecorder extends Bot {
  constructor(options) {
    super(options);
    this.folder = options.folder;
    this.greeted = new Set();
  }

  async audioActive(call) {
    if (this.greeted.has(call)) return;
    this.greeted.add(call);
    await this.graph.act(call, "recordResponse", {
      prompts: [this.prompt("record.wav")],
      playBeep: true,
      stopTones: ["#"],
      initialSilenceTimeoutInSeconds: 10,
      maxSilenceTimeoutInSeconds: 5,
      maxRecordDurationInSeconds: 60,
      clientContext: call,
    });
  }

  async operationEnded(call, operation) {
    if (operation["@odata.type"] !== "#microsoft.graph.recordOperation") {
      await this.graph.hangUp(call); // the caller has heard it
    } else if (operation.status === "completed" && operation.resultInfo.code === 200) {
      const name = `${call}.wav`;
      this.files.set(name, await download(operation));
      writeFileSync(join(this.folder, name), this.files.get(name));
      say(`${call} recorded ${this.files.get(name).length} bytes`);
      await this.play(call, ["heard.wav", name], call);
    } else {
      await this.graph.hangUp(call);
    }
  }
}

// The location is for who shows the token that came with it, and for a short time.
async function download({ recordingLocation, recordingAccessToken }) {
  const response = await fetch(recordingLocation, {
    headers: { Authorization: `Bearer ${recordingAccessToken}` },
    signal: AbortSignal.timeout(10_000),
  });
  if (!response.ok) throw new Error(`the recording cannot be had: ${response.status}`);
  return Buffer.from(await response.arrayBuffer());
}

// --folder: where recordings are kept.
await main(VoiceRecorder, { folder: "." });
