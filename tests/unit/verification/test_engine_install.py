"""The engine's folder: what is installed, what is refused, and what a kill leaves; no network is used."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from aiopt.cli.pine import command
from aiopt.errors import ConfigError
from aiopt.verification import engine_folder as places
from aiopt.verification import engine_install as installing
from aiopt.verification.engine_folder import EnginePin, PineEngineError, engine_status, find_engine
from aiopt.verification.engine_install import install, remove

MODULE = b"export class PineTS {}\n"


def packed(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in (("package/dist/engine.js", content), ("package/LICENSE", b"AGPL\n")):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small engine to install, a Node that is new enough, and nothing else on the PATH."""
    files, bin_dir = tmp_path / "files", tmp_path / "bin"
    files.mkdir()
    content = packed(MODULE)
    (files / "pinets-1.2.3.tgz").write_bytes(content)
    pin = msgspec.structs.replace(
        places.engine_pin(),
        version="1.2.3",
        integrity="sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode(),
        module="package/dist/engine.js",
        module_sha256=hashlib.sha256(MODULE).hexdigest(),
    )
    program(bin_dir / "node", "echo v22.1.0")
    for module in (places, installing):
        monkeypatch.setattr(module, "engine_pin", lambda: pin)
        monkeypatch.setattr(module, "search_path", lambda folder: str(bin_dir))
    monkeypatch.setenv("AIOPT_PINE_ENGINE_DIR", str(tmp_path / "engine"))
    return files


def test_the_pin_is_complete() -> None:
    pin = places.engine_pin()
    assert isinstance(pin, EnginePin)
    assert pin.integrity.startswith("sha512-")
    assert len(pin.module_sha256) == 64
    assert pin.licence == "AGPL-3.0-only"


def test_the_folder_follows_its_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AIOPT_PINE_ENGINE_DIR", str(tmp_path / "own"))
    assert places.engine_folder() == tmp_path / "own"
    monkeypatch.delenv("AIOPT_PINE_ENGINE_DIR")
    monkeypatch.setenv("AIOPT_STATE_DIR", str(tmp_path))
    assert places.engine_folder() == tmp_path / "pine-engine"
    monkeypatch.delenv("AIOPT_STATE_DIR")
    assert places.engine_folder() == Path.home() / ".aiopt" / "pine-engine"


def test_installs_from_a_folder_and_removes(offline: Path) -> None:
    engine = install(offline)
    assert engine.title == "PineTS 1.2.3"
    assert engine.node_version == "22.1.0"
    assert find_engine() == engine
    assert engine_status().ready
    assert [path.name for path in engine.module.parents[2].parent.iterdir() if path.name[0] != "."] == [
        "pinets-1.2.3"
    ]
    assert remove() == ["pinets-1.2.3"]
    assert not places.engine_folder().exists()
    with pytest.raises(PineEngineError, match=r"No Pine engine is installed in .*aiopt pine engine install"):
        find_engine()


def test_a_file_of_another_hash_is_refused(offline: Path) -> None:
    (offline / "pinets-1.2.3.tgz").write_bytes(packed(b"something else\n"))
    with pytest.raises(PineEngineError, match=r"is not the file of PineTS 1.2.3: its hash is sha512-"):
        install(offline)
    assert not engine_status().ready
    assert list(places.engine_folder().glob("*-*")) == []


def test_a_folder_without_the_file_is_told(offline: Path, tmp_path: Path) -> None:
    with pytest.raises(PineEngineError, match=r"npm pack pinets@1\.2\.3"):
        install(tmp_path)
    with pytest.raises(ConfigError, match="There is no folder"):
        install(tmp_path / "nowhere")


def test_a_damaged_engine_is_told_and_mended(offline: Path) -> None:
    module = install(offline).module
    module.write_bytes(MODULE[:-5])
    with pytest.raises(PineEngineError, match=r"The Pine engine is damaged: .*Install it again"):
        find_engine()
    assert install(offline).module.read_bytes() == MODULE


def test_an_engine_of_another_version_is_told_and_replaced(offline: Path) -> None:
    folder = install(offline).module.parents[2]
    folder.rename(folder.with_name("pinets-1.0.0"))
    with pytest.raises(
        PineEngineError, match=r"is PineTS 1\.0\.0, and this version of aiopt proves with 1\.2\.3"
    ):
        find_engine()
    assert engine_status().other_versions == ["1.0.0"]
    install(offline)
    assert engine_status().other_versions == []


def test_an_old_node_is_told(offline: Path, tmp_path: Path) -> None:
    install(offline)
    program(tmp_path / "bin" / "node", "echo v18.20.4")
    os.utime(tmp_path / "bin" / "node", (1, 1))
    with pytest.raises(
        PineEngineError, match=r"Node is too old \(.* is v18\.20\.4\).* needs Node 20 or later"
    ):
        find_engine()
    (tmp_path / "bin" / "node").unlink()
    with pytest.raises(PineEngineError, match="Node is not installed"):
        find_engine()
    assert engine_status().node is None


def test_without_npm_the_way_out_is_told(offline: Path) -> None:
    with pytest.raises(PineEngineError, match=r"npm is not installed.*--from FOLDER"):
        install()


def test_a_failing_npm_is_quoted(offline: Path, tmp_path: Path) -> None:
    program(tmp_path / "bin" / "npm", "echo 'ENOTFOUND registry' >&2; exit 1")
    with pytest.raises(
        PineEngineError, match=r"npm could not fetch PineTS 1.2.3: ENOTFOUND registry.*Nothing was"
    ):
        install()


def test_a_killed_install_leaves_nothing_that_counts(offline: Path, tmp_path: Path) -> None:
    program(tmp_path / "bin" / "npm", "kill -9 $PPID; sleep 1")
    code = (
        "import aiopt.verification.engine_folder as a, aiopt.verification.engine_install as b\n"
        f"b.search_path = a.search_path = lambda folder: {str(tmp_path / 'bin')!r}\n"
        "b.install()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == -9, done.stderr
    assert list(places.engine_folder().glob(".install-*"))
    with pytest.raises(PineEngineError, match="No Pine engine is installed"):
        find_engine()
    install(offline)
    assert not list(places.engine_folder().glob(".install-*"))


def test_the_command_asks_for_consent(offline: Path) -> None:
    refused = CliRunner().invoke(command, ["engine", "install", "--from", str(offline)])
    assert isinstance(refused.exception, ConfigError)
    assert "AGPL-3.0-only" in refused.output
    assert not engine_status().ready
    done = CliRunner().invoke(command, ["engine", "install", "--from", str(offline), "--yes", "--json"])
    document = json.loads(done.stdout)
    assert (document["ready"], document["installed"]) == (True, True)
    again = CliRunner().invoke(command, ["engine", "install", "--json"])
    assert json.loads(again.stdout)["installed"] is False
    assert CliRunner().invoke(command, ["engine", "status"]).exit_code == 0
    assert json.loads(CliRunner().invoke(command, ["engine", "remove", "--json"]).stdout)["removed"]
    assert CliRunner().invoke(command, ["engine", "status"]).exit_code == 1
