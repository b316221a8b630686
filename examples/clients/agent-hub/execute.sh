#!/bin/sh
# One request, no conversation.
set -eu

curl --fail-with-body --silent --show-error "$VIVARIUM_URL/api/assistants/${ASSISTANT:-my-assistant}/execute" \
  -H "Authorization: Bearer $VIVARIUM_KEY" \
  -H "Content-Type: application/json" \
  -d '{
    "userInput": "Summarize the key points from this document"
  }'
