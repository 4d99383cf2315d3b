"""Profiles as files: found by name, refused with a reason, adapted to what a command says."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiopt.errors import ConfigError, InputError
from aiopt.serving import profile_files
from aiopt.serving.checkpoint.weights import CheckpointError

ROOT = Path(__file__).resolve().parents[3]


def test_the_command_line_decides_model_port_and_state_folder(tmp_path: Path) -> None:
    document, config = profile_files.adapt(
        profile_files.load_profile("test"), folder=tmp_path, model=str(tmp_path), port=18000
    )
    assert profile_files.url_of(document) == "http://127.0.0.1:18000"
    assert config.models[0].model == str(tmp_path.resolve())
    assert config.folder == tmp_path.resolve()


def test_an_unknown_profile_is_refused_with_a_hint() -> None:
    with pytest.raises(InputError, match=r"no serving profile 'gpuu'\. Did you mean 'gpu'"):
        profile_files.load_profile("gpuu")


@pytest.mark.parametrize("text", ["- a list", "applications: []", "applications: [{name: x}]", "a: [b"])
def test_a_file_that_is_no_profile_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"must (hold one application|be YAML)"):
        profile_files.load_profile(str(path))


def test_the_eyes_are_taken_from_where_make_eyes_leaves_them_or_the_command_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profile_files, "NEEDED", ())
    monkeypatch.chdir(tmp_path)
    _, config = profile_files.adapt(
        profile_files.load_profile("tiny"), folder=tmp_path, model=None, port=None
    )
    wanted = tmp_path / "data" / "eyes" / "training"
    assert config.models[0].model == str(wanted), "engines run in other working directories"
    assert "EYES ?= data/eyes" in (ROOT / "Makefile").read_text()
    with pytest.raises(CheckpointError, match=r"but there is nothing yet\. Run: make eyes, or name another"):
        profile_files.check_machine(config)
    (wanted / "states").mkdir(parents=True)
    with pytest.raises(CheckpointError, match="must be finished"):
        profile_files.check_machine(config)
    _, other = profile_files.adapt(
        profile_files.load_profile("tiny"), folder=tmp_path, model="tiny:vision:1", port=None
    )
    profile_files.check_machine(other)
    assert other.models[0].made_by == ""
