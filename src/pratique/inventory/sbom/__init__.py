"""SBOMs of others and our own in, an Inventory out; one module a format, `read.py` finds out which."""
