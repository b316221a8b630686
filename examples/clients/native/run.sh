#!/bin/sh
# One run, answered when it has ended.
set -eu

curl --fail-with-body --silent --show-error "$VIVARIUM_URL/v1/runs" \
  -H "Authorization: Bearer $VIVARIUM_KEY" \
  -H "Content-Type: application/json" \
  -d '{
    "input": "Summarize the latest advances in retrieval-augmented generation.",
    "mode": "chat"
  }'
