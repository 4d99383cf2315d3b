"""Sessions on the cluster, as far as no cluster is needed: what is refused, and where a session may run."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiopt.errors import AioptError, ClusterError, ConfigError
from aiopt.live.paper.paper_config import PaperConfig
from aiopt.live.session.live_config import LiveConfig, ReplayFeed, TradedSpec
from cluster.live import SessionRow, SessionRunner, read_configs, run_sessions
from jobs.live import main, parser


@pytest.fixture
def config() -> LiveConfig:
    return LiveConfig(
        account=PaperConfig(account_currency="USD"),
        strategies=(TradedSpec(id="A", spec="rsi_reversion"),),
        feed=ReplayFeed(store="nowhere"),
    )


def test_configurations_are_looked_at_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="got none"):
        read_configs([])
    with pytest.raises(ConfigError, match="twice"):
        read_configs([tmp_path / "a" / "x.yaml", tmp_path / "b" / "x.yaml"])
    path = tmp_path / "x.yaml"
    path.write_text(
        "account: {account_currency: USD}\nstrategies: [{id: A, spec: rsi_reversion}]\nfeed: {store: none}\n"
    )
    with pytest.raises(AioptError, match="none"):
        read_configs([path])


def test_without_ray_it_says_so(config: LiveConfig, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"Call ray\.init first"):
        run_sessions({"a": config}, tmp_path)


def test_a_node_that_sees_another_folder_begins_nothing(config: LiveConfig, tmp_path: Path) -> None:
    for seen in ("", "other"):
        if seen:
            (tmp_path / ".cluster").write_text(seen)
        with pytest.raises(ClusterError, match="shared file system"):
            SessionRunner().run(config, tmp_path, "token", prove=False)
    assert not (tmp_path / "session.sqlite").exists()


def test_the_job_refuses_what_cannot_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["--config", str(tmp_path / "none.yaml"), "--out", str(tmp_path)])
    assert code == 2
    assert "There is no file" in capsys.readouterr().out
    assert parser().parse_args(["--config", "a", "--config", "b", "--out", "o"]).config == [
        Path("a"),
        Path("b"),
    ]
    assert SessionRow(name="a", folder="f", state="failed", error="x").trades == 0
