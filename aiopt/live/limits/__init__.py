"""What stands between a strategy's wish and an order: risk limits, the kill switch, failed strategies.

Plain Python: no NautilusTrader, no clock, no file.  An engine's own checks are not relied on: NautilusTrader
1.221 ignores notional and balance checks of margin accounts.

- `aiopt.live.limits.limits_config`: `LimitsConfig`
- `aiopt.live.limits.risk_limits`: `RiskLimits`, in front of every order
- `aiopt.live.limits.kill_switch`: `KillSwitch`
- `aiopt.live.limits.strategy_states`: `StrategyStates`, which of them may enter, and what failed
"""
