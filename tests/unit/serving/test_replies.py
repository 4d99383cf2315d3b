"""What an engine's exception is told as: whose fault it is, and that replies cross processes."""

from __future__ import annotations

import pickle
import re
from typing import Any

import msgspec
import pytest

from aiopt.serving.gateway.chat_types import MAX_STOPS
from aiopt.serving.replies import Answered, Begun, Failed, raised_failure, read_reply
from aiopt.serving.swap.probes import MAX_LOGPROBS, probe_requests, warming_requests


class GenerationError(Exception):
    """Named as vLLM's."""


class VLLMClientError(Exception):
    """Named as vLLM's."""


class Narrower(VLLMClientError):
    """Below it."""


SCHEMA = {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}}


@pytest.mark.parametrize(
    ("error", "body", "status", "message"),
    [
        (GenerationError("Internal server error"), SCHEMA, 400, "must be able to follow its JSON schema"),
        (
            GenerationError("Internal server error"),
            {"response_format": {"type": "json_object"}},
            400,
            "follow",
        ),
        (GenerationError("Internal server error"), {"response_format": {"type": "text"}}, 500, "failed"),
        (GenerationError("Internal server error"), {}, 500, "failed"),
        (ValueError("too long"), {}, 400, "too long. Correct it"),
        (RecursionError("deep"), {}, 400, "deep"),
        (UnicodeDecodeError("utf-8", b"x", 0, 1, "bad"), {}, 400, "bad"),
        (Narrower("no"), {}, 400, "no"),
        (ZeroDivisionError("secret"), SCHEMA, 500, "^The engine failed at this request.$"),
    ],
)
def test_whose_fault_an_exception_is(error: Exception, body: Any, status: int, message: str) -> None:
    found = raised_failure(error, body, dead=False)
    assert (found.status, found.dead) == (status, False)
    assert re.search(message, found.message)


def test_a_dead_engine_is_told_as_dead_whatever_it_raised() -> None:
    found = raised_failure(ValueError("x"), SCHEMA, dead=True)
    assert found == Failed(message="The engine died: x", status=503, dead=True)


@pytest.mark.parametrize(
    "reply",
    [
        Answered(revision="a" * 64, document=msgspec.Raw(b'{"choices": [], "more": {"of": null}}')),
        Begun(revision="a" * 64),
        Failed(message="The engine died: x", status=503, dead=True),
    ],
    ids=["answered", "begun", "failed"],
)
def test_a_reply_survives_a_socket_and_an_actor_call(reply: Answered | Begun | Failed) -> None:
    assert read_reply(msgspec.json.encode(reply)) == reply
    assert pickle.loads(pickle.dumps(reply)) == reply


def test_what_is_no_reply_is_refused() -> None:
    for frame in (b"{}", b'{"said": "answered"}', b'{"said": "bye"}', b'{"said": "begun"'):
        with pytest.raises(msgspec.DecodeError):
            read_reply(frame)


def test_of_an_answer_only_what_is_read_must_be_there() -> None:
    document = b'{"choices": [{"message": {"role": "x"}, "logprobs": null}], "usage": null, "id": 3}'
    found = Answered(revision="a", document=msgspec.Raw(document)).read()
    assert (found.choices[0].message.content, found.usage) == (None, None)


def test_warming_covers_what_is_loaded_at_first_use() -> None:
    groups = warming_requests()
    # The kernel of log-probabilities is compiled for one, two, and any number of requests at once.
    likely = [len(group) for group in groups if all(body.get("logprobs") for body in group)]
    assert likely == [1, 2, 3]
    flat = [body for group in groups for body in group]
    assert {body["top_logprobs"] for body in flat if body.get("logprobs")} == {MAX_LOGPROBS}
    formats = {body["response_format"]["type"] for body in flat if "response_format" in body}
    assert formats == {"json_schema", "json_object"}
    assert any(body["temperature"] > 0 and body.get("n", 1) > 1 for body in flat)
    assert not any(body.get("logprobs") for body in probe_requests(images=False))
    assert MAX_STOPS == 16
