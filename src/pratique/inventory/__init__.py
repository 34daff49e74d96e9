"""Entries -> Inventory: which files matter, what they say, what survives the layers."""
