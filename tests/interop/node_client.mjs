// A bot on Microsoft's own JavaScript client, unmodified, over HTTPS: token, call, prompt, poll,
// loop, cancel, hang-up. NODE_EXTRA_CA_CERTS must name the server's CA file (run.py sets it).
//   node node_client.mjs READY_FILE

import { createPublicKey, verify } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { setTimeout as pause } from "node:timers/promises";

import { ClientSecretCredential } from "@azure/identity";
import { Client } from "@microsoft/microsoft-graph-client";
import { TokenCredentialAuthenticationProvider } from
  "@microsoft/microsoft-graph-client/authProviders/azureTokenCredentials/index.js";

const PROMPT_SECONDS = 1.5;
const ready = JSON.parse(readFileSync(process.argv[2], "utf8"));
const heard = [];
let news = () => {};

// The last resort: no wait below may outlive this.
setTimeout(() => fail("the whole check took more than 90 s"), 90_000).unref();
try {
  await work();
} catch (error) {
  fail(error?.stack ?? error);
}
process.exit(0);

async function work() {
  const hook = await listen(takeNotification);
  const uri = `${await listen(servePrompt)}/hello.wav`;
  const credential = new ClientSecretCredential(ready.tenant, ready.clientId, ready.clientSecret, {
    authorityHost: ready.https,
    disableInstanceDiscovery: true,
  });
  const authProvider = new TokenCredentialAuthenticationProvider(credential, {
    scopes: ["https://graph.microsoft.com/.default"],
  });
  const graph = Client.initWithMiddleware({
    authProvider,
    baseUrl: `${ready.https}/`,
    customHosts: new Set([new URL(ready.https).hostname]),
  });

  for (const version of ["v1.0", "beta"]) {
    const api = (path) => graph.api(`/communications/calls${path}`).version(version);
    const say = (text) => `microsoft-graph-client ${version}: ${text}`;
    const call = await api("").post({
      "@odata.type": "#microsoft.graph.call",
      callbackUri: `${hook}/api/calls`,
      tenantId: ready.tenant,
      requestedModalities: ["audio"],
      mediaConfig: { "@odata.type": "#microsoft.graph.serviceHostedMediaConfig" },
      targets: [{
        "@odata.type": "#microsoft.graph.invitationParticipantInfo",
        identity: {
          "@odata.type": "#microsoft.graph.identitySet",
          user: { "@odata.type": "#microsoft.graph.identity", id: ready.phone },
        },
      }],
    });
    check(call.state === "establishing", say("POST /calls gives an establishing call"), call);
    await notified(call.id, "updated established+active");
    const found = await api(`/${call.id}`).get();
    check(found.state === "established", say("GET says established"), found.state);

    const play = (clientContext, loop) => api(`/${call.id}/playPrompt`).post({
      clientContext,
      loop,
      prompts: [{
        "@odata.type": "#microsoft.graph.mediaPrompt",
        mediaInfo: { "@odata.type": "#microsoft.graph.mediaInfo", uri, resourceId: "hello" },
      }],
    });
    const operation = (id) => api(`/${call.id}/operations/${id}`).get();

    const played = await play("first", false);
    check(played.status === "running" && played.clientContext === "first",
      say("playPrompt is running"), played);
    let now = await operation(played.id);
    for (let turn = 0; now.status === "running" && turn < 150; turn += 1) {
      await pause(100);
      now = await operation(played.id);
    }
    check(now.status === "completed" && now.resultInfo.code === 200,
      say("polling sees completed"), now);
    checkReceipt(now.graphophoneReceipt, say);
    const ended = await notified(call.id, "deleted operation completed", played.id);
    check(ended.data.completionReason === "completedSuccessfully"
      && ended.data.clientContext === "first", say("its notification says so, too"), ended.data);

    const endless = await play("endless", true);
    // More was sent than the prompt has: only a loop is still running then.
    const sent = (one) => (one.graphophoneReceipt?.prompts ?? [])
      .reduce((sum, prompt) => sum + prompt.millisecondsSent, 0);
    now = await operation(endless.id);
    for (let turn = 0; turn < 150; turn += 1) {
      if (now.status !== "running" || sent(now) > 1000 * PROMPT_SECONDS) break;
      await pause(100);
      now = await operation(endless.id);
    }
    check(now.status === "running" && sent(now) > 1000 * PROMPT_SECONDS,
      say("the loop goes on"), now);
    const cancel = await api(`/${call.id}/cancelMediaProcessing`).post({ clientContext: "stop" });
    check(cancel.status === "completed", say("the cancel is completed"), cancel);
    const cut = await notified(call.id, "deleted operation failed", endless.id);
    check(cut.data.completionReason === "mediaOperationCanceled"
      && cut.data.resultInfo.subcode === 8508, say("the loop ends as cancelled, 8508"), cut.data);

    await api(`/${call.id}`).delete();
    await notified(call.id, "deleted terminated");
    const gone = await api(`/${call.id}`).get().catch((error) => error);
    check(gone.statusCode === 404 && gone.code === "8522" && gone.requestId,
      say("GET after the end gives 404, 8522"), gone);

    const mine = heard.filter((one) => one.call === call.id);
    const names = mine.map((one) => one.name);
    // SDKs of v1.0 know no state ringing.
    const ringing = version === "beta" ? ["updated ringing"] : [];
    check(names.join() === ["updated establishing", ...ringing, "updated established",
      "updated established+active", "deleted operation completed", "deleted operation failed",
      "updated terminating", "deleted terminated"].join(),
    say("the notifications came in order, each once"), names);
    await checkTokens(mine);
    passed(say("each notification carries a good token"));
  }
}

function checkReceipt(receipt, say) {
  const [prompt] = receipt?.prompts ?? [{}];
  const sent = prompt.millisecondsSent;
  check(Math.abs(sent - 1000 * PROMPT_SECONDS) <= 20 && prompt.reason === "completed",
    say(`the receipt says ${sent} ms sent`), receipt);
}

async function checkTokens(notifications) {
  const fetchJson = async (url) => (await fetch(url, { signal: AbortSignal.timeout(10_000) })).json();
  const document = await fetchJson(`${ready.http}/v1/.well-known/OpenIdConfiguration`);
  const { keys } = await fetchJson(document.jwks_uri);
  for (const { name, token } of notifications) {
    const [head, body, signature] = token.split(".");
    const read = (part) => JSON.parse(Buffer.from(part, "base64url"));
    const { alg, kid } = read(head);
    const key = keys.find((one) => one.kid === kid);
    const good = alg === "RS256" && key && verify("RSA-SHA256", Buffer.from(`${head}.${body}`),
      createPublicKey({ key, format: "jwk" }), Buffer.from(signature, "base64url"));
    if (!good) fail(`the token of ${name} is not signed by the server's key ${kid}`);
    const claims = read(body);
    const time = Date.now() / 1000;
    if (claims.aud !== ready.clientId || claims.tid !== ready.tenant
      || !["https://graph.microsoft.com", "https://api.botframework.com"].includes(claims.iss)
      || claims.nbf > time + 300 || claims.exp < time) {
      fail(`the token of ${name} has wrong claims: ${JSON.stringify(claims)}`);
    }
  }
}

async function notified(call, name, operation) {
  const end = Date.now() + 15_000;
  for (;;) {
    const found = heard.find((one) => one.call === call && one.name === name
      && (operation === undefined || one.operation === operation));
    if (found) return found;
    const left = end - Date.now();
    if (left <= 0) {
      const came = heard.filter((one) => one.call === call).map((one) => one.name);
      fail(`waited 15 s for the notification "${name}"; came: ${came.join(", ")}`);
    }
    await Promise.race([new Promise((wake) => { news = wake; }), pause(left)]);
  }
}

function takeNotification(request, response) {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    for (const one of JSON.parse(Buffer.concat(parts)).value) {
      const [, , , call, kind, operation] = one.resourceUrl.split("/");
      const audio = one.resourceData.mediaState?.audio;
      const what = kind === "operations"
        ? `operation ${one.resourceData.status}`
        : `${one.resourceData.state}${audio ? `+${audio}` : ""}`;
      const token = (request.headers.authorization ?? "").replace(/^Bearer /, "");
      heard.push({ call, operation, name: `${one.changeType} ${what}`, data: one.resourceData, token });
    }
    response.writeHead(202).end();
    news();
  });
}

function servePrompt(_request, response) {
  const rate = 16_000;
  const count = rate * PROMPT_SECONDS;
  const wav = Buffer.alloc(44 + 2 * count);
  wav.write("RIFF", 0);
  wav.writeUInt32LE(36 + 2 * count, 4);
  wav.write("WAVEfmt ", 8);
  wav.writeUInt32LE(16, 16);
  wav.writeUInt16LE(1, 20);
  wav.writeUInt16LE(1, 22);
  wav.writeUInt32LE(rate, 24);
  wav.writeUInt32LE(2 * rate, 28);
  wav.writeUInt16LE(2, 32);
  wav.writeUInt16LE(16, 34);
  wav.write("data", 36);
  wav.writeUInt32LE(2 * count, 40);
  for (let n = 0; n < count; n += 1) {
    wav.writeInt16LE(Math.round(16_000 * Math.sin((2 * Math.PI * 440 * n) / rate)), 44 + 2 * n);
  }
  response.writeHead(200, { "Content-Type": "audio/wav", "Content-Length": wav.length }).end(wav);
}

function listen(handler) {
  const server = createServer(handler);
  return new Promise((started) => {
    server.listen(0, "127.0.0.1", () => started(`http://127.0.0.1:${server.address().port}`));
  });
}

function passed(text) {
  console.log(`ok    ${text}`);
}

function check(holds, text, detail) {
  if (!holds) fail(detail === undefined ? text : `${text}: ${JSON.stringify(detail)}`);
  passed(text);
}

function fail(text) {
  console.error(`FAIL  ${text}`);
  process.exit(1);
}
