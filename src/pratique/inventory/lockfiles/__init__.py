"""Lock files in, declared packages out: what the catalogers of lock files share, imported when the first such file is met."""
