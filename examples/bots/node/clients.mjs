// Microsoft's two JavaScript clients of the Graph, to the same use: `act` sends an action of a call,
// `hangUp` ends it. Both get a token whenever they need one, and neither knows Graphophone.

import { ClientSecretCredential } from "@azure/identity";

const SCOPE = "https://graph.microsoft.com/.default";

export const clients = {
  // @microsoft/microsoft-graph-client: paths as they stand in the documentation, v1.0 and beta.
  async graph(ready, version) {
    const { Client } = await import("@microsoft/microsoft-graph-client");
    const { TokenCredentialAuthenticationProvider } = await import(
      "@microsoft/microsoft-graph-client/authProviders/azureTokenCredentials/index.js");
    const graph = Client.initWithMiddleware({
      authProvider: new TokenCredentialAuthenticationProvider(credentialOf(ready), { scopes: [SCOPE] }),
      baseUrl: `${ready.https}/`,
      // Without this the client sends its token to Microsoft's own hosts only.
      customHosts: new Set([new URL(ready.https).hostname]),
    });
    const api = (call, path) => graph.api(`/communications/calls/${call}${path}`).version(version);
    return {
      act: (call, action, body) => api(call, `/${action}`).post(body),
      hangUp: (call) => api(call, "").delete(),
    };
  },

  // @microsoft/teams.graph: a function for each endpoint, v1.0 only.
  async teams(ready, version) {
    if (version !== "v1.0") throw new Error("@microsoft/teams.graph has the calling API of v1.0 only");
    const { Client } = await import("@microsoft/teams.graph");
    const calls = await import("@microsoft/teams.graph-endpoints/communications/calls");
    const credential = credentialOf(ready);
    const graph = new Client({
      token: async () => (await credential.getToken(SCOPE)).token,
      baseUrlRoot: ready.https,
    });
    return {
      act: (call, action, body) => graph.call(calls[action].create, body, { "call-id": call }),
      hangUp: (call) => graph.call(calls.del, { "call-id": call }),
    };
  },
};

function credentialOf({ tenant, clientId, clientSecret, https }) {
  return new ClientSecretCredential(tenant, clientId, clientSecret,
    { authorityHost: https, disableInstanceDiscovery: true });
}
