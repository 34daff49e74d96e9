"""Executable files in, the few facts that inventories need out: section contents, Go build information, Rust audit data."""
