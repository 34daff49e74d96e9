"""Whether a machine's gates stand: what is looked at, what is wrong, and how to mend it."""
