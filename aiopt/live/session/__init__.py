"""A session: feed, bars, strategies, node, venue and file put together, step by step.

- `aiopt.live.session.live_config`: what a session does
- `aiopt.live.session.deciding`: a spec as a strategy on bars that grow
- `aiopt.live.session.stepping`: one step, from a quote to a commit
- `aiopt.live.session.feed_of`, `aiopt.live.session.feeding`: its feed, and the quotes of it one by one
- `aiopt.live.session.live_session`: the session from its beginning to its end
- `aiopt.live.session.live_trades`: its trades
- `aiopt.live.session.proof`: they and the backtest's, every difference explained
"""
