"""Requests that tests of the gateway send, and what every error it answers with has."""

from __future__ import annotations

import re
from typing import Any

import httpx

URL = "/v1/chat/completions"


def chat(text: str = "Hi", **fields: Any) -> dict[str, Any]:
    return {"model": "minicpm", "messages": [{"role": "user", "content": text}], **fields}


def picture_chat(*urls: str, **fields: Any) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    parts.append({"type": "text", "text": "?"})
    return chat(**{"messages": [{"role": "user", "content": parts}], **fields})


def schema_chat(schema: dict[str, Any], **fields: Any) -> dict[str, Any]:
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    return chat(response_format=form, **fields)


def check_error(response: httpx.Response, status: int, message: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"]
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert re.search(message, error["message"]), error["message"]
    assert "Traceback" not in response.text
    return error
