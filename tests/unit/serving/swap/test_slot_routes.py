"""What a route's card says of its model's confidence: the file in the folder that serves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from aiopt.serving.swap.coordinator import SwapCoordinator
from tests.unit.serving.fake_host import FakeHost, judge
from tests.unit.serving.swap.test_swap import card, config, done, run


def test_the_card_carries_what_the_folder_says_of_its_confidence(
    tmp_path: Path,
) -> None:
    def placed(source: str, like: Any, remote_code: bool) -> Any:
        return msgspec.structs.replace(judge(source, like, remote_code), path=str(tmp_path / source))

    async def scenario() -> None:
        for name, text in (("a", b""), ("b", b'{"layout": "calibration/1"}'), ("c", b"\xff")):
            (tmp_path / name).mkdir()
            if text:
                (tmp_path / name / "aiopt_calibration.json").write_bytes(text)
        coordinator = SwapCoordinator(config(tmp_path), FakeHost(), placed)
        await coordinator.start()
        await coordinator.settle()
        assert card(coordinator).calibration == ""
        await done(coordinator, "swap", "b")
        assert card(coordinator).calibration == '{"layout": "calibration/1"}'
        swap = await done(coordinator, "swap", "c")
        assert (swap.state, card(coordinator).calibration) == ("done", ""), (
            "unreadable: it serves all the same"
        )

    run(scenario)
