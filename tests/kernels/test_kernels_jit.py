"""What kernels share, against its twin."""

import numpy as np
import pytest
from reference import _jit as slow

from fastmark.kernels import _jit as fast


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("rest", [0, 1, 30])
@pytest.mark.parametrize("n", [0, 1, 7, 100])
def test_copy_line_agrees_with_its_twin(n, rest, dtype):
    source = np.random.default_rng(n).integers(0, 256, n + rest).astype(dtype)
    target = np.zeros(n, dtype)
    fast.copy_line(source, target)
    np.testing.assert_array_equal(target, slow.copy_line(source, n))


def test_copy_line_writes_into_a_part_of_a_row_or_column():
    source, plane = np.arange(1, 9, dtype=np.float32), np.zeros((8, 10), np.float32)
    fast.copy_line(source, plane[3, 2:7])
    fast.copy_line(source, plane[:, 9])
    assert plane[3, 2:7].tolist() == [1, 2, 3, 4, 5]
    assert plane[:, 9].tolist() == source.tolist()
    assert np.count_nonzero(plane) == 13
