"""``python -m fastmark``: the command line."""

import sys

from fastmark.cli import main

if __name__ == "__main__":
    sys.exit(main())
