"""Serve and swap: ask a served model over HTTP, swap it for another while it answers, roll back.

    make serving-cpu && aiopt serve up --profile test    # a generated checkpoint: no download
    python examples/07_serve_and_swap.py [URL] [CHECKPOINT]

URL, e.g. http://127.0.0.1:8000, may be in AIOPT_URL; the tokens are in AIOPT_TOKEN and AIOPT_ADMIN_TOKEN.
CHECKPOINT is what to swap in: a folder, or tiny:… for a generated one.  Any HTTP client can do this.
"""

from __future__ import annotations

import os
import sys
import time

import httpx

url = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("AIOPT_URL", "")
checkpoint = sys.argv[2] if len(sys.argv) > 2 else "tiny:vision:2"
if not url:
    sys.exit("Give the address of the endpoint, e.g. http://127.0.0.1:8000, or set AIOPT_URL.")


def client(token: str) -> httpx.Client:
    headers = {"Authorization": f"Bearer {os.environ.get(token, '')}"}
    return httpx.Client(base_url=url, headers=headers, timeout=600)


def ask(api: httpx.Client) -> None:
    question = {"role": "user", "content": "What is a doji?"}
    answer = api.post(
        "/v1/chat/completions", json={"model": "minicpm", "messages": [question], "max_tokens": 8}
    ).raise_for_status()
    served = api.get("/v1/models/minicpm").raise_for_status().json()
    print(
        served["root"],
        served["revision"][:12],
        "answers",
        answer.json()["usage"]["completion_tokens"],
        "tokens",
    )


def follow(admin: httpx.Client, operation: dict[str, str]) -> None:
    """Wait for an operation; a refused one has changed nothing and says why."""
    while operation["state"] in ("waiting", "running"):
        time.sleep(1.0)
        operation = admin.get(f"/admin/operations/{operation['operation_id']}").raise_for_status().json()
    print(operation["kind"], operation["state"], operation.get("message", ""))


with client("AIOPT_TOKEN") as api, client("AIOPT_ADMIN_TOKEN") as admin:
    ask(api)
    # Loaded beside the serving model, proved token for token, then the route flips.  No request fails.
    begun = admin.post("/admin/models/swap", json={"model": "minicpm", "checkpoint": checkpoint})
    follow(admin, begun.raise_for_status().json())
    ask(api)
    follow(admin, admin.post("/admin/models/rollback", json={"model": "minicpm"}).raise_for_status().json())
    ask(api)
