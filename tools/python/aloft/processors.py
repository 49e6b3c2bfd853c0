"""How many threads a command may be asked for."""

import os

MOST_THREADS = max(64, os.cpu_count() or 1)  # beyond its processors a machine only loses time, and a typing error could stop it
