"""The analyst in a session: charts are read beside trading, which never waits for a model.

- `aiopt.live.reading.analyst_config`: who reads, which charts, and when a reading counts
- `aiopt.live.reading.background`: asking, in a thread with a loop of its own
- `aiopt.live.reading.arrivals`: readings in the order in which they were known, for the strategies
- `aiopt.live.reading.live_reader`: a session's questions and answers, and what of them is kept
- `aiopt.live.reading.readings_file`: the session's readings as a scan writes them, with the features beside
"""
