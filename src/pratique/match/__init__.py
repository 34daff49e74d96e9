"""Packages + advisories -> findings. Pure."""
