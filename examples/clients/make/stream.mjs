// Runs an agent and shows each step as it happens, read as a browser reads it.
const agents = `${process.env.VIVARIUM_URL}/api/v2/ai-agents/v1/agents`;
const team = Number(process.env.TEAM ?? 1);
const headers = { "Authorization": `Token ${process.env.VIVARIUM_KEY}`, "Content-Type": "application/json" };

async function call(method, address, body) {
  const response = await fetch(`${address}?teamId=${team}`, { method, headers, body: body && JSON.stringify(body) });
  if (!response.ok) {
    console.error(response.status, await response.text());
    process.exit(1);
  }
  return response;
}

const created = await call("POST", agents, {
  name: `Streamer ${process.pid}`,
  teamId: team,
  makeConnectionId: Number(process.env.CONNECTION ?? 1),
  defaultModel: process.env.MODEL ?? "gpt-5",
  systemPrompt: "do what user says",
});
const agent = `${agents}/${(await created.json()).agentId}`;

const response = await call("POST", `${agent}/run/stream`, { messages: [{ role: "user", content: "Say hello." }] });
const reader = response.body.getReader();
const decoder = new TextDecoder();
let rest = "";
let last;

while (true) {
  const { done, value } = await reader.read();
  if (done) break;

  const events = (rest + decoder.decode(value, { stream: true })).split("\n\n");
  rest = events.pop(); // a chunk may end anywhere within an event
  for (const event of events) {
    const fields = Object.fromEntries(event.split("\n").map((line) => line.split(/: ?(.*)/s)));
    if (!fields.data) continue; // a comment that keeps the connection open
    const data = JSON.parse(fields.data);
    console.log(fields.event, data.role ?? "", data.content ?? data.response ?? data.detail ?? "");
    last = fields.event;
  }
}

await call("DELETE", agent);
process.exit(last === "done" ? 0 : 1);
