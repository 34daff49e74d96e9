"""The registry's gate: a token service and a proxy in front of a registry that accepts nobody else."""
