"""Creates an agent, runs it twice in one thread, and deletes it."""

import os
import sys

import httpx

client = httpx.Client(
    base_url=os.environ["VIVARIUM_URL"] + "/api/v2/ai-agents/v1",
    headers={"Authorization": "Token " + os.environ["VIVARIUM_KEY"]},
    params={"teamId": int(os.environ.get("TEAM", "1"))},
    timeout=120,
)


def call(method, path, body=None):
    response = client.request(method, path, json=body)
    if response.is_error:
        sys.exit(f"{response.status_code}: {response.text}")
    return response.json() if response.content else None


agent = call(
    "POST",
    "/agents",
    {
        "name": f"Researcher {os.getpid()}",
        "teamId": int(os.environ.get("TEAM", "1")),
        "makeConnectionId": int(os.environ.get("CONNECTION", "1")),
        "defaultModel": os.environ.get("MODEL", "gpt-5"),
        "systemPrompt": "do what user says",
        "invocationConfig": {"recursionLimit": 4, "timeout": 120},
    },
)
path = f"/agents/{agent['agentId']}"

first = call("POST", path + "/run", {"messages": [{"role": "user", "content": "What is a context window?"}]})
print(first["response"])

more = {"messages": [{"role": "user", "content": "And in one word?"}], "threadId": first["threadId"]}
second = call("POST", path + "/run", more)
print(second["response"])
print(second["tokenUsageSummary"]["totalTokens"], "tokens in", len(second["executionSteps"]), "steps")

call("DELETE", path)
