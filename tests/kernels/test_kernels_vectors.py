"""The hot kernels are compiled to wide vector instructions: a careless cast or branch, and they are not.

Numba says nothing when a loop is left scalar, and results stay the same, only slower. So the instructions are
counted: arithmetic on registers of 256 bits and more.
"""

import importlib
import re
from collections import Counter

import llvmlite.binding as llvm
import numba
import numpy as np
import pytest

from fastmark.kernels._jit import kernel

try:
    FEATURES = llvm.get_host_cpu_features()
except RuntimeError:  # LLVM does not know this processor
    FEATURES = {}
X86_64 = llvm.get_process_triple().startswith("x86_64")

pytestmark = [
    pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="nothing is compiled"),
    pytest.mark.skipif(not (X86_64 and FEATURES.get("avx2")), reason="registers of 256 bits are AVX2's"),
    pytest.mark.skipif(numba.config.CPU_NAME == "generic", reason="compiled for a processor without AVX2"),
]

ONE = np.float32(1)


def real(*shape):
    return np.ones(shape, np.float32)


def small(*shape, dtype=np.uint8):
    return np.zeros(shape, dtype)


COEFFICIENTS = real(8, 8, 40)

WIDE = r" [yz]mm"
ANY = r" [xyz]mm"
FLOAT = r"v(add|sub|mul|fn?m(add|sub)\d+)ps" + WIDE
ROUND = r"v(round|rndscale)ps" + WIDE
WIDENED = r"vcvtps2pd" + ANY
COLLECTED = r"vpinsrb" + ANY
"""A byte put into a vector, one of many: of places that the compiler does not know to be neighbours."""

# Arguments a kernel is compiled for, and the least numbers of instructions: those of one round of its vector
# loop, whatever the processor. The loops of kernels that it calls have none of these instructions.
HOT = {
    # sums of words or longer, and of half as many bytes, would take many more
    "logpolar.add_group": (
        (small(999), small(16, dtype=np.uint64), small(64), small(64, dtype=np.uint16)),
        {"vpaddb" + WIDE: 15, "vpaddw" + WIDE: 1},
    ),
    "dct.dct8": ((real(8, 40), real(8, 40)), {FLOAT: 28}),
    "dct.idct8": ((real(8, 40), real(8, 40)), {FLOAT: 28}),
    "dct.dct_row": ((real(320), 0, COEFFICIENTS), {FLOAT: 28}),
    "dct.idct_row": ((COEFFICIENTS, 0, real(320)), {FLOAT: 28}),
    "score.score_blocks": (
        (COEFFICIENTS, ONE, ONE, ONE, COEFFICIENTS, COEFFICIENTS),
        {"vandps" + WIDE: 3, FLOAT: 6, "vminps" + WIDE: 1, "vmaxps" + WIDE: 1},
    ),
    # words are added and clipped; pairs of them are squared and added by one instruction
    "pixels.add_steps": (
        (small(64), small(64, dtype=np.int16), small(64, dtype=np.int16), small(64)),
        {
            "vpaddw" + WIDE: 1,
            "vpsubw" + WIDE: 1,
            "vpminsw" + WIDE: 1,
            "vpmaxsw" + WIDE: 1,
            "vpmaddwd" + ANY: 1,
        },
    ),
    "pixels.add_delta_u8": (
        (small(4, 96), 3, real(4, 32), 1, 0, 4, small(4, 96)),
        {ROUND: 2, "vcvttps2dq" + WIDE: 2},
    ),
    "pixels.average_luma": (
        (small(4, 96), 1, 1.0, 0, 4, real(4, 32)),
        {"vcvtdq2ps" + WIDE: 3, r"v(mul|fmadd\d+)ps" + WIDE: 3},
    ),
    "jpeg.push_blocks": (
        (COEFFICIENTS, COEFFICIENTS, ONE, real(7, 8, 8), ONE, ONE, ONE, ONE, COEFFICIENTS),
        {ROUND: 7, r"vcmp\w*ps" + WIDE: 49, FLOAT: 50},
    ),
    "chips.draw_pilot": (
        (real(64, 64), 0, 0, ONE, real(16, 32), 0, 32, real(32, 64)),
        {"vmulps" + WIDE: 2},
    ),
    "chips.spread_waves": ((*real(4, 40), real(4, 8), real(320)), {FLOAT: 20}),
    # it multiplies along the rows alone, after adding up columns
    "mask.box5": ((real(16, 40), real(16, 40)), {"vaddps" + WIDE: 8, "vmulps" + WIDE: 1}),
    "mask.min5": ((real(16, 40), real(16, 40)), {"vminps" + WIDE: 8}),
}

SINGLE = ["dct.dct8", "dct.dct_row", "jpeg.push_blocks", "chips.draw_pilot", "mask.box5", "mask.min5"]
"""Where float64 would halve the speed."""


def find(name):
    module, function = name.split(".")
    return getattr(importlib.import_module(f"fastmark.kernels.{module}"), function)


def instructions_of(compiled, arguments):
    """Compile anew and count the vector instructions, by name and widest register: ``vaddps ymm``.

    Of machine code that comes from the cache on disk numba shows nothing.
    """
    fresh = numba.jit(**compiled.targetoptions)(compiled.py_func)
    fresh(*arguments)
    (assembly,) = fresh.inspect_asm().values()
    lines = re.findall(r"^\s+(v\w+)\s([^\n#]*)", assembly, re.MULTILINE)
    registers = [(name, re.findall(r"%([xyz]mm)", operands)) for name, operands in lines]
    assert registers
    return Counter(f"{name} {max(widths)}" for name, widths in registers if widths)


def count(instructions, pattern):
    return sum(n for instruction, n in instructions.items() if re.fullmatch(pattern, instruction))


@pytest.mark.parametrize("name", HOT)
def test_hot_kernels_compute_in_wide_vectors(name):
    arguments, least = HOT[name]
    instructions = instructions_of(find(name), arguments)
    found = {pattern: count(instructions, pattern) for pattern in least}
    assert all(found[pattern] >= n for pattern, n in least.items()), (found, instructions)


@pytest.mark.parametrize("name", HOT)
def test_the_count_is_nothing_where_loops_are_left_scalar(name, monkeypatch):
    arguments, least = HOT[name]
    # NOTE: kernels that this one calls are compiled now, or scalar code of them would be kept, and cached
    find(name)(*arguments)
    monkeypatch.setattr(numba.config, "LOOP_VECTORIZE", 0)
    instructions = instructions_of(find(name), arguments)
    assert {pattern: count(instructions, pattern) for pattern in least} == dict.fromkeys(least, 0)


@pytest.mark.parametrize("name", SINGLE)
def test_hot_kernels_of_single_precision_do_not_compute_in_double(name):
    assert count(instructions_of(find(name), HOT[name][0]), WIDENED) == 0


def test_the_scan_loads_its_bytes_in_one_piece():
    assert count(instructions_of(find("logpolar.add_group"), HOT["logpolar.add_group"][0]), COLLECTED) == 0


def test_bytes_at_signed_places_are_seen_to_be_collected():
    # a negative place counts from the end
    @kernel
    def add_run(flat, starts, total):
        first, second = starts[0], starts[1]
        for i in range(total.size):
            total[i] += np.uint16(np.uint8(flat[first + i] + flat[second + i]))

    arguments = small(99), small(2, dtype=np.int64), small(64, dtype=np.uint16)
    assert count(instructions_of(add_run, arguments), COLLECTED) > 15


def test_a_number_of_python_among_those_of_single_precision_is_seen_to_double_them():
    @kernel
    def tenth(x, out):
        for i in range(x.size):
            out[i] = 0.1 * x[i]

    assert count(instructions_of(tenth, (real(64), real(64))), WIDENED) > 0


def test_a_sum_that_depends_on_the_one_before_is_no_vector_loop():
    @kernel
    def running(x, out):
        for i in range(1, x.size):
            out[i] = np.float32(0.5) * out[i - 1] + x[i]

    assert count(instructions_of(running, (real(64), real(64))), FLOAT) == 0
