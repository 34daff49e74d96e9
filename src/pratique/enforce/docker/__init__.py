"""The gate in front of a Docker engine: its API requests -> rulings."""
