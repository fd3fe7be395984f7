"""The types of the interface, as a user's program and the README meet them: mypy in strict mode."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mypy")

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)

# Ray is large, and its types are not ours
CONFIG = """
[mypy]
strict = True
[mypy-ray.*]
follow_imports = skip
ignore_missing_imports = True
[mypy-numba.*]
ignore_missing_imports = True
[mypy-pyfftw.*]
ignore_missing_imports = True
"""


def check(paths, folder):
    """The output of ``mypy --strict`` over a user's files, outside this checkout."""
    config = folder / "mypy.ini"
    config.write_text(CONFIG, encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--config-file", config, "--no-error-summary"]
    environment = os.environ | {"MYPYPATH": str(ROOT), "MYPY_CACHE_DIR": str(folder / "cache")}
    return subprocess.run(
        [*map(str, command), *map(str, paths)], cwd=folder, env=environment, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    """All files in one run, as each start reads the whole package: the lines of each file's complaints."""
    folder = tmp_path_factory.mktemp("typing")
    paths = {"api": ROOT / "tests" / "typing" / "api.py"}
    for number, block in enumerate(BLOCKS):
        path = paths[f"readme_{number}"] = folder / f"readme_{number}.py"
        path.write_text(block, encoding="utf-8")
    wrong = paths["wrong"] = folder / "wrong.py"
    wrong.write_text(
        "import numpy as np\nimport fastmark\n"
        "marker = fastmark.Watermarker(fastmark.Key.generate())\n"
        "marker.strength = 2.0\n"
        "marker.embed(np.zeros((9, 9), np.uint8), 1).rotate(3)\n"
        "marker.embed('a.png', 1.5)\n"
        "fastmark.Watermarker(fastmark.load_key('any.key'))\n"
        "fastmark.bulk.embed('in', 'out', marker.key.detector_key())\n",
        encoding="utf-8",
    )
    done = check(paths.values(), folder)
    assert done.stderr == ""
    return {
        name: [line for line in done.stdout.splitlines() if path.name in line] for name, path in paths.items()
    }


def test_a_program_that_uses_every_call_passes(checked):
    assert checked["api"] == []


def test_the_readme_passes(checked):
    assert len(BLOCKS) >= 2
    for number in range(len(BLOCKS)):
        assert checked[f"readme_{number}"] == []


def test_mistakes_are_found(checked):
    found = [re.search(r":(\d+): error", line) for line in checked["wrong"]]
    assert [match[1] for match in found if match] == ["4", "5", "6", "7", "8"]
