"""pratique inspects container images, says whether they may run and why, and enforces that one decision everywhere."""

from pratique._version import __version__

__all__ = ["__version__"]
