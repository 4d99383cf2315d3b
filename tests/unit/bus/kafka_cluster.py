"""librdkafka's mock cluster in a process of its own: prints where it listens, lives until its input ends."""

from __future__ import annotations

import sys

from confluent_kafka import Producer

# The bootstrap servers are replaced by the mock's own.
cluster = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "mock", "log_level": 0})
brokers = cluster.list_topics(timeout=10).brokers.values()
sys.stdout.write(",".join(f"{broker.host}:{broker.port}" for broker in brokers) + "\n")
sys.stdout.flush()
sys.stdin.read()
