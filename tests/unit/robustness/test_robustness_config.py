from __future__ import annotations

import msgspec
import pytest

from aiopt.errors import ConfigError
from aiopt.optimize.configuration import OptimizeConfig, load_optimize_config, run_identity
from aiopt.robustness.robustness_config import DEFAULT_GATES, FIGURES, Gate, RobustnessConfig


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"draws": 0}, r"`robustness\.1 <= draws <= 10000` must hold, but got 0"),
        ({"seed": -1}, "seed >= 0"),
        ({"spread_pips": 0.0}, "spread_pips"),
        ({"slippage_ticks": float("nan")}, "slippage_ticks"),
        ({"delay_bars": 0}, "delay_bars"),
        ({"missing_share": 0.6}, "missing_share"),
        ({"missing_gap_bars": 0.5}, "missing_gap_bars"),
        ({"jitter": 1.0}, r"0 < jitter < 1.*a tenth of the range tried"),
        ({"block_hours": 0.0}, "block_hours"),
        ({"neighbours": 3}, "neighbours"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, float], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        RobustnessConfig(**settings)


def test_a_gate_on_an_unknown_figure_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(
        ConfigError, match=r"must name a known figure, but got 'delay\.net_pn'.*delay\.net_pnl"
    ):
        Gate(figure="delay.net_pn", at_least=0.0)


@pytest.mark.parametrize(
    "bounds", [{}, {"at_least": 0.0, "at_most": 1.0}, {"at_least": float("nan")}, {"at_most": float("inf")}]
)
def test_a_gate_has_one_threshold(bounds: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="must have one of at_least and at_most"):
        Gate(figure="delay.net_pnl", **bounds)


def test_two_gates_on_one_figure_are_refused() -> None:
    gate = Gate(figure="delay.net_pnl", at_least=0.0)
    with pytest.raises(ConfigError, match=r"delay\.net_pnl has two gates"):
        RobustnessConfig(gates=(gate, gate))


def test_a_gate_passes_at_its_threshold_and_not_beyond() -> None:
    least, most = (
        Gate(figure="spread.share_profitable", at_least=0.8),
        Gate(figure="stability.parameter_move", at_most=0.2),
    )
    assert [least.passes(value) for value in (0.8, 0.79, None)] == [True, False, None]
    assert [most.passes(value) for value in (0.2, 0.21, None)] == [True, False, None]
    assert (least.rule, most.rule) == ("at least 0.8", "at most 0.2")


def test_the_default_gates_name_known_figures_and_some_are_required() -> None:
    assert {gate.figure for gate in DEFAULT_GATES} <= set(FIGURES)
    assert any(gate.required for gate in DEFAULT_GATES)


def test_defaults_are_no_part_of_a_run_and_all_else_is() -> None:
    plain = run_identity(OptimizeConfig(), [], "hash")
    assert "robustness" not in plain
    config = OptimizeConfig(robustness=RobustnessConfig(draws=7))
    assert run_identity(config, [], "hash")["robustness"]["draws"] == 7
    off = OptimizeConfig(robustness=RobustnessConfig(enabled=False))
    assert run_identity(off, [], "hash")["robustness"]["enabled"] is False


def test_it_is_read_from_a_configuration_and_unknown_keys_are_refused() -> None:
    gates = [{"figure": "delay.net_pnl", "at_least": 0, "required": True}]
    config = load_optimize_config(None, {"robustness": {"draws": 5, "gates": gates}})
    assert config.robustness.gates == (Gate(figure="delay.net_pnl", at_least=0.0, required=True),)
    with pytest.raises(ConfigError, match="drawz"):
        load_optimize_config(None, {"robustness": {"drawz": 5}})
    with pytest.raises(ConfigError, match="known figure"):
        load_optimize_config(None, {"robustness": {"gates": [{"figure": "luck", "at_least": 0}]}})


def test_settings_survive_their_own_json() -> None:
    config = RobustnessConfig(draws=3)
    assert msgspec.convert(msgspec.to_builtins(config), RobustnessConfig) == config
