"""`aiopt data`: what is printed, for people and as JSON, and the exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from aiopt.cli.data import command
from aiopt.errors import DataError
from aiopt.ticks.manifest import Manifest, write_manifest
from tests.unit.ticks.killing import contents


def invoke(*arguments: object) -> Any:
    result = CliRunner().invoke(command, [str(part) for part in arguments], standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result


def document(*arguments: object) -> Any:
    return json.loads(invoke(*arguments, "--json").stdout)


def test_list_shows_every_entry_and_filters(root: Path) -> None:
    assert [entry["kind"] for entry in document("list", root)["entries"]] == [
        "bars",
        "downloads",
        "parquet",
        "run",
        "ticks",
    ]
    (entry,) = document("list", root, "--kind", "ticks", "--instrument", "eur/usd")["entries"]
    assert (entry["rows"], entry["provenance"], entry["open_hours_behind"] > 0) == (4_000, "synthetic", True)
    text = invoke("list", root).stdout
    assert "entries: 5" in text
    assert "synthetic" in text
    assert document("list", root, "--instrument", "GBPUSD") == {"entries": []}


def test_without_folders_the_usual_ones_are_looked_through(
    root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"none of data, \.cache, runs is here"):
        invoke("list")
    root.rename(tmp_path / "data")
    assert len(document("list")["entries"]) == 5


def test_show_gives_the_days_of_a_store(root: Path) -> None:
    shown = document("show", root / "ticks" / "EURUSD")
    assert [day["date"] for day in shown["days"]] == ["2024-05-06", "2024-05-07"]
    assert sum(day["rows"] for day in shown["days"]) == shown["rows"] == 4_000
    assert "2024-05-06 (2,880)" in invoke("show", root / "ticks" / "EURUSD").stdout
    assert document("show", root / "bars" / "EURUSD" / "5m")["kind"] == "bars"
    assert "current" not in invoke("show", root / "ticks" / "EURUSD").stdout  # of what is built alone


def test_show_gives_the_outcomes_of_a_download(root: Path, manifest: Manifest) -> None:
    store = root / "ticks" / "EURUSD"
    assert document("show", store)["hours"] == {}
    hours = {"2024-05-06T00": "ticks", "2024-05-06T01": "failed", "2024-05-06T02": "ticks"}
    write_manifest(store, msgspec.structs.replace(manifest, hours=hours))
    assert document("show", store)["hours"] == {"failed": 1, "ticks": 2}
    assert "failed 1, ticks 2" in invoke("show", store).stdout


def test_what_is_no_entry_is_named(root: Path) -> None:
    with pytest.raises(DataError, match="is no entry of the catalogue"):
        invoke("show", root)


def test_verify_exits_with_1_on_damage_and_names_the_file(root: Path) -> None:
    (root / "downloads" / "EURUSD" / ".hours.json").unlink()
    assert invoke("verify", root).return_value == 0
    path = next((root / "ticks").rglob("*.parquet"))
    path.write_bytes(path.read_bytes()[:-1])
    result = invoke("verify", root, "--json")
    assert result.return_value == 1
    (fault,) = json.loads(result.stdout)["faults"]
    assert str(root / "ticks" / "EURUSD" / fault["file"]) == str(path)
    assert "damaged:" in invoke("verify", root).stdout


def test_compact_says_what_it_did(root: Path) -> None:
    before = contents(root)
    assert "would become" in invoke("compact", root, "--dry-run").stdout
    assert contents(root) == before
    done = {Path(entry["path"]).name: entry for entry in document("compact", root)["entries"]}
    assert (done["log"]["files_before"], done["log"]["files_after"]) == (6, 1)
    assert (done["EURUSD"]["row_groups_before"], done["EURUSD"]["row_groups_after"]) == (9, 2)
    assert "packed already" in invoke("compact", root).stdout


def test_prune_removes_only_when_told(root: Path) -> None:
    left = root / "log" / ".part.parquet.0123abcd.tmp"
    left.write_bytes(b"half")
    shown = document("prune", root)
    assert (shown["dry_run"], shown["removed"], len(shown["items"])) == (True, [], 1)
    assert "Nothing was removed: add --delete" in invoke("prune", root).stdout
    assert left.exists()
    assert document("prune", root, "--delete")["removed"] == [str(left)]
    assert not left.exists()
    assert "Nothing to prune" in invoke("prune", root, "--delete").stdout


def test_an_unknown_kind_gets_a_hint(root: Path) -> None:
    with pytest.raises(DataError, match="Did you mean 'ticks'"):
        invoke("list", root, "--kind", "tick")


def test_verify_names_what_rebuilding_could_not_prove(root: Path) -> None:
    text = invoke("verify", root, "--rebuild").stdout
    assert "bars built again from their ticks: 1" in text
    assert f"not proven: {root / 'log'}" in text
    assert f"not proven: {root / 'bars'}" not in text
    assert document("verify", root, "--rebuild")["rebuilt"] == [str(root / "bars" / "EURUSD" / "5m")]
    assert "not proven" not in invoke("verify", root).stdout


def test_paths_are_printed_in_one_piece(root: Path) -> None:
    far = root / "/".join(["a_folder_with_a_long_name"] * 6)
    far.parent.mkdir(parents=True)
    (root / "bars").rename(far)
    assert str(far / "EURUSD" / "5m") in invoke("list", root).stdout
