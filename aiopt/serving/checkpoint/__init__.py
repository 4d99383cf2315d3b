"""Checkpoints: what may be served, what a folder must hold, its revision, and tiny generated ones."""
