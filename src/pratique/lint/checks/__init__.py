"""The checks: a TOML file describes them, a module of the same theme holds one small function each."""
