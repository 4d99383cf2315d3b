"""Robustness: the ranked entries run again under worse and other conditions, and what that says of them.

It judges, it never chooses: places and scores of the ranking stay.  Knows no holdout, no cluster and no page.
"""
