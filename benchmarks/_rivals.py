"""Other backtesters on signals that are given to them.   usage: PYTHON _rivals.py INPUT.npz NAME [NAME …]

Runs in an interpreter of its own that has them installed, since they ask for other versions of our
libraries.  Prints JSON: versions, CPU seconds per trial, and of every trade the bars and prices of entry and
exit, its size and its profit.
One-sided rules with a stop and a target: what all of them, and we, can say.  vectorbt and raptorbt take the
two in per cent of the entry; backtesting.py and Jesse take the very prices that ours are.
"""

import importlib.metadata
import json
import sys
import time

import numpy as np


def main() -> None:
    data = np.load(sys.argv[1])
    print(json.dumps({name: TRIALS[name](data) for name in sys.argv[2:]}))


def measured(name: str, trial, count: int) -> dict:
    trial(0)  # compiles
    started = time.process_time()
    found = [trial(k) for k in range(count)]
    seconds = (time.process_time() - started) / count
    trades = [
        [(int(entry), int(leave), *map(float, numbers)) for entry, leave, *numbers in one()] for one in found
    ]
    return {"version": importlib.metadata.version(name), "seconds": seconds, "trades": trades}


def vectorbt_trials(data) -> dict:
    import vectorbt as vbt

    vbt.settings.array_wrapper["freq"] = "1min"

    def trial(k: int):
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
        count = int(found.trades.count())
        columns = ("entry_idx", "exit_idx", "entry_price", "exit_price", "size", "pnl")
        return lambda: [row for row in zip(*(found.trades.records[c] for c in columns)) if count]  # noqa: B905

    return measured("vectorbt", trial, len(data["entries"]))


def raptorbt_trials(data) -> dict:
    import raptorbt

    def trial(k: int):
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
        assert found.metrics.total_trades > 0
        return lambda: [
            (one.entry_idx, one.exit_idx, one.entry_price, one.exit_price, one.size, one.pnl)
            for one in found.trades()
        ]

    return measured("raptorbt", trial, len(data["entries"]))


def backtesting_trials(data) -> dict:
    import warnings

    import pandas
    from backtesting import Backtest, Strategy
    from backtesting import backtesting as engine

    engine._tqdm = lambda given, **_: given  # no bar on our output
    warnings.simplefilter("ignore")
    names = ("Open", "High", "Low", "Close", "Volume")
    frame = pandas.DataFrame({n: data[n.lower()] for n in names}, index=pandas.to_datetime(data["ts"]))

    class Rule(Strategy):
        k = 0

        def init(self) -> None:
            self.entries, self.exits = data["entries"][self.k], data["exits"][self.k]
            self.away = data["stop_price"][self.k].item(), data["target_price"][self.k].item()

        def next(self) -> None:
            bar = len(self.data) - 1
            if self.position:
                if self.exits[bar]:
                    self.position.close()
            elif self.entries[bar]:
                close = self.data.Close[-1]
                stop, target = self.away
                self.buy(size=10_000, sl=round(close - stop, 5), tp=round(close + target, 5))

    run = Backtest(frame, Rule, cash=100_000.0, commission=data["fees"].item(), finalize_trades=True).run

    def trial(k: int):
        trades = run(k=k)._trades
        columns = ("EntryBar", "ExitBar", "EntryPrice", "ExitPrice", "Size", "PnL")
        return lambda: zip(*(trades[name] for name in columns))  # noqa: B905

    return measured("backtesting", trial, len(data["entries"]))


NUMBERS = ("entry_price", "exit_price", "qty", "PNL")
"""What Jesse says of a trade."""


def jesse_trials(data) -> dict:
    import jesse.research
    from jesse.strategies import Strategy

    minute, begin = 60_000, 1_704_067_200_000
    place = {"exchange": "Sandbox", "symbol": "EUR-USDT"}
    stamps = begin + minute * np.arange(len(data["close"]))
    # Jesse's order of columns.
    columns = (stamps, *(data[name] for name in ("open", "close", "high", "low", "volume")))
    candles = {"Sandbox-EUR-USDT": {**place, "candles": np.column_stack(columns).astype(float)}}
    settings = {
        "starting_balance": 100_000,
        "fee": data["fees"].item(),
        "type": "futures",
        "futures_leverage": 1,
        "futures_leverage_mode": "cross",
        "exchange": "Sandbox",
        "warm_up_candles": 0,
    }

    class Rule(Strategy):
        point = 0

        def _at(self) -> int:
            return int((self.current_candle[0] - begin) // minute)

        def should_long(self) -> bool:
            return bool(data["entries"][Rule.point][self._at()])

        def go_long(self) -> None:
            self.buy = 10_000, self.price

        def on_open_position(self, order) -> None:
            size, price = self.position.qty, self.price
            self.stop_loss = size, round(price - data["stop_price"][Rule.point].item(), 5)
            self.take_profit = size, round(price + data["target_price"][Rule.point].item(), 5)

        def update_position(self) -> None:
            if data["exits"][Rule.point][self._at()]:
                self.liquidate()

        def should_cancel_entry(self) -> bool:
            return True

    def trial(k: int):
        Rule.point = k
        routes = [{**place, "strategy": Rule, "timeframe": "1m"}]
        trades = jesse.research.backtest(settings, routes, [], candles)["trades"]

        def bars():
            for one in trades:
                # Orders are stamped with the end of their candle: a market order, made at its close, is there
                # where ours are, at the open of the next bar; a stop or target was reached within the candle.
                inside = one["orders"][-1]["type"] != "MARKET"
                opened, closed = ((one[name] - begin) // minute for name in ("opened_at", "closed_at"))
                yield opened, closed - inside, *(one[name] for name in NUMBERS)

        return bars

    return measured("jesse", trial, min(2, len(data["entries"])))


TRIALS = {
    "vectorbt": vectorbt_trials,
    "raptorbt": raptorbt_trials,
    "backtesting": backtesting_trials,
    "jesse": jesse_trials,
}


if __name__ == "__main__":
    main()
