"""The fitted constants of the code are those of the results of their generator, `benchmarks/calibrate.py`."""

import csv
import sys

import pytest
from scripts import BENCHMARKS, benchmark

from fastmark.codec.message import NEEDED_Z

FILES = sorted((BENCHMARKS / "results").glob("calibration-*.csv"))


@pytest.fixture(scope="module")
def calibrate():
    """The module, imported as the scripts beside it import it."""
    return benchmark("calibrate")


@pytest.fixture(scope="module")
def constants(calibrate):
    """The code's constants, by the names they have in the results."""
    return sys.modules["_calibration"].constants()


def rows_of(path):
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return list(csv.DictReader(lines))


def test_every_family_has_its_results_and_every_constant_its_row(calibrate, constants):
    assert [path.stem for path in FILES] == sorted(f"calibration-{name}" for name in calibrate.FAMILIES)
    names = {row["name"] for path in FILES for row in rows_of(path)}
    assert names == set(constants)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_constants_are_those_of_the_results(constants, path):
    """A changed constant is measured anew, or the results say why it stays."""
    for row in rows_of(path):
        assert float(row["in_code"]) == constants[row["name"]], row["name"]
        near = abs(float(row["found"]) - constants[row["name"]]) <= float(row["spread"])
        assert near or row["note"], row["name"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_results_name_no_path_of_the_machine(path):
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# calibrate ")
    assert not any(word in text for word in ("/home", "/work", "/tmp", "/Users", "\\"))


@pytest.mark.parametrize("bits", [16, 64])
def test_a_small_sample_finds_about_the_ratio_that_a_message_needs(calibrate, bits):
    found, error = calibrate.needed_z_of(bits, 60)
    assert 0 < error < 0.05 * NEEDED_Z[bits]
    assert found == pytest.approx(NEEDED_Z[bits], abs=4 * error + 0.05)


def test_the_share_that_is_read_grows_with_the_ratio(calibrate):
    shares = [calibrate.share_read(32, factor * NEEDED_Z[32], 60, 1) for factor in (0.6, 0.8, 1.0, 1.3)]
    assert shares == sorted(shares)
    assert shares[0] < 0.3
    assert shares[-1] > 0.95


def test_phases_that_follow_the_law_give_its_constants_back(calibrate):
    import numpy as np

    z, tones = np.meshgrid(np.geomspace(3.1, 60, 12), [48.0, 96.0])
    nats, power = np.minimum(0.7 * z**2 / 2, 2.6 * tones), np.minimum(0.9 * z**2 / 2, 5 * tones)
    data = np.stack([z, nats, power / np.sqrt(tones), tones], axis=-1)
    assert calibrate.fit_phases(data) == pytest.approx((0.7, 2.6, 0.9, 5), rel=0.02)


def test_a_constant_beyond_the_spread_is_noted(calibrate, constants):
    in_code = constants["visibility: content"]
    near, far = (calibrate.compared("visibility: content", in_code + off, 0.01, 2) for off in (0.02, 0.1))
    assert near["note"] == ""
    assert far["note"]
    assert near["in_code"] == far["in_code"] == in_code
