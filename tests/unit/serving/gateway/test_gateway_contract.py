"""The published schema against the gateway: what it allows is answered, what it forbids is refused."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import msgspec
import pytest

from aiopt.serving.gateway.chat_types import ChatRequest
from aiopt.serving.gateway.openapi import openapi_document
from aiopt.serving.gateway.routes import ROUTES, open_paths, route_label
from aiopt.serving.gateway.settings import GatewaySettings
from tests.unit.serving.conftest import ADMIN, API
from tests.unit.serving.live import live_gateway

# A body that follows its schema can still say what cannot be: a market with nothing in it, a high below a
# low, a picture of other bytes, 5.0 for a whole number.  Everything else the schema allows must be accepted.
SEMANTIC = ("chat", "analyze", "strategy")
# A request may wait long for a core: other tests run beside this one.
CONFIG = f"""
request-timeout = 120
[auth.openapi.api]
bearer = "{API}"
[auth.openapi.admin]
bearer = "{ADMIN}"
[generation]
max-examples = 10
deterministic = true
[phases.coverage]
unexpected-methods = ["DELETE"]
[phases.stateful]
enabled = false
""" + "".join(
    f"""
[[operations]]
include-operation-id = "{name}"
[operations.checks.positive_data_acceptance]
expected-statuses = ["2xx", "400", "404", "413"]
"""
    for name in SEMANTIC
)


def run_schemathesis(
    folder: Path, document: object, url: str, config: str = CONFIG
) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("schemathesis")
    (folder / "openapi.json").write_text(json.dumps(document))
    (folder / "schemathesis.toml").write_text(config)
    return subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", "run", "openapi.json", "--url", url],
        cwd=folder,
        env={**os.environ, "COLUMNS": "120", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=900,
    )


@pytest.mark.slow
def test_the_gateway_keeps_to_its_schema(tmp_path: Path) -> None:
    with live_gateway() as live:
        published = httpx.get(f"{live.url}/openapi.json", headers={"Authorization": f"Bearer {API}"}).json()
        done = run_schemathesis(tmp_path, published, live.url)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    tested = re.search(r"Tested: (\d+)", done.stdout)
    generated = re.search(r"(\d+) generated", done.stdout)
    assert tested is not None
    assert generated is not None
    assert int(tested[1]) == sum(len(methods) for methods in published["paths"].values())
    assert int(generated[1]) > 300


def test_the_schema_is_that_of_the_request_types() -> None:
    document = openapi_document(GatewaySettings(max_tokens=77, max_batch=5))
    schemas = document["components"]["schemas"]
    assert set(schemas["ChatRequest"]["properties"]) == set(ChatRequest.__struct_fields__)
    assert schemas["ChatRequest"]["additionalProperties"] is False
    assert {"type": "integer", "minimum": 1, "maximum": 77} in schemas["ChatRequest"]["properties"][
        "max_tokens"
    ]["anyOf"]
    assert schemas["AnalyzeBatch"]["properties"]["items"]["maxItems"] == 5
    text = json.dumps(document)
    for reference in set(re.findall(r"#/components/schemas/(\w+)", text)):
        assert reference in schemas


def test_every_operation_has_security_examples_and_errors() -> None:
    document = openapi_document(GatewaySettings())
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            where = f"{method} {path}"
            assert bool(operation["security"]) == (path != "/healthz"), where
            for status, response in operation["responses"].items():
                assert "X-Request-Id" in response["headers"], f"{where} {status}"
                assert ("Retry-After" in response["headers"]) == (status in ("429", "503")), (
                    f"{where} {status}"
                )
            if operation["security"]:
                expected = {"401", "405", "500", "504"} | (
                    {"403"} if len(operation["security"]) == 1 else set()
                )
                assert expected <= set(operation["responses"]), where
            if method == "post":
                assert {"400", "408", "413", "415"} <= set(operation["responses"]), where
                assert operation["requestBody"]["content"]["application/json"]["example"], where


def test_the_examples_follow_the_request_types() -> None:
    paths = openapi_document(GatewaySettings())["paths"]
    example = paths["/v1/chat/completions"]["post"]["requestBody"]["content"]["application/json"]["example"]
    assert msgspec.convert(example, ChatRequest).model == "minicpm"


def test_the_docs_name_every_limit_with_its_default() -> None:
    docs = (Path(__file__).resolve().parents[4] / "docs" / "reference" / "http.md").read_text(
        encoding="utf-8"
    )
    rows = dict(re.findall(r"^\| `(\w+)` \| `?([\w.]+)`? \|", docs, re.MULTILINE))
    fields = msgspec.structs.asdict(GatewaySettings())
    assert {name: rows.get(name) for name in fields} == {name: str(value) for name, value in fields.items()}


def test_every_row_of_the_table_is_served_and_described_once() -> None:
    document = openapi_document(GatewaySettings())
    described = {(m.upper(), path) for path, methods in document["paths"].items() for m in methods}
    assert described == {(route.method, route.path) for route in ROUTES}
    assert len(described) == len(ROUTES)
    for route in ROUTES:
        assert (route.parameter is None) == ("{" not in route.path)
        assert route_label(route.path.replace("{", "").replace("}", "")) == route.path
        operation = document["paths"][route.path][route.method.lower()]
        assert [list(entry) for entry in operation["security"]] == [[realm] for realm in route.realms]
    assert open_paths() == {"/healthz"}
    assert route_label("/v1/models/openbmb/MiniCPM-V-4.6") == "/v1/models/{model}"
    assert route_label("/v2") == "other"
