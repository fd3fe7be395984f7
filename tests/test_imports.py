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
