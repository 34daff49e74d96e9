"""Findings + gaps -> Verdict. Pure."""
