"""Grants and decisions in, what must not be lost out: the one place that persists, and the ledger of who was allowed what."""
