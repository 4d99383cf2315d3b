"""Profiles as files: found by name, refused with a reason, adapted to what a command says."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiopt.errors import ConfigError, InputError
from aiopt.serving import profile_files


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
