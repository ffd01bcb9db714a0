"""Exact scanning: every row is looked at, and proven bounds say which of them matter."""
