// The answer token by token, read as a browser reads it.
const assistant = process.env.ASSISTANT ?? "my-assistant";

const response = await fetch(`${process.env.VIVARIUM_URL}/api/assistants/${assistant}/execute`, {
  method: "POST",
  headers: {
    "Authorization": `Bearer ${process.env.VIVARIUM_KEY}`,
    "Accept": "text/event-stream",
    "Content-Type": "application/json",
  },
  body: JSON.stringify({ userInput: "Hello" }),
});

if (!response.ok) {
  console.error(response.status, await response.text());
  process.exit(1);
}

const reader = response.body.getReader();
const decoder = new TextDecoder();
let rest = "";
let ended = false;

while (true) {
  const { done, value } = await reader.read();
  if (done) break;

  const lines = (rest + decoder.decode(value, { stream: true })).split("\n");
  rest = lines.pop(); // a chunk may end anywhere within a line
  for (const line of lines.filter((line) => line.startsWith("data: "))) {
    const event = JSON.parse(line.slice("data: ".length));
    if (event.type === "token") process.stdout.write(event.value);
    if (event.type === "error") {
      console.error(event.errorDetails.message);
      process.exit(1);
    }
    ended ||= event.type === "done";
  }
}

console.log();
process.exit(ended ? 0 : 1);
