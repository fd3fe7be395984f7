"""What the tests of attacks share: the modules of the benchmark, and images with watermarks."""

import numpy as np
import pytest
from pictures import drawn, photograph
from scripts import benchmark

pytest.importorskip("scipy")
pytest.importorskip("ssimulacra2", reason="the benchmark's measure of quality")


@pytest.fixture(scope="session")
def attacks():
    """A function that imports a module of the benchmark by the end of its name."""

    def imported(name):
        return benchmark(name if name == "security" else f"_security_{name}")

    return imported


def _photograph(name):
    return np.ascontiguousarray(photograph(name)[:384, :384])


@pytest.fixture(scope="session", params=["astronaut", "coffee", "drawn"])
def image(request):
    """An image of 384 pixels each way."""
    return np.array(drawn(384, 384, 5)) if request.param == "drawn" else _photograph(request.param)


@pytest.fixture(scope="session")
def other_image():
    """One that none of the others is."""
    return _photograph("chelsea")[:300]
