"""Two reports in, what is different and why out. Pure."""
