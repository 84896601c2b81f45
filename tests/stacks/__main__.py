"""What ``python -m tests.stacks`` runs."""

import sys

from tests.stacks import main

main(sys.argv[1:])
