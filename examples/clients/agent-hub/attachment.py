"""Asks about a file: python attachment.py report.pdf"""

import base64
import mimetypes
import os
import pathlib
import sys

import httpx

file = pathlib.Path(sys.argv[1])
mimetypes.add_type("text/markdown", ".md")

response = httpx.post(
    f"{os.environ['VIVARIUM_URL']}/api/assistants/{os.environ.get('ASSISTANT', 'my-assistant')}/execute",
    headers={"Authorization": "Bearer " + os.environ["VIVARIUM_KEY"]},
    json={
        "userInput": "Analyze this document",
        "attachments": [
            {
                "fileName": file.name,
                "mimeType": mimetypes.guess_type(file.name)[0],
                "data": base64.b64encode(file.read_bytes()).decode(),
            }
        ],
    },
    timeout=120,
)
if response.is_error:
    sys.exit(f"{response.status_code}: {response.text}")

for part in response.json()["content"]:
    print(part["text"]["value"])
