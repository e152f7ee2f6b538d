// What the two bots share: a Graph client (clients.mjs), a web server for notifications and prompts,
// and the check of the token that every notification carries.

import { createPublicKey, verify } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import { createServer } from "node:http";
import { parseArgs } from "node:util";

import { clients } from "./clients.mjs";

const PROMPTS = new URL("../prompts/", import.meta.url);
const ISSUERS = ["https://graph.microsoft.com", "https://api.botframework.com"];

// Answers calls; what happens in them is the business of the classes built on this one.
export class Bot {
  constructor(options) {
    this.ready = options.ready;
    this.port = Number(options.port);
    this.url = `http://127.0.0.1:${this.port}`;
    this.files = new Map(readdirSync(PROMPTS).map((name) => [name, readFileSync(new URL(name, PROMPTS))]));
    this.turn = Promise.resolve();
    this.graph = options.graph;
  }

  async run() {
    const openId = await fetchJson(`${this.ready.http}/v1/.well-known/OpenIdConfiguration`);
    this.keysUri = openId.jwks_uri;
    this.keys = (await fetchJson(this.keysUri)).keys;
    await new Promise((listening) => {
      createServer((request, response) => this.serve(request, response).catch((error) => {
        say(`error ${error}`);
        response.destroy();
      })).listen(this.port, "127.0.0.1", listening);
    });
    say(`listens at ${this.url}/api/calls`);
  }

  // POST /api/calls takes notifications, GET /prompts/NAME gives files.
  async serve(request, response) {
    if (request.method === "GET") {
      const file = this.files.get(request.url.replace(/^\/prompts\//, ""));
      response.writeHead(file ? 200 : 404, { "Content-Type": "audio/wav" }).end(file);
      return;
    }
    const parts = [];
    for await (const part of request) parts.push(part);
    if (!await this.isGenuine(request.headers.authorization)) {
      response.writeHead(401).end();
      return;
    }
    // Answer first, act later: the service waits for this answer before it tells more.
    response.writeHead(202).end();
    for (const notification of JSON.parse(Buffer.concat(parts)).value) {
      this.turn = this.turn.then(() => this.take(notification));
    }
  }

  // One by one, in their order.
  async take({ changeType, resourceUrl, resourceData: data }) {
    // /communications/calls/{id}, or /communications/calls/{id}/operations/{operation}
    const [, , , call, below] = resourceUrl.split("/");
    say(`${call} ${changeType} ${describe(data)}`);
    try {
      if (below === "operations") await this.operationEnded(call, data);
      else if (data.state === "incoming") await this.answer(call);
      else if (data.state === "established" && data.resultInfo) await this.transferFailed(call);
      else if (data.toneInfo) await this.keyPressed(call, data.toneInfo);
      else if (data.mediaState?.audio === "active") await this.audioActive(call);
    } catch (error) {
      // One call that goes wrong is not the end of the bot.
      say(`${call} error ${error.code ?? ""} ${error.message ?? error}`);
    }
  }

  async answer(call) {
    await this.graph.act(call, "answer", {
      callbackUri: `${this.url}/api/calls`,
      acceptedModalities: ["audio"],
      mediaConfig: {
        "@odata.type": "#microsoft.graph.serviceHostedMediaConfig",
        // What is named here is fetched while the call is being set up.
        preFetchMedia: [...this.files.keys()].map((name) => this.info(name)),
      },
    });
  }

  async play(call, names, clientContext) {
    const prompts = names.map((name) => this.prompt(name));
    await this.graph.act(call, "playPrompt", { prompts, clientContext });
  }

  prompt(name) {
    return { "@odata.type": "#microsoft.graph.mediaPrompt", mediaInfo: this.info(name) };
  }

  info(name) {
    return {
      "@odata.type": "#microsoft.graph.mediaInfo",
      uri: `${this.url}/prompts/${name}`,
      resourceId: name,
    };
  }

  // Whether the calling service has signed this, for us (as Microsoft's samples check it).
  async isGenuine(authorization = "") {
    try {
      const [head, body, signature] = authorization.replace(/^Bearer /, "").split(".");
      const read = (part) => JSON.parse(Buffer.from(part, "base64url"));
      const { alg, kid } = read(head);
      const find = () => this.keys.find((key) => key.kid === kid);
      // Keys are replaced from time to time.
      if (!find()) this.keys = (await fetchJson(this.keysUri)).keys;
      const key = createPublicKey({ key: find(), format: "jwk" });
      const claims = read(body);
      const now = Date.now() / 1000;
      if (alg === "RS256"
        && verify("RSA-SHA256", Buffer.from(`${head}.${body}`), key, Buffer.from(signature, "base64url"))
        && ISSUERS.includes(claims.iss) && claims.aud === this.ready.clientId
        && claims.tid === this.ready.tenant && claims.nbf <= now + 300 && claims.exp >= now) {
        return true;
      }
    } catch {
      // Not a token at all.
    }
    say("refused a notification: its token is not good");
    return false;
  }

  // The caller hears us and we hear the caller. Told again when a hold ends.
  async audioActive(_call) {}

  // A key, after subscribeToTone, numbered by `tone.sequenceId`.
  async keyPressed(_call, _tone) {}

  // Nobody was there, or would: the caller is still with us.
  async transferFailed(_call) {}

  // A playPrompt or recordResponse has completed or failed.
  async operationEnded(_call, _operation) {}
}

async function fetchJson(url) {
  return (await fetch(url, { signal: AbortSignal.timeout(10_000) })).json();
}

// `established active`, `established tone1 #1`, `playPromptOperation completed 200/0` …
function describe(data) {
  const words = data.status
    ? [data["@odata.type"].split(".").pop(), data.status]
    : [data.state, data.mediaState?.audio];
  if (data.toneInfo) words.push(data.toneInfo.tone, `#${data.toneInfo.sequenceId}`);
  if (data.resultInfo) words.push(`${data.resultInfo.code}/${data.resultInfo.subcode}`);
  return words.filter(Boolean).join(" ");
}

export function say(text) {
  console.log(text);
}

// Runs a bot as the command line says: READY_FILE [--port N] [--version beta] [--client teams] and what
// `more` names.
export async function main(Kind, more) {
  const options = {
    port: { type: "string", default: "3978" },
    version: { type: "string", default: "v1.0" },
    client: { type: "string", default: "graph" },
  };
  for (const [name, standard] of Object.entries(more)) options[name] = { type: "string", default: standard };
  const { values, positionals: [readyFile] } = parseArgs({ options, allowPositionals: true });
  const make = clients[values.client];
  if (!readyFile || !make) {
    console.error(`usage: ${process.argv[1]} READY_FILE ${Object.keys(options).map((name) => `[--${name} …]`).join(" ")}`);
    process.exit(2);
  }
  const ready = JSON.parse(readFileSync(readyFile, "utf8"));
  const graph = await make(ready, values.version);
  await new Kind({ ...values, ready, graph }).run();
}
