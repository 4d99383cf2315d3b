"""Which JSON schemas have answers that end."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopt.serving.gateway.failures import HttpError
from aiopt.serving.gateway.schemas import check_schema

LINK = {"type": "object", "properties": {"next": {"$ref": "#"}}}


@pytest.mark.parametrize(
    "schema",
    [
        {},
        LINK,
        {**LINK, "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}, "required": ["next"]},
        {"type": "array", "items": {"$ref": "#"}},
        {"anyOf": [{"$ref": "#"}, {"type": "integer"}]},
        {"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "string"}}},
        {"$ref": "#/$defs/a%20b", "$defs": {"a b": {"type": "string"}}},
        {"$ref": "#/allOf/0", "allOf": [{"type": "string"}]},
        {"enum": [{"$ref": "#/nothing"}]},
        {"const": {"$ref": "http://x"}},
        {"properties": {"$ref": {"type": "string"}}},
        {"$ref": 5},
        {"required": ["x"], "properties": {"x": {"$ref": "#"}}},  # a number follows it too
    ],
)
def test_schemas_with_answers(schema: dict[str, Any]) -> None:
    check_schema(schema)


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"$ref": "#"}, "the schema at # refers to itself in a circle"),
        (
            {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
            "in a circle",
        ),
        ({**LINK, "required": ["next"]}, "no answer to it ever ends"),
        ({"type": "array", "minItems": 1, "items": {"$ref": "#"}}, "no answer to it ever ends"),
        ({"allOf": [{"type": "object"}, {"$ref": "#"}]}, "in a circle"),
        ({"oneOf": [{"$ref": "#"}, {"$ref": "#/oneOf/0"}]}, "in a circle"),
        (
            {"properties": {"a": {"items": {"$ref": "#/properties/a/items"}}}},
            "#/properties/a/items refers to",
        ),
        ({"$ref": "#/$defs/a"}, r"refers to '#/\$defs/a', which is not there. Correct it"),
        ({"$ref": "#/allOf/1", "allOf": [{}]}, "which is not there"),
        ({"items": {"$ref": "http://localhost:1/x"}}, "at #/items refers to .*nothing is fetched"),
        ({"items": {"anyOf": []}}, "at #/items has anyOf without a branch"),
        ({"$ref": "#name"}, "nothing is fetched or looked up"),
    ],
)
def test_schemas_without_answers(schema: dict[str, Any], message: str) -> None:
    with pytest.raises(HttpError, match=message) as caught:
        check_schema(schema)
    assert (caught.value.status, caught.value.param) == (400, "response_format")


ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(0, 3)
    | st.sampled_from(["#", "#/$defs/a", "object", "array", "a"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "$ref",
                    "$defs",
                    "a",
                    "allOf",
                    "anyOf",
                    "items",
                    "minItems",
                    "properties",
                    "required",
                    "type",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["$ref", "$defs", "allOf", "properties", "required", "type"]), ANY))
def test_any_schema_is_judged(schema: dict[str, Any]) -> None:
    with contextlib.suppress(HttpError):
        check_schema(schema)


def test_a_long_chain_is_followed_to_its_end() -> None:
    links = {f"a{number}": {"$ref": f"#/$defs/a{number + 1}"} for number in range(2000)}
    check_schema({"$ref": "#/$defs/a0", "$defs": {**links, "a2000": {"type": "string"}}})
    with pytest.raises(HttpError, match="in a circle"):
        check_schema({"$ref": "#/$defs/a0", "$defs": {**links, "a2000": {"$ref": "#/$defs/a0"}}})
