"""A person in control of a running session: commands and what they change, the way in, the way to the bus.

Knows the session's parts.  Knows no feed.
"""
