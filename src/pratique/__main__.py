"""The `pratique` program, also as `python -m pratique`."""

from __future__ import annotations

import signal


def main() -> None:
    """Run the command line. Until it can answer an interrupt in one line, an interrupt just ends the program."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from pratique.cli.main import main as run  # noqa: PLC0415 - imports take a moment, in which nobody wants a traceback

    signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


if __name__ == "__main__":
    main()
