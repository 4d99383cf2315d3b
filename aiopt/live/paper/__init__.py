"""A venue for paper trading: orders, positions and money under the backtest's rules, on ticks.

Plain Python: no NautilusTrader, no clock, no file.  Whoever drives it gives it quotes and orders and keeps
its state; the same calls always give the same answers.

- `aiopt.live.paper.seam`: orders, events and views
- `aiopt.live.paper.paper_config`: `PaperConfig`
- `aiopt.live.paper.venue`: `PaperVenue`
- `aiopt.live.paper.venue_state`: `VenueState`
"""
