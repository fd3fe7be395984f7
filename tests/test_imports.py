"""Processes of fastmark's own load no more than they use; other processes are left alone."""

import subprocess
import sys

import pytest

LOAD = """
import sys
from fastmark import _imports
if {own}:
    _imports.own_process()
from fastmark import fft
import numpy as np
assert fft.rfft2(np.ones((8, 8), np.float32))[0, 0] == 64
print("scipy.fftpack" in sys.modules, fft.backend())
import scipy.fftpack  # can be imported afterwards
"""


@pytest.mark.parametrize(("own", "loaded"), [(True, "False"), (False, "True")])
def test_scipy_is_loaded_by_pyfftw_only_where_the_process_is_not_ours(own, loaded):
    pytest.importorskip("pyfftw")
    pytest.importorskip("scipy")
    done = subprocess.run(
        [sys.executable, "-c", LOAD.format(own=own)], stdout=subprocess.PIPE, check=True, text=True
    )
    assert done.stdout.split() == [loaded, "fftw"]


def test_the_command_line_is_a_process_of_its_own():
    code = (
        "import sys; from fastmark.cli import main; main(['doctor']); print('scipy.fftpack' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True, text=True)
    assert done.stdout.splitlines()[-1] == "False"


OPTIONAL = ("sqlalchemy", "alembic", "imagehash", "c2pa", "cryptography", "pyarrow", "fsspec", "ray")


def loaded_by(program):
    """Which optional packages a program of its own has loaded at its end."""
    told = f"{program}\nimport sys\nprint(*(name for name in {OPTIONAL!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_naming_what_is_optional_loads_nothing_of_it():
    program = "import fastmark\nfastmark.registry.Registry, fastmark.provenance.Signer, fastmark.check"
    assert loaded_by(program + "\nfastmark.Companions(record=fastmark.Record(), xmp=True)") == []
    assert loaded_by("import fastmark\nfastmark.registry.Registry('sqlite:///none.db')") == []


def test_watermarks_and_checks_without_companions_load_nothing_optional():
    program = """
import numpy as np
import fastmark
marker = fastmark.Watermarker(fastmark.Key(bytes(range(32))))
image = np.random.default_rng(1).normal(128, 12, (384, 384)).astype(np.uint8)
marked = marker.embed(image, 7)
assert fastmark.check(marked, marker).verdict == "genuine"
"""
    assert loaded_by(program) == []
