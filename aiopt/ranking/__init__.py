"""Ranking trials."""
