"""vectorbt and raptorbt on signals that are given to them.   usage: PYTHON _rivals.py INPUT.npz

Runs in an interpreter of its own that has them installed, since they ask for other versions of our
libraries.  Prints JSON: versions, CPU seconds per trial and the number of trades.  One-sided rules, a stop
and a target in per cent of the entry: what both of them, and we, can say.
"""

import importlib.metadata
import json
import sys
import time

import numpy as np


def main() -> None:
    data = np.load(sys.argv[1])
    print(json.dumps({"vectorbt": vectorbt_trials(data), "raptorbt": raptorbt_trials(data)}))


def measured(name: str, trial, count: int) -> dict:
    trial(0)  # compiles
    started = time.process_time()
    trades = [trial(k) for k in range(count)]
    seconds = (time.process_time() - started) / count
    return {"version": importlib.metadata.version(name), "seconds": seconds, "trades": trades}


def vectorbt_trials(data) -> dict:
    import vectorbt as vbt

    vbt.settings.array_wrapper["freq"] = "1min"

    def trial(k: int) -> int:
        # Signals act at the next open, as ours do.
        entries = np.r_[False, data["entries"][k][:-1]]
        exits = np.r_[False, data["exits"][k][:-1]]
        found = vbt.Portfolio.from_signals(
            data["close"],
            entries,
            exits,
            price=data["open"],
            open=data["open"],
            high=data["high"],
            low=data["low"],
            size=10_000.0,
            init_cash=100_000.0,
            fees=data["fees"].item(),
            sl_stop=data["stop"][k].item(),
            tp_stop=data["target"][k].item(),
        )
        assert found.total_profit() != 0
        return int(found.trades.count())

    return measured("vectorbt", trial, len(data["entries"]))


def raptorbt_trials(data) -> dict:
    import raptorbt

    def trial(k: int) -> int:
        config = raptorbt.BacktestConfig(
            initial_capital=100_000.0, fees=data["fees"].item(), fill_timing="next_bar_open"
        )
        config.set_fixed_stop(data["stop"][k].item())
        config.set_fixed_target(data["target"][k].item())
        found = raptorbt.run_single_backtest(
            timestamps=data["ts"],
            open=data["open"],
            high=data["high"],
            low=data["low"],
            close=data["close"],
            volume=data["volume"],
            entries=data["entries"][k],
            exits=data["exits"][k],
            direction=1,
            weight=1.0,
            symbol="EURUSD",
            config=config,
        )
        return int(found.metrics.total_trades)

    return measured("raptorbt", trial, len(data["entries"]))


if __name__ == "__main__":
    main()
