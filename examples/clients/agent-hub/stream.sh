#!/bin/sh
# The answer token by token, as it comes over the wire.
set -eu

curl --fail-with-body --silent --show-error -N "$VIVARIUM_URL/api/assistants/${ASSISTANT:-my-assistant}/execute" \
  -H "Authorization: Bearer $VIVARIUM_KEY" \
  -H "Accept: text/event-stream" \
  -H "Content-Type: application/json" \
  -d '{
    "userInput": "Write a detailed analysis"
  }'
