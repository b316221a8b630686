"""Starts a run in the background and follows its log to the end; a lost connection goes on where it broke."""

import json
import os
import sys

import httpx

client = httpx.Client(
    base_url=os.environ["VIVARIUM_URL"], headers={"Authorization": "Bearer " + os.environ["VIVARIUM_KEY"]}, timeout=60
)


def checked(response):
    if response.is_error:
        response.read()
        sys.exit(f"{response.status_code}: {response.text}")
    return response


run = checked(client.post("/v1/runs", json={"input": "What is a context window?", "mode": "chat", "background": True})).json()

seen, ended = "0", False
while not ended:
    headers = {"Accept": "text/event-stream", "Last-Event-ID": seen}
    try:
        with client.stream("GET", f"/v1/runs/{run['id']}/events", headers=headers) as response:
            for line in checked(response).iter_lines():
                if line.startswith("id: "):
                    seen = line.removeprefix("id: ")
                if line.startswith("data: "):
                    event = json.loads(line.removeprefix("data: "))
                    print(event.get("type"))
                    ended = ended or event.get("type") in ("run.completed", "run.failed", "run.cancelled")
    except httpx.TransportError as error:
        print("again:", error, file=sys.stderr)

run = checked(client.get(f"/v1/runs/{run['id']}")).json()
print(run["outcome"]["answer"] if run["status"] == "completed" else run["status"])
sys.exit(run["status"] != "completed")
