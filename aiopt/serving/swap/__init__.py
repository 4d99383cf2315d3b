"""Swapping models: the coordinator, its proof token for token, its ledger and records."""
