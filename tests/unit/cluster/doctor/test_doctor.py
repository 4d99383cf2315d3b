"""`aiopt doctor`: each thing it looks at, whole and broken, on real files and sockets."""

from __future__ import annotations

import importlib.metadata
import json
import os
import resource
import socket
from collections.abc import Iterable
from pathlib import Path

import pytest

from aiopt.errors import InputError
from aiopt.files import GIB
from aiopt.serving.checkpoint.tiny_minicpm import build_checkpoint
from aiopt.ticks.sample import generate_ticks
from cluster.cli.main import run
from cluster.doctor import machine as machines
from cluster.doctor import software
from cluster.doctor.findings import Finding, diagnosis, good, note, problem
from cluster.resources import Machine, detect_machine

ROOMY = Machine(cores=8, memory_bytes=16 * GIB, gpus=0, shm_bytes=8 * GIB)


def levels(found: Iterable[Finding]) -> list[str]:
    return [each.level for each in found]


def only(found: Iterable[Finding], level: str) -> Finding:
    (one,) = (each for each in found if each.level == level)
    assert one.remedy or level == "ok"
    return one


def test_a_note_leaves_the_diagnosis_healthy_and_a_problem_does_not() -> None:
    assert diagnosis([good("a", "b"), note("c", "d", "e")]).healthy
    assert not diagnosis([good("a", "b"), problem("c", "d", "e")]).healthy


def test_the_command_prints_every_finding_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["doctor", "--state-dir", str(tmp_path / "state"), "--profile", "test", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["healthy"]
    areas = {each["area"] for each in found["findings"]}
    assert areas >= {"versions", "memory", "gpu", "disk", "permissions", "clock", "ports", "data", "model"}
    assert list(tmp_path.iterdir()) == []


def test_a_problem_is_exit_code_1_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").write_text("a file")
    assert run(["doctor", "--state-dir", str(tmp_path / "s"), "--data", "nowhere"]) == 1
    said = capsys.readouterr().out
    assert "2 of" in said
    assert "must be put right" in said
    assert "aiopt ticks import" in said


def test_too_little_memory_stops_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOPT_RESOURCES__MEMORY_GIB", "0.2")
    assert "0.75 GiB" in only(machines.look_at_machine(ROOMY), "problem").what


def test_memory_for_fewer_workers_than_cores_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOPT_RESOURCES__MEMORY_GIB", "1")
    monkeypatch.setenv("AIOPT_RESOURCES__NUM_CPUS", "4")
    assert "1 sweep workers" in only(machines.look_at_machine(detect_machine()), "note").what


def test_small_shared_memory_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOPT_RESOURCES__OBJECT_STORE_GIB", "2")
    docker = Machine(cores=8, memory_bytes=16 * GIB, gpus=0, shm_bytes=64 << 20)
    assert "--shm-size" in only(machines.look_at_machine(docker), "note").remedy


def test_disk_full_or_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert machines.look_at_disk(tmp_path / "not" / "yet", "runs").level == "ok"
    monkeypatch.setattr(machines, "COMFORTABLE_FREE_BYTES", 1 << 60)
    assert machines.look_at_disk(tmp_path, "runs").level == "note"
    monkeypatch.setattr(machines, "MINIMUM_FREE_BYTES", 1 << 60)
    assert machines.look_at_disk(tmp_path, "runs").level == "problem"
    (tmp_path / "file").write_text("")
    assert "is a file" in machines.look_at_disk(tmp_path / "file" / "runs", "runs").what
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert machines.look_at_disk(tmp_path, "runs").area == "permissions"


def test_few_open_files_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (1024, 4096))
    assert "ulimit -n" in machines.look_at_limits().remedy


def test_a_clock_of_the_past_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "problem" not in levels(machines.look_at_clock())
    monkeypatch.setattr(machines, "CLOCKS", ("Mars/Olympus",))
    assert "tzdata" in only(machines.look_at_clock(), "problem").remedy


@pytest.mark.parametrize(
    ("script", "level", "said"),
    [
        ("echo 'NVIDIA RTX, 32607 MiB, 31000 MiB, 580.1'", "ok", "driver 580.1"),
        ("echo 'Driver/library version mismatch'; exit 18", "problem", "version mismatch"),
    ],
)
def test_the_driver_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, level: str, said: str
) -> None:
    with_gpu = Machine(cores=8, memory_bytes=16 * GIB, gpus=1, shm_bytes=8 * GIB)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "no nvidia-smi" in only(machines.look_at_gpu(with_gpu), "problem").what
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    assert said in only(machines.look_at_gpu(with_gpu), level).what


def test_wrong_and_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert levels(software.look_at_packages()) == ["ok"]
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: ["numpy<1", "no-such-package>=1"])
    found = list(software.look_at_packages())
    assert levels(found) == ["problem", "problem"]
    assert "numpy must be <1" in found[0].what
    assert "no-such-package is not installed" in found[1].what


def test_the_token_has_to_be_secret(tmp_path: Path) -> None:
    assert levels(software.look_at_token(tmp_path)) == ["ok"]
    (tmp_path / "token").write_text("0" * 32)
    (tmp_path / "token").chmod(0o644)
    assert "chmod 600" in only(software.look_at_token(tmp_path), "problem").remedy
    (tmp_path / "token").chmod(0o600)
    assert levels(software.look_at_token(tmp_path)) == ["ok"]
    (tmp_path / "token").write_text("short")
    assert levels(software.look_at_token(tmp_path)) == ["problem"]


def test_an_unreadable_state_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "cluster.json").write_text("{")
    assert "cluster.json" in only(software.look_at_ports(tmp_path), "problem").what


def test_data_whole_broken_and_absent(tmp_path: Path) -> None:
    assert levels(software.look_at_data(tmp_path / "data", wanted=False)) == ["note"]
    assert levels(software.look_at_data(tmp_path / "data", wanted=True)) == ["problem"]
    assert levels(software.look_at_data(tmp_path, wanted=True)) == ["note"]
    generate_ticks(tmp_path / "ticks", start="2024-03-04", days=1, ticks_per_day=1_000)
    assert levels(software.look_at_data(tmp_path, wanted=True)) == ["ok"]
    (tmp_path / "ticks" / "manifest.json").write_text("{")
    assert "manifest" in only(software.look_at_data(tmp_path, wanted=True), "problem").what


def test_serving_needs_engine_files_memory_port_and_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_checkpoint(tmp_path / "model", seed=1, kind="text")
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        profile = tmp_path / "own.yaml"
        profile.write_text(
            f"http_options: {{port: {holder.getsockname()[1]}}}\napplications:\n  - args: {{device: cpu, "
            f"models: [{{name: m, model: {tmp_path / 'model'}}}]}}\n"
        )
        found = list(software.look_at_serving(str(profile), tmp_path, ROOMY))
        assert [(each.area, each.level) for each in found] == [("ports", "problem"), ("model", "ok")]
    monkeypatch.setattr(software, "available_bytes", lambda: GIB)
    assert "Free memory" in only(software.look_at_serving(str(profile), tmp_path, ROOMY), "problem").remedy
    profile.write_text(profile.read_text().replace("device: cpu", "device: gpu"))
    assert "needs a GPU" in only(software.look_at_serving(str(profile), tmp_path, ROOMY), "problem").what
    profile.write_text(profile.read_text().replace("/model", "/nowhere"))
    assert "nowhere" in only(software.look_at_serving(str(profile), tmp_path, ROOMY), "problem").what


def test_an_unknown_profile_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no serving profile 'cpus'"):
        list(software.look_at_serving("cpus", tmp_path, ROOMY))
