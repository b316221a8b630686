const response = await fetch(`${process.env.VIVARIUM_URL}/v1/agent/run`, {
  method: "POST",
  headers: {
    "Authorization": `Bearer ${process.env.VIVARIUM_KEY}`,
    "Content-Type": "application/json",
  },
  body: JSON.stringify({
    query: "Summarize the latest advances in retrieval-augmented generation.",
    mode: "research",
    maxCycles: 5,
  }),
});

console.log(await response.json());
