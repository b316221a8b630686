import json
import os

from assisters import Assisters, AuthError

query = "Summarize the latest advances in retrieval-augmented generation."

with Assisters(os.environ["VIVARIUM_KEY"], base_url=os.environ["VIVARIUM_URL"] + "/v1", timeout=120) as client:
    result = client.agent.run(query=query, mode="research", max_cycles=5)
    print(json.dumps({"run": result}))

    follow_up = client.agent.run(query="And what about chunking?", mode="chat", session_id=result["sessionId"])
    print(json.dumps({"followUp": follow_up}))

    for event in client.agent.stream(query=query, mode="research", max_cycles=2):
        print(json.dumps({"event": event}))

    print(json.dumps({"rateLimit": client.get_rate_limit()}))

try:
    with Assisters("ask_wrong", base_url=os.environ["VIVARIUM_URL"] + "/v1") as stranger:
        stranger.agent.run(query=query)
except AuthError as error:
    print(json.dumps({"refused": error.status, "type": error.type}))
