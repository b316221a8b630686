// One run, told as it happens, read as a browser reads it.
const response = await fetch(`${process.env.VIVARIUM_URL}/v1/runs`, {
  method: "POST",
  headers: {
    "Authorization": `Bearer ${process.env.VIVARIUM_KEY}`,
    "Accept": "text/event-stream",
    "Content-Type": "application/json",
  },
  body: JSON.stringify({ input: "Say hello.", mode: "chat" }),
});

if (!response.ok) {
  console.error(response.status, await response.text());
  process.exit(1);
}

const reader = response.body.getReader();
const decoder = new TextDecoder();
let rest = "";
let last;

while (true) {
  const { done, value } = await reader.read();
  if (done) break;

  const lines = (rest + decoder.decode(value, { stream: true })).split("\n");
  rest = lines.pop(); // a chunk may end anywhere within a line
  for (const line of lines.filter((line) => line.startsWith("data: "))) {
    last = JSON.parse(line.slice("data: ".length));
    console.log(last.type, last.text ?? last.message ?? last.outcome?.answer ?? "");
  }
}

process.exit(last?.type === "run.completed" ? 0 : 1);
