"""`python -m pratique_runtime`."""

import sys

from pratique_runtime.gate import main

sys.exit(main())
