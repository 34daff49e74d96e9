"""Feeds -> advisory database, and look-ups in it."""
