#!/bin/sh
# An agent's life: created, listed, read, modified, deleted.
set -eu

AGENTS="$VIVARIUM_URL/api/v2/ai-agents/v1/agents"
TEAM=${TEAM:-1}

api() {
  curl --fail-with-body --silent --show-error -H "Authorization: Token $VIVARIUM_KEY" -H "Content-Type: application/json" "$@"
}

created=$(api "$AGENTS?teamId=$TEAM" -d '{
  "name": "Support '"$$"'",
  "teamId": '"$TEAM"',
  "makeConnectionId": '"${CONNECTION:-1}"',
  "defaultModel": "'"${MODEL:-gpt-5}"'",
  "systemPrompt": "do what user says"
}')
echo "$created"
agent=$(echo "$created" | sed 's/.*"agentId":"\([^"]*\)".*/\1/')

api "$AGENTS?teamId=$TEAM"
echo

api -X PATCH "$AGENTS/$agent?teamId=$TEAM" -d '{"systemPrompt": "do what user says, briefly"}'

api "$AGENTS/$agent?teamId=$TEAM"
echo

api -X DELETE "$AGENTS/$agent?teamId=$TEAM"
