"""From ticks to bars: time, tick, volume, range and Renko bars, in shards that are merged exactly."""
