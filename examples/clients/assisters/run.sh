curl "$VIVARIUM_URL/v1/agent/run" \
  -H "Authorization: Bearer $VIVARIUM_KEY" \
  -H "Content-Type: application/json" \
  -d '{
    "query": "Summarize the latest advances in retrieval-augmented generation.",
    "mode": "research",
    "maxCycles": 5
  }'
