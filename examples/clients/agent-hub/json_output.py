"""Asks for JSON, and gets it as a value."""

import json
import os
import sys

import httpx

response = httpx.post(
    f"{os.environ['VIVARIUM_URL']}/api/assistants/{os.environ.get('ASSISTANT', 'my-assistant')}/execute",
    headers={"Authorization": "Bearer " + os.environ["VIVARIUM_KEY"]},
    json={
        "userInput": "Extract the contact information",
        "responseFormat": {"type": "json_object"},
    },
    timeout=120,
)
if response.is_error:
    sys.exit(f"{response.status_code}: {response.text}")

print(json.dumps(response.json()["data"]["json"]))
