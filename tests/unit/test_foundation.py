"""files, config, timeframe."""

from __future__ import annotations

import errno
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopt.config import canonical_json, content_hash, environment_overrides, load_config, merge
from aiopt.errors import ConfigError, StorageError
from aiopt.files import atomic_path, atomic_write_text, sha256_file
from aiopt.timeframe import parse_timeframe, timeframe_of_ns


class Inner(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    length: int = 3


class Outer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str = "x"
    inner: Inner = Inner()
    many: dict[str, Inner] = {}


def test_atomic_path_leaves_the_old_content_when_the_block_fails(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "file.txt"
    atomic_write_text(target, "old")
    with pytest.raises(ValueError, match="half way"), atomic_path(target) as temporary:
        temporary.write_text("new, not whole")
        raise ValueError("half way")
    assert target.read_text() == "old"
    assert [path.name for path in target.parent.iterdir()] == ["file.txt"]


def test_a_full_disk_is_a_storage_error_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"disk of .* is full"), atomic_path(tmp_path / "a") as temporary:
        temporary.write_text("part")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("below", ["blocked/x", "blocked/deep/er/x"])
def test_a_file_in_place_of_a_folder_is_named(tmp_path: Path, below: str) -> None:
    (tmp_path / "blocked").write_text("a file")
    with pytest.raises(StorageError, match=r"cannot be written: .*blocked is a file, not a folder"):
        atomic_write_text(tmp_path / below, "x")
    assert (tmp_path / "blocked").read_text() == "a file"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc, in which nothing can be created")
@pytest.mark.parametrize("below", ["x", "deep/er/x"])
def test_a_folder_nothing_can_be_created_in_is_named(below: str) -> None:
    with pytest.raises(StorageError, match=r"No file can be created in /proc.*\. Choose another"):
        atomic_write_text(Path("/proc") / below, "x")


def test_other_os_errors_pass_unchanged(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="gone"), atomic_path(tmp_path / "a"):
        raise FileNotFoundError(errno.ENOENT, "gone")


def test_sha256_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_file(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_file_then_environment_then_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("name: file\ninner: {length: 5}\n")
    assert load_config(path, Outer) == Outer(name="file", inner=Inner(length=5))
    monkeypatch.setenv("T__INNER__LENGTH", "6")
    monkeypatch.setenv("T__NAME", "environment")
    merged = load_config(path, Outer, env_prefix="T", overrides={"name": "flag"})
    assert merged == Outer(name="flag", inner=Inner(length=6))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nmae: x", r"c\.yaml: Unknown key 'nmae' at \$\. Did you mean 'name'\?"),
        ("inner: {lenght: 1}", r"Unknown key 'lenght' at \$\.inner\. Did you mean 'length'\?"),
        ("many: {a: {lenght: 1}}", r"Unknown key 'lenght'"),
        ("inner: {length: two}", r"Expected `int`, got `str` - at `\$\.inner\.length`"),
        ("[1, 2]", "must hold keys and values"),
        ("a: [", "no valid YAML"),
    ],
)
def test_bad_configurations_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_config(path, Outer)


def test_a_missing_configuration_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"There is no file .*none\.yaml\. Check the path"):
        load_config(tmp_path / "none.yaml", Outer)


def test_merge_and_environment_do_not_touch_their_inputs() -> None:
    base = {"a": {"b": 1, "c": 2}, "d": [1]}
    assert merge(base, {"a": {"b": 9}, "d": [2]}) == {"a": {"b": 9, "c": 2}, "d": [2]}
    assert base == {"a": {"b": 1, "c": 2}, "d": [1]}
    assert environment_overrides("X", {"X__A__B": "3", "X__L": "[1, 2]", "XY": "no"}) == {
        "a": {"b": 3},
        "l": [1, 2],
    }


@given(st.dictionaries(st.text(max_size=5), st.integers(-5, 5), max_size=6))
def test_the_content_hash_ignores_key_order(mapping: dict[str, int]) -> None:
    turned = dict(reversed(list(mapping.items())))
    assert canonical_json(mapping) == canonical_json(turned)
    assert content_hash(mapping) == content_hash(turned)


@pytest.mark.parametrize(
    ("text", "label", "seconds"), [("60m", "1h", 3600), ("90s", "90s", 90), ("24h", "1d", 86400)]
)
def test_timeframes_have_one_notation(text: str, label: str, seconds: int) -> None:
    timeframe = parse_timeframe(text)
    assert (timeframe.label, timeframe.seconds) == (label, seconds)
    assert parse_timeframe(timeframe.label) == timeframe


@pytest.mark.parametrize("text", ["", "5", "0m", "m5", "-5m", "5 m", "5w"])
def test_a_bad_timeframe_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="must be a number and one of s, m, h, d"):
        parse_timeframe(text)


@pytest.mark.parametrize("ns", [0, -60_000_000_000, 1])
def test_a_length_must_be_whole_seconds(ns: int) -> None:
    with pytest.raises(ConfigError, match="positive multiple of one second"):
        timeframe_of_ns(ns)
