#!/bin/sh
# Agents: listed, read, given another prompt.
set -eu

api() {
  curl --fail-with-body --silent --show-error -H "Authorization: Bearer $VIVARIUM_KEY" -H "Content-Type: application/json" "$@"
}

ASSISTANT=${ASSISTANT:-my-assistant}

api "$VIVARIUM_URL/api/assistants"
echo

api "$VIVARIUM_URL/api/assistants/$ASSISTANT"
echo

api -X PATCH "$VIVARIUM_URL/api/assistants/$ASSISTANT" -d '{
  "llmPrompt": "You are a helpful assistant..."
}'
echo
