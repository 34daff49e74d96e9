"""`python -m pratique` is `pratique`."""

from pratique.cli.main import main

main()
