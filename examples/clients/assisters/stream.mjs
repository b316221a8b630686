const params = new URLSearchParams({
  query: "Summarize the latest advances in retrieval-augmented generation.",
  mode: "research",
});

const response = await fetch(
  `${process.env.VIVARIUM_URL}/v1/agent/stream?${params}`,
  { headers: { Authorization: `Bearer ${process.env.VIVARIUM_KEY}` } },
);

const reader = response.body.getReader();
const decoder = new TextDecoder();

while (true) {
  const { value, done } = await reader.read();
  if (done) break;
  for (const line of decoder.decode(value).split("\n")) {
    if (line.startsWith("data: ")) {
      const payload = line.slice(6);
      if (payload === "[DONE]") break;
      console.log(JSON.parse(payload));
    }
  }
}
