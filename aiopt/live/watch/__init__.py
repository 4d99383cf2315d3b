"""The watchdog of a feed: whether its quotes can be traded on, and what follows when they cannot.

Plain Python: no NautilusTrader, no clock, no file.

- `aiopt.live.watch.watch_config`: `WatchConfig`
- `aiopt.live.watch.feed_watch`: `FeedWatch`, one per instrument and feed
- `aiopt.live.watch.watch_record`: what it says, and what it goes on from after a restart
"""
