"""The reference lists the rules as the code has them, and SARIF holds to its form."""

from __future__ import annotations

from pathlib import Path

import jsonschema

from aiopt.pine.checking.check import check_script
from aiopt.pine.checking.rules import RULES, reference
from aiopt.pine.checking.sarif import sarif

PAGE = Path(__file__).parents[4] / "docs" / "reference" / "pine-checks.md"
SOURCES = Path(__file__).parents[4] / "aiopt" / "pine" / "checking"

# What SARIF 2.1.0 asks of the parts that we write (sections 3.13, 3.14, 3.19, 3.27, 3.30, 3.49).
LEVEL = {"enum": ["none", "note", "warning", "error"]}
MESSAGE = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string", "minLength": 1}}}
POSITIVE = {"type": "integer", "minimum": 1}
REGION = {
    "type": "object",
    "required": ["startLine"],
    "properties": dict.fromkeys(("startLine", "startColumn", "endLine", "endColumn"), POSITIVE),
    "additionalProperties": False,
}
LOG = {
    "type": "object",
    "required": ["version", "runs"],
    "properties": {
        "version": {"const": "2.1.0"},
        "runs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["tool"],
                "properties": {
                    "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
                    "tool": {
                        "type": "object",
                        "required": ["driver"],
                        "properties": {"driver": {"type": "object", "required": ["name"]}},
                    },
                    "results": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["message"],
                            "properties": {
                                "ruleIndex": {"type": "integer", "minimum": 0},
                                "level": LEVEL,
                                "message": MESSAGE,
                                "locations": {
                                    "type": "array",
                                    "items": {
                                        "type": "object",
                                        "properties": {
                                            "physicalLocation": {
                                                "type": "object",
                                                "required": ["artifactLocation"],
                                                "properties": {"region": REGION},
                                            }
                                        },
                                    },
                                },
                            },
                        },
                    },
                },
            },
        },
    },
}


def test_the_page_lists_the_rules_as_they_are() -> None:
    assert PAGE.read_text("utf-8").endswith("\n" + reference())


def test_every_rule_that_the_code_names_is_listed() -> None:
    code = "".join(path.read_text("utf-8") for path in SOURCES.glob("*.py") if path.name != "rules.py")
    unused = [name for name in RULES if f'"{name}"' not in code and name != "syntax"]
    assert unused == []


def test_sarif_keeps_its_schema() -> None:
    calls = ("plot(clsoe)", 'plot(request.security("X", "D", close))', "plot(syminfo.newest)")
    text = "\n".join(["//@version=6", 'indicator("t")', *calls, ""])
    result = check_script(text)
    log = sarif(result, path="a/b.pine", tool_version="1.0.0")
    jsonschema.validate(log, LOG)
    run = log["runs"][0]
    assert {found["level"] for found in run["results"]} == {"error", "warning", "note"}
    identifiers = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert len(set(identifiers)) == len(identifiers)
    assert all(identifiers[found["ruleIndex"]] == found["ruleId"] for found in run["results"])


def test_a_fault_of_the_parser_has_a_rule_in_sarif() -> None:
    log = sarif(check_script('//@version=6\nplot("open)\n'), path="x.pine", tool_version="1.0.0")
    jsonschema.validate(log, LOG)
    assert "string" in [rule["id"] for rule in log["runs"][0]["tool"]["driver"]["rules"]]
