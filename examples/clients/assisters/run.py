import os

import httpx

response = httpx.post(
    os.environ["VIVARIUM_URL"] + "/v1/agent/run",
    headers={"Authorization": "Bearer " + os.environ["VIVARIUM_KEY"]},
    json={
        "query": "Summarize the latest advances in retrieval-augmented generation.",
        "mode": "research",
        "maxCycles": 5,
    },
    timeout=120,
)

print(response.json())
