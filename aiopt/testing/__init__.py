"""Generators and builders for tests, ours and those of users.  Nothing of the product imports it."""
