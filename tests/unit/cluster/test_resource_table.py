"""The resource table for the three intended sizes."""

from __future__ import annotations

import pytest

from aiopt.errors import ConfigError
from aiopt.files import GIB
from cluster.resources import (
    STAGES,
    Machine,
    ResourceOverrides,
    detect_machine,
    plan_node,
    stage_options,
    sweep_workers,
)

LAPTOP = Machine(cores=8, memory_bytes=16 * GIB, gpus=0, shm_bytes=8 * GIB)
REFERENCE = Machine(cores=32, memory_bytes=182 * GIB, gpus=1, shm_bytes=91 * GIB)


def test_laptop_uses_every_core() -> None:
    node = plan_node(LAPTOP)
    assert (node.num_cpus, node.num_gpus, node.object_store_bytes) == (8, 0, 2 * GIB)
    assert node.memory_bytes + node.object_store_bytes < LAPTOP.memory_bytes


def test_reference_box_keeps_a_core_and_offers_its_gpu() -> None:
    node = plan_node(REFERENCE)
    assert (node.num_cpus, node.num_gpus, node.object_store_bytes) == (31, 1, 16 * GIB)


def test_object_store_fits_into_shared_memory() -> None:
    small_shm = Machine(cores=4, memory_bytes=64 * GIB, gpus=0, shm_bytes=1 * GIB)
    assert plan_node(small_shm).object_store_bytes <= small_shm.shm_bytes


def test_overrides_win() -> None:
    node = plan_node(LAPTOP, ResourceOverrides(num_cpus=3, num_gpus=2, memory_gib=4, object_store_gib=0.5))
    assert (node.num_cpus, node.num_gpus) == (3, 2)
    assert (node.memory_bytes, node.object_store_bytes) == (4 * GIB, GIB // 2)


def test_too_little_memory_says_what_to_do() -> None:
    tiny = Machine(cores=2, memory_bytes=int(1.5 * GIB), gpus=0, shm_bytes=GIB)
    with pytest.raises(ConfigError, match=r"at least 0\.75 GiB.*--memory-gib"):
        plan_node(tiny)


def test_zero_cpus_refused() -> None:
    with pytest.raises(ConfigError, match="num_cpus >= 1"):
        ResourceOverrides(num_cpus=0)


def test_workers_are_bounded_by_cores_and_memory() -> None:
    share = STAGES["trial"]
    plenty = {"CPU": 4.0, "memory": 100.0 * GIB}
    tight = {"CPU": 8.0, "memory": 2.5 * share.memory_bytes}
    assert sweep_workers([plenty]) == 4
    assert sweep_workers([tight]) == 2
    assert sweep_workers([plenty, tight]) == 6
    assert sweep_workers([{}]) == 0


def test_stage_options_are_ray_options() -> None:
    assert stage_options("ranking") == {"num_cpus": 0}
    assert stage_options("trial") == {"num_cpus": 1, "memory": STAGES["trial"].memory_bytes}


def test_detection_finds_this_machine() -> None:
    machine = detect_machine()
    assert machine.cores >= 1
    assert machine.memory_bytes > 100 << 20
