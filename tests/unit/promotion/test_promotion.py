"""Known readers under two names get the verdict they must get; whoever saw the charts is not judged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from aiopt.analyst.answers import answer_text
from aiopt.analyst.generators import GENERATORS, kinds_in_turn
from aiopt.analyst.pairing import compare_paired
from aiopt.analyst.planted import shuffled_bars
from aiopt.analyst.scoring import wilson
from aiopt.dataset.judging import Asked, Reading, looks_at
from aiopt.dataset.judging.explained import shuffled_explained
from aiopt.dataset.judging.judging import Judgement, TaskScore
from aiopt.dataset.judging.overlaps import chart_hashes
from aiopt.dataset.judging.seen import SEEN_FILE, Seen, read_seen, seen_by, seen_text
from aiopt.dataset.tasks import GeneratorSource, ShareConfig, TaskSetConfig, build_tasks
from aiopt.dataset.tasks.task_config import PictureConfig
from aiopt.dataset.tasks.task_kinds import TASKS, Chart
from aiopt.errors import ConfigError, DataError
from aiopt.promotion import (
    Candidate,
    Comparison,
    PromotionConfig,
    compare,
    load_promotion_config,
    open_candidate,
)
from aiopt.promotion.rule import decide
from aiopt.serving.checkpoint.geometry import read_geometry, write_geometry
from aiopt.serving.checkpoint.sources import resolve
from aiopt.serving.checkpoint.tiny_minicpm import build_checkpoint
from aiopt.serving.checkpoint.validation import CheckpointError

TRENDS = ("up", "down", "range")
RULE = PromotionConfig(least_questions=50, controls=40)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("promotion")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    config = TaskSetConfig(
        sources=(GeneratorSource(name="processes", charts=160),),
        tasks=("trend",),
        seed=5,
        shares=ShareConfig(train=0.3, validation=0.2, test=0.5),
    )
    build_tasks(config, tmp_path / "set")
    return tmp_path / "set"


@pytest.fixture(scope="module")
def pair(folder: Path) -> tuple[Path, Path]:
    """Two checkpoints as training leaves them: geometry and what was seen beside the weights."""
    found = []
    for seed in (1, 2):
        path = build_checkpoint(folder / f"model-{seed}", seed=seed)
        write_geometry(path, read_geometry(path))
        (path / SEEN_FILE).write_text(seen_text(Seen(datasets=("other",))))
        found.append(path)
    return found[0], found[1]


def opened(pair: tuple[Path, Path], folder: Path) -> tuple[Candidate, Candidate]:
    first, second = (open_candidate(str(path), folder) for path in pair)
    return first, second


def wrong(value: str) -> str:
    return next(one for one in TRENDS if one != value)


class Known:
    """Answers by a share of right answers per control; the public seam `Reads`."""

    def __init__(self, first: dict[str, float], second: dict[str, float], revision: str) -> None:
        self._shares = {True: first, False: second}
        self._first = revision

    def __call__(
        self, candidate: Candidate, asked: Sequence[Asked], pictures: PictureConfig
    ) -> list[Reading]:
        shares = self._shares[candidate.checkpoint.revision == self._first]
        counts: dict[str, float] = {}
        found = []
        for one in asked:
            share = shares.get(one.variant, shares["upright"])
            owed = counts[one.variant] = counts.get(one.variant, 0.0) + share
            right = owed >= 1
            counts[one.variant] -= right
            value = str(one.truth["trend"])
            answer = answer_text({"trend": value if right else wrong(value)}, one.answer_schema)
            found.append(Reading(sample=one.sample, task=one.task, variant=one.variant, answer=answer))
        return found


def compared(
    pair: tuple[Path, Path],
    data: Path,
    out: Path,
    first: dict[str, float],
    second: dict[str, float],
    rule: PromotionConfig = RULE,
) -> Comparison:
    one, other = opened(pair, data.parent)
    reads = Known(first, second, one.checkpoint.revision)
    return compare(one, other, data, out, rule, reads)


CHANCE = {"blank": 0.3, "shuffled": 0.3}


def test_a_better_one_is_promoted_and_the_proposal_is_taken_where_a_model_is_named(
    pair: tuple[Path, Path], data: Path, tmp_path: Path
) -> None:
    result = compared(pair, data, tmp_path / "out", {"upright": 0.5} | CHANCE, {"upright": 0.95} | CHANCE)
    assert result.decision.promote == "yes", result.decision.reasons
    assert result.compared["all"].low > 0.2
    assert result.look == 1
    assert [one.reader for one in looks_at(data)] == [
        f"model-2 ({result.second.revision[:8]}) against model-1 ({result.first.revision[:8]})"
    ]
    assert resolve(str(tmp_path / "out" / "proposal.json"), tmp_path) == str(pair[1])
    read = msgspec.json.decode((tmp_path / "out" / "comparison.json").read_bytes(), type=Comparison)
    assert read == result
    page = (tmp_path / "out" / "comparison.html").read_text()
    assert "Promote: yes." in page
    assert page.count("<svg") == 2


def test_a_second_look_is_a_proposal(pair: tuple[Path, Path], data: Path, tmp_path: Path) -> None:
    sides = {"upright": 0.5} | CHANCE, {"upright": 0.95} | CHANCE
    compared(pair, data, tmp_path / "one", *sides)
    again = compared(pair, data, tmp_path / "two", *sides)
    assert again.decision.promote == "proposal"
    assert any("this is look 2 at test" in text for text in again.decision.reasons)
    assert (tmp_path / "two" / "proposal.json").is_file()
    allowed = compared(pair, data, tmp_path / "three", *sides, msgspec.structs.replace(RULE, most_looks=3))
    assert allowed.decision.promote == "yes"


def test_what_is_not_better_with_confidence_is_a_proposal(
    pair: tuple[Path, Path], data: Path, tmp_path: Path
) -> None:
    alike = compared(pair, data, tmp_path / "out", {"upright": 0.9} | CHANCE, {"upright": 0.92} | CHANCE)
    assert alike.decision.promote == "proposal"
    assert "it is not better by more than 0.0% with confidence" in alike.decision.reasons[0]
    few = compared(
        pair,
        data,
        tmp_path / "few",
        {"upright": 0.5},
        {"upright": 1.0},
        PromotionConfig(charts=20, controls=0, most_looks=9),
    )
    assert few.decision.promote == "proposal"
    assert few.decision.reasons == ("only 20 questions were asked, fewer than 200", "no control was asked")


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        ({"upright": 0.3} | CHANCE, "it is worse: -"),
        ({"upright": 0.95, "blank": 0.95, "shuffled": 0.3}, r"right on 9.* of blank charts, where"),
        ({"upright": 0.95, "mirrored": 0.5} | CHANCE, r"of mirrored charts, but on 9\d.* of the same"),
    ],
)
def test_the_worse_and_those_that_fail_a_control_are_not_promoted(
    pair: tuple[Path, Path], data: Path, tmp_path: Path, second: dict[str, float], reason: str
) -> None:
    import re

    out = tmp_path / "out"
    result = compared(pair, data, out, {"upright": 0.6} | CHANCE, second)
    assert result.decision.promote == "no"
    assert re.search(reason, result.decision.reasons[0]), result.decision.reasons
    assert not (out / "proposal.json").exists()


def planted(task: str, count: int = 96) -> list[Asked]:
    """Shuffled charts of the templates, with the truth of the upright ones."""
    generator = GENERATORS["templates"]
    found = []
    for number, kind in enumerate(kinds_in_turn(generator, count)):
        case = generator.case(kind, seed=number, noise=1.0)
        truth = TASKS[task].answer(Chart(bars=case.bars, case=case))
        assert truth is not None
        found.append(
            Asked(
                sample=str(number),
                task=task,
                variant="shuffled",
                bars=shuffled_bars(case.bars, seed=number),
                truth=truth,
                source="templates",
                kind=kind,
            )
        )
    return found


@pytest.mark.parametrize(
    ("task", "low", "high", "right", "fails"),
    [
        # The net move survives, so a trend read from it is no leak; where a shuffled chart's extreme lies is.
        ("trend", 0.8, 1.0, 90, False),
        ("highest", 0.2, 0.6, 90, True),
        ("highest", 0.2, 0.6, 40, False),
        ("bias", 0.34, 0.75, 60, False),
        ("bias", 0.34, 0.75, 92, True),
    ],
)
def test_right_on_shuffled_charts_is_a_leak_beyond_what_their_bars_still_show(
    task: str, low: float, high: float, right: int, fails: bool
) -> None:
    explained = shuffled_explained(task, planted(task))
    assert explained is not None
    assert low < (explained.value or 0) <= high, explained
    score = TaskScore(
        task=task,
        origin=TASKS[task].origin,
        from_future=False,
        valid=wilson(96, 96),
        accuracy=wilson(95, 96),
        majority=wilson(32, 96),
        controls={"shuffled": wilson(right, 96)},
        controls_upright=wilson(95, 96),
        shuffled_explained=explained,
    )
    better = compare_paired([True] * 96, [False] * 96, [str(n) for n in range(96)], seed=1)
    judged = Judgement(reader="second", split="test", set_key="key", scores=(score,))
    decision = decide(RULE, judged, {"all": better}, look=1, known=True)
    assert decision.promote == ("no" if fails else "yes"), decision.reasons
    if fails:
        assert "of shuffled charts, where " in decision.reasons[0]


def test_whoever_saw_the_charts_or_their_time_is_not_judged(
    pair: tuple[Path, Path], data: Path, tmp_path: Path
) -> None:
    first, second = opened(pair, tmp_path)
    stolen = Seen(datasets=("leak",), charts=(min(chart_hashes(data, ("test",))),))
    leak = Candidate(second.source, second.checkpoint, stolen)
    reads = Known({"upright": 1.0}, {"upright": 1.0}, first.checkpoint.revision)
    with pytest.raises(
        DataError, match=r"charts it was trained on, but 1 charts of test are in .*model-2 too"
    ):
        compare(first, leak, data, tmp_path / "out", RULE, reads)
    # What is there may not have seen them either: it would look better than it is.
    with pytest.raises(DataError, match="charts it was trained on"):
        compare(
            Candidate(first.source, first.checkpoint, stolen), second, data, tmp_path / "out", RULE, reads
        )
    for split in ("train", "validation"):
        rule = msgspec.structs.replace(RULE, split=split)
        with pytest.raises(DataError, match=f"must not be judged on '{split}'"):
            compare(first, second, data, tmp_path / "out", rule, reads)
    assert not (tmp_path / "out").exists()
    assert looks_at(data) == []


def test_a_checkpoint_that_does_not_say_what_it_saw_must_be_told(
    pair: tuple[Path, Path], data: Path, tmp_path: Path
) -> None:
    path = build_checkpoint(tmp_path / "silent", seed=3)
    write_geometry(path, read_geometry(path))
    with pytest.raises(DataError, match=r"must say what it has seen, .* --trained-on DATASET"):
        open_candidate(str(path), tmp_path)
    told = open_candidate(str(path), tmp_path, trained_on=(data,))
    assert told.known
    with pytest.raises(CheckpointError, match="does not exist"):
        open_candidate(str(tmp_path / "nowhere"), tmp_path)
    generated = open_candidate("tiny:vision:4", tmp_path)
    assert not generated.known
    first, _ = opened(pair, tmp_path)
    reads = Known({"upright": 0.4} | CHANCE, {"upright": 0.95} | CHANCE, first.checkpoint.revision)
    result = compare(first, generated, data, tmp_path / "out", RULE, reads)
    assert result.decision.promote == "proposal"
    assert "it does not say all it was trained on" in result.decision.reasons[0]
    with pytest.raises(DataError, match="Two different checkpoints must be compared"):
        compare(first, first, data, tmp_path / "out", RULE, reads)


def test_what_was_seen_is_added_to_what_the_base_had_seen(data: Path, tmp_path: Path) -> None:
    before = Seen(datasets=("older",), charts=("0" * 16,), complete=False)
    seen = seen_by([data], before)
    assert seen.datasets == ("older", "set")
    assert set(seen.charts) == chart_hashes(data) | {"0" * 16}
    assert not seen.complete
    (tmp_path / SEEN_FILE).write_text(seen_text(seen))
    assert read_seen(tmp_path) == seen
    (tmp_path / SEEN_FILE).write_text("{")
    with pytest.raises(DataError, match="must be readable"):
        read_seen(tmp_path)


def test_a_rule_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    path = tmp_path / "promotion.yaml"
    path.write_text("least_gain: 0.02\nsplit: unseen_kinds\n")
    assert load_promotion_config(path) == PromotionConfig(least_gain=0.02, split="unseen_kinds")
    path.write_text("least_gains: 0.02\n")
    with pytest.raises(ConfigError, match="least_gain"):
        load_promotion_config(path)
    for text in ("least_gain: 2", "controls: -1", "most_looks: 0"):
        path.write_text(text)
        with pytest.raises(ConfigError, match="must hold, but got"):
            load_promotion_config(path)
