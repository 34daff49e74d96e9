"""The front door: one module a command, imported only when chosen."""
