"""Write docs/reference/asyncapi.json from the events and commands: `python docs/generate_asyncapi.py`.

Owns the document's layout and the sentences that no type says of itself.  What a message holds comes from its
type, so the document says what is decoded.
"""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import click
import msgspec

from aiopt.bus.commands import COMMAND_TYPES
from aiopt.bus.events import EVENT_TYPES

PAGE = Path(__file__).resolve().parent / "reference" / "asyncapi.json"

_SCHEMAS = "#/components/schemas/"
_SESSION = {"description": "The id of the session: 1 to 80 letters, digits, dots, dashes and underscores."}


def document() -> dict[str, Any]:
    """Return the AsyncAPI 3.0 document of the bus."""
    types = (*EVENT_TYPES, *COMMAND_TYPES)
    schemas, components = msgspec.json.schema_components(types, ref_template=_SCHEMAS + "{name}")
    assert len(schemas) == len(types)
    names = {"events": [t.__name__ for t in EVENT_TYPES], "commands": [t.__name__ for t in COMMAND_TYPES]}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "The bus of aiopt",
            "version": "1.0.0",
            "description": (
                "What live sessions tell (events) and what they can be told (commands). A message is one "
                "JSON object; `kind` (events) or `command` names its type and `schema` its version. "
                "An id that comes twice is one message."
            ),
        },
        "defaultContentType": "application/json",
        "servers": {
            "valkey": {
                "host": "localhost:6379",
                "protocol": "redis",
                "description": (
                    "Valkey, or Redis 6.2 or newer. Channel `aiopt/S/events` is the stream `aiopt:S:events`; "
                    "an entry has the fields `id` and `payload`, and the entry of event number N is `N+1-0`."
                ),
            },
            "kafka": {
                "host": "localhost:9092",
                "protocol": "kafka",
                "description": (
                    "Channel `aiopt/S/events` is partition 0 of the topic `aiopt.v1.S.events`; the key of a "
                    "record is the message's id, the header `number` its number."
                ),
            },
        },
        "channels": {topic: _channel(topic, names[topic]) for topic in names},
        "operations": {
            "tell": _operation("send", "events", "A session tells what happened, in order."),
            "obey": _operation(
                "receive",
                "commands",
                "A session takes commands, each once, and answers with the event `command_outcome`.",
            ),
        },
        "components": {
            "messages": {kind.__name__: _message(kind) for kind in types},
            "schemas": dict(sorted(components.items())),
        },
    }


def _channel(topic: str, names: list[str]) -> dict[str, Any]:
    return {
        "address": f"aiopt/{{session}}/{topic}",
        "parameters": {"session": _SESSION},
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
    }


def _operation(action: str, topic: str, summary: str) -> dict[str, Any]:
    return {"action": action, "channel": {"$ref": f"#/channels/{topic}"}, "summary": summary}


def _message(kind: type[msgspec.Struct]) -> dict[str, Any]:
    tag = str(kind.__struct_config__.tag)
    return {
        "name": tag,
        "summary": inspect.cleandoc(kind.__doc__ or "").split("\n\n")[0].replace("\n", " "),
        "payload": {"$ref": f"{_SCHEMAS}{kind.__name__}"},
    }


def page() -> str:
    """Return the document as it lies in the folder."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    click.echo(f"wrote {PAGE}")
