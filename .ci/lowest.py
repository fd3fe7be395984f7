"""Print the oldest releases that pyproject.toml allows: every floor becomes an exact version.

Usage: python lowest.py pyproject.toml [EXTRA ...]
"""

import sys
import tomllib
from pathlib import Path


def main() -> None:
    """Print one requirement per line: those of the package, then those of the extras that are named."""
    project = tomllib.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["project"]
    requirements = list(project["dependencies"])
    for extra in sys.argv[2:]:
        requirements += project["optional-dependencies"][extra]
    for requirement in requirements:
        if requirement.count(">=") != 1 or "," in requirement:
            raise SystemExit(f"{requirement}: write it as name>=version")
        print(requirement.replace(">=", "=="))


main()
