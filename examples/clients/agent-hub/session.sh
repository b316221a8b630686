#!/bin/sh
# A conversation: made, continued, read, removed.
set -eu

api() {
  curl --fail-with-body --silent --show-error -H "Authorization: Bearer $VIVARIUM_KEY" -H "Content-Type: application/json" "$@"
}

ASSISTANT=${ASSISTANT:-my-assistant}

created=$(api "$VIVARIUM_URL/api/sessions" -d '{
  "assistantId": "'"$ASSISTANT"'",
  "title": "Customer Support Chat"
}')
echo "$created"
session=$(echo "$created" | sed 's/.*"id":"\([^"]*\)".*/\1/')

api "$VIVARIUM_URL/api/assistants/$ASSISTANT/user-input" -d '{
  "sessionId": "'"$session"'",
  "userInput": "Tell me more about that last point"
}'
echo

api "$VIVARIUM_URL/api/sessions/$session/messages"
echo

api -X DELETE "$VIVARIUM_URL/api/sessions/$session"
echo
