"""Waiting for a node: what is left behind when it does not come up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from aiopt.errors import ClusterError
from cluster.node_process import Start, await_start
from cluster.processes import MARKER, identify, marked
from cluster.resources import NodeResources
from cluster.state_folder import ClusterState, log_path, state_path


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_start_that_never_answers_leaves_no_process_and_no_record(
    tmp_path: Path, interrupted: bool
) -> None:
    log_path(tmp_path).write_text("still starting\n")
    process = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)"], env={MARKER: "0123456789abcdef"}
    )
    supervisor = identify(process.pid)
    assert supervisor is not None
    template = ClusterState(
        cluster_id="0123456789abcdef",
        role="head",
        supervisor=supervisor,
        address="",
        dashboard_url="",
        temp_dir=str(tmp_path / "temp"),
        token_path=str(tmp_path / "token"),
        resources=NodeResources(num_cpus=1, num_gpus=0, memory_bytes=1, object_store_bytes=1),
    )

    def ready() -> str | None:
        if interrupted:
            raise KeyboardInterrupt
        return None

    error, message = (KeyboardInterrupt, None) if interrupted else (ClusterError, "did not answer within")
    with pytest.raises(error, match=message):
        await_start(Start(tmp_path, process, supervisor, template), ready, 0.1)
    # Collected: nothing warns of it when it goes, and no zombie stays.
    assert process.returncode is not None
    assert marked("0123456789abcdef") == []
    assert not state_path(tmp_path).exists()
