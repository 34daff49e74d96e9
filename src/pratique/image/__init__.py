"""Reference -> layers -> entries: opens targets and walks layers in one pass."""
