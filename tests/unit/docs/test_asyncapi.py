"""The AsyncAPI document is that of the types, valid by AsyncAPI's own schema, and messages are valid by it.

`asyncapi-3.0.0.schema.json.gz` is the JSON schema of AsyncAPI 3.0.0 from the package `@asyncapi/specs` 6.11.1
(Apache-2.0, https://github.com/asyncapi/spec-json-schemas), unchanged but for white space.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from aiopt.bus.codec import encode_command, encode_event
from docs.generate_asyncapi import PAGE, document, page
from tests.unit.bus.made_events import command_of_each, one_of_each

SCHEMA = Path(__file__).resolve().parents[1] / "bus" / "asyncapi-3.0.0.schema.json.gz"
MESSAGES: dict[str, Any] = {
    **{event.kind: encode_event(event) for event in one_of_each()},
    **{command.name: encode_command(command) for command in command_of_each()},
}


def official() -> jsonschema.Draft7Validator:
    schema = json.loads(gzip.decompress(SCHEMA.read_bytes()))
    assert schema["$id"] == "http://asyncapi.com/definitions/3.0.0/asyncapi.json"
    return jsonschema.Draft7Validator(schema)


def test_the_document_is_that_of_the_types() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), (
        "events or commands changed: run `python docs/generate_asyncapi.py` and commit what it writes"
    )


def test_the_document_is_valid_by_the_schema_of_asyncapi() -> None:
    assert list(official().iter_errors(document())) == []


@pytest.mark.parametrize("broken", ["asyncapi", "info", "channels"])
def test_a_broken_document_is_not(broken: str) -> None:
    wrong = document() | {broken: {"surprise": 1}}
    assert list(official().iter_errors(wrong)) != []


def test_every_reference_leads_somewhere() -> None:
    whole = document()

    def check(value: Any) -> int:
        if isinstance(value, dict):
            found = 0
            if "$ref" in value:
                place: Any = whole
                for part in value["$ref"].removeprefix("#/").split("/"):
                    place = place[part]
                found = 1
            return found + sum(check(one) for one in value.values())
        return sum(check(one) for one in value) if isinstance(value, list) else 0

    assert check(whole) >= 2 * len(MESSAGES)


def test_every_message_is_described() -> None:
    messages = document()["components"]["messages"]
    assert {message["name"] for message in messages.values()} == set(MESSAGES)
    assert all(len(message["summary"]) > 20 for message in messages.values())


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_is_valid_by_its_description(name: str) -> None:
    whole = document()
    described = next(one for one in whole["components"]["messages"].values() if one["name"] == name)
    schema = {**described["payload"], "components": whole["components"]}
    validator = jsonschema.Draft202012Validator(schema)
    good = msgspec.json.decode(MESSAGES[name])
    assert list(validator.iter_errors(good)) == []
    assert list(validator.iter_errors(good | {"surprise": 1})) != []
    assert list(validator.iter_errors(good | {"schema": 2})) != []
    assert list(validator.iter_errors({key: value for key, value in good.items() if key != "id"})) != []
