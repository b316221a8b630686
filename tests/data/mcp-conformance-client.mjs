// Lets the host be the client of one scenario of the conformance suite: the suite starts this with its server's address.
const [url] = process.argv.slice(2);
const scenario = process.env.MCP_CONFORMANCE_SCENARIO;
const name = scenario.replaceAll(/[^a-z0-9]/g, "_").slice(0, 20);
const calls = { tools_call: ["add_numbers", { a: 5, b: 3 }], "sse-retry": ["test_reconnection", {}] };

async function ask(path, body) {
  const headers = { authorization: `Bearer ${process.env.VIVARIUM_KEY}`, "content-type": "application/json" };
  const response = await fetch(process.env.VIVARIUM_URL + path, { method: "POST", headers, body: JSON.stringify(body) });
  const answer = await response.json();
  console.log(response.status, JSON.stringify(answer));
  if (!response.ok) process.exit(1);
  return answer;
}

await ask("/v1/mcp-servers", { name, url, dangerouslyAllowPrivateAddresses: true });
const call = calls[scenario];
if (call) {
  const answer = await ask(`/v1/tools/${name}_${call[0]}/call`, { arguments: call[1] });
  if (answer.output === undefined) process.exit(1);
}
