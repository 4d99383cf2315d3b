"""`aiopt pine import`: strategies of the corpus and what was read of them, run in the Pine engine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from aiopt.cli.pine import command
from aiopt.market.instrument import instrument
from aiopt.pine.emitter import emit
from aiopt.pine.importing.importing import import_script
from aiopt.pine.provenance import Provenance
from aiopt.strategy.space import load_search_space
from aiopt.testing.random_specs import random_spec
from aiopt.verification.engine_folder import FOLDER_VARIABLE
from aiopt.verification.import_proof import ImportProof, ImportTask, prove_imports
from aiopt.verification.pine_runs import PineRunError, PineRunner
from aiopt.verification.sample_bars import sample_bars

pytestmark = pytest.mark.slow

HERE = Path(__file__).parents[1] / "unit" / "pine" / "importing" / "strategies" / "imported"
OTHERWISE_IN_THE_ENGINE = {"falling_momentum"}
"""The engine's `ta.rising` and `ta.falling` are not TradingView's."""
EURUSD = instrument("EURUSD")


def task(text: str) -> ImportTask:
    imported = import_script(text, instrument=EURUSD)
    assert imported.spec is not None, [str(one) for one in imported.refusals]
    return ImportTask(text, imported)


@pytest.fixture(scope="module")
def bars():
    return sample_bars("EURUSD", days=10).slice(0, 1500)


def test_every_imported_strategy_of_the_corpus_trades_as_its_script(pine, bars) -> None:
    paths = sorted(HERE.glob("*.pine"))
    proofs = prove_imports([task(path.read_text()) for path in paths], PineRunner(pine.engine), bars)
    named = {path.stem: proof for path, proof in zip(paths, proofs, strict=True)}
    unequal = {name for name, one in named.items() if not (isinstance(one, ImportProof) and one.is_equal)}
    assert unequal == OTHERWISE_IN_THE_ENGINE, {name: str(named[name]) for name in unequal}
    assert len(named) - len(unequal) >= 20
    different = named["falling_momentum"]
    assert isinstance(different, ImportProof)
    assert "closed trade 1" in str(different.difference)


def test_random_specs_come_back_trading_the_same(pine, bars) -> None:
    texts = [
        emit(
            random_spec(seed, exits=seed % 2 == 1, levels=seed > 5),
            provenance=Provenance(),
            instrument=EURUSD,
        )
        for seed in (2, 3, 5, 8, 10)
    ]
    proofs = prove_imports([task(text) for text in texts], PineRunner(pine.engine), bars)
    for proof in proofs:
        assert isinstance(proof, ImportProof)
        assert proof.difference is None, proof.text
        assert proof.sizes_compared
    assert sum(proof.trades for proof in proofs if isinstance(proof, ImportProof)) > 20


def test_a_script_without_a_trade_is_no_proof(pine, bars) -> None:
    text = '//@version=6\nstrategy("never")\nif close > 100\n    strategy.entry("L", strategy.long)\n'
    (proof,) = prove_imports([task(text)], PineRunner(pine.engine), bars)
    assert isinstance(proof, ImportProof)
    assert not proof.is_equal
    assert "nothing is proved" in proof.text


def test_a_script_that_the_engine_cannot_run_is_said(pine, bars) -> None:
    text = '//@version=6\nstrategy("mine")\nif close > open\n    strategy.entry("L", strategy.long)\n'
    broken = ImportTask(text + "ta.nonsense(close)\n", task(text).imported)
    (proof,) = prove_imports([broken], PineRunner(pine.engine), bars)
    assert isinstance(proof, PineRunError)


def test_the_command_writes_what_is_proved_and_nothing_else(
    pine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(Path(__file__).parents[2] / ".cache" / "pine_engine"))
    out = tmp_path / "mine.yaml"

    def call(name: str, *more: str) -> tuple[int, dict]:
        arguments = [
            "import",
            str(HERE / f"{name}.pine"),
            "--out",
            str(out),
            "--last",
            "800",
            "--json",
            *more,
        ]
        result = CliRunner().invoke(command, arguments, catch_exceptions=False)
        return result.exit_code, json.loads(result.stdout)

    code, document = call("falling_momentum")
    assert (code, document["proved"], document["written"], out.exists()) == (1, False, False, False)
    code, document = call("atr_stop_kept")
    assert (code, document["proved"], document["written"]) == (0, True, True)
    assert document["proof"]["engine"].startswith("PineTS")
    assert document["proof"]["trades"] > 0
    space = load_search_space(out)
    assert space.spec.spec_hash == document["spec_hash"]
    assert set(space.dimensions) == {"atr_len", "stop_mult", "target_mult"}
    assert out.read_text().startswith("# Imported from Pine by aiopt: atr_stop_kept.pine")
    code, document = call("falling_momentum", "--unproved")
    assert (code, document["proved"], document["written"]) == (0, False, True)
