"""Kernels compiled ahead: a process that starts afterwards compiles nothing, whatever the image is."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from commands import assert_refused, run

from fastmark import warming
from fastmark.kernels import _compiling, signatures
from fastmark.kernels._cache import LOCK_FILE

WORK = """
import json, sys
import numpy as np
import fastmark as fm
from fastmark.kernels._compiling import compilations
from fastmark.kernels.signatures import spell

key = fm.Key(bytes(range(32)))
y, x = np.mgrid[0:{height}, 0:{width}]
wave = 128 + 50 * np.sin(x / 31 + 2 * np.cos(y / 47)) + 30 * np.cos(y / 13 - x / 57)
wave = wave[..., None] + np.random.default_rng(1).normal(0, 6, ({height}, {width}, 3))
image = {image}
marker = fm.Watermarker(key, {bits})
marked = marker.embed(image, 77)
found = [marker.detect(marked), marker.detect(np.rot90(marked[: -40, 60 :]))]
fm.Detector([fm.Key(bytes(range(1, 33)))]).detect(image)
print(json.dumps([[one.message for one in found], [spell(0, c.kernel, c.arguments) for c in compilations()]]))
"""

RGB = "np.clip(wave, 0, 255).astype(np.uint8)"
KINDS = {
    "RGB": (512, 512, RGB, 64),
    "grey": (400, 500, f"{RGB}[..., 0].copy()", 16),
    "16 bits": (400, 500, "(np.clip(wave, 0, 255) * 257).astype(np.uint16)", 64),
    "real": (400, 500, "(np.clip(wave, 0, 255) / 255).astype(np.float32)", 128),
    "with alpha": (400, 500, f"np.dstack([{RGB}, np.full((400, 500), 90, np.uint8)])", 64),
    "two pixels per unit": (1250, 1300, RGB, 64),
}


def in_fresh_process(code, cache, *arguments):
    """Run Python code with a cache folder; what it printed, as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | {"NUMBA_CACHE_DIR": str(cache)},
        stdout=subprocess.PIPE,
        check=True,
        timeout=600,
    )
    return json.loads(done.stdout)


def called_by(line):
    """The names that the kernel of a line of the table uses, other kernels among them."""
    return signatures.find(line.split()[1]).py_func.__code__.co_names


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """A cache folder that `fastmark warmup` has filled, and what it printed."""
    cache = tmp_path_factory.mktemp("kernels")
    return cache, run("warmup", "--json", env={"NUMBA_CACHE_DIR": str(cache)}, timeout=900)


def test_warmup_says_what_it_compiled_and_where(warm):
    cache, done = warm
    assert (done.returncode, done.stderr) == (0, b"")
    row = json.loads(done.stdout)
    assert row["folder"].startswith(str(cache))
    # a kernel that another one calls may have been compiled with that one, and is then found
    kernels = {line.split()[1].partition(".")[2] for line in signatures.lines()}
    called = kernels & {name for kernel in signatures.lines() for name in called_by(kernel)}
    assert row["compiled"] + row["found"] == len(signatures.lines())
    assert row["found"] <= sum(line.split()[1].partition(".")[2] in called for line in signatures.lines())


@pytest.mark.parametrize("kind", KINDS)
def test_a_process_compiles_nothing_after_a_warmup(warm, kind):
    height, width, image, bits = KINDS[kind]
    code = WORK.format(height=height, width=width, image=image, bits=bits)
    messages, compiled = in_fresh_process(code, warm[0])
    assert messages[0] == 77
    assert compiled == []


def test_a_second_warmup_finds_everything(warm):
    done = run("warmup", env={"NUMBA_CACHE_DIR": str(warm[0])})
    assert done.returncode == 0
    assert re.match(rb"nothing to do: all \d+ kernels are in ", done.stdout)


@pytest.fixture
def nearly_warm(warm, tmp_path):
    """A copy of that folder from which one kernel has been taken."""
    cache = tmp_path / "cache"
    shutil.copytree(warm[0], cache)
    (index,) = cache.rglob("bessel.log_i0_sum*.nbi")
    index.unlink()
    return cache


def test_a_kernel_that_is_missing_is_compiled_once(nearly_warm):
    cache = nearly_warm
    code = WORK.format(height=512, width=512, image=RGB, bits=64)
    _messages, compiled = in_fresh_process(code, cache)
    assert compiled == ["0.0 bessel.log_i0_sum f8[1C] f8"]
    assert in_fresh_process(code, cache)[1] == []


@pytest.mark.parametrize("quiet", [False, True])
def test_the_command_line_tells_of_compilations_once_and_on_stderr_alone(nearly_warm, tmp_path, quiet):
    cache, key, image = nearly_warm, tmp_path / "our.key", tmp_path / "a.png"
    draw = f"""
import numpy as np
from PIL import Image
import fastmark
y, x = np.mgrid[0:512, 0:512]
wave = 128 + 50 * np.sin(x / 31 + 2 * np.cos(y / 47)) + np.random.default_rng(1).normal(0, 6, (512, 512))
Image.fromarray(np.clip(wave, 0, 255).astype(np.uint8)).save({str(image)!r})
fastmark.Key(bytes(range(32))).save({str(key)!r})
print(0)
"""
    in_fresh_process(draw, cache)
    command = [
        "embed",
        image,
        "-o",
        tmp_path / "b.png",
        "--key",
        key,
        "--message",
        "0123456789abcdef",
        "--json",
        "--force",
    ]
    env = {"NUMBA_CACHE_DIR": str(cache)}
    first = run(*command, *(["--quiet"] if quiet else []), env=env)
    assert first.returncode == 0
    assert json.loads(first.stdout)["state"] == "marked"
    lines = first.stderr.decode().splitlines()
    if quiet:
        assert lines == []
    else:
        assert re.match(
            "fastmark: compiling kernels for this machine, which happens once; .* kept in ", lines[0]
        )
        assert re.match(r"fastmark: compiled \d+ kernels? in \d+ s", lines[-1])
    assert run(*command, env=env).stderr == b""


def test_a_warmup_that_cannot_be_kept_is_refused(tmp_path):
    assert_refused(run("warmup", env={"FASTMARK_CACHE": "0"}), "unset FASTMARK_CACHE")
    (tmp_path / "file").write_text("no folder")
    below = tmp_path / "file" / "cache"
    assert_refused(run("warmup", env={"NUMBA_CACHE_DIR": str(below)}), "NUMBA_CACHE_DIR", "cannot be kept")


# ---- the table ----------------------------------------------------------------------------------------


def test_every_line_of_the_table_is_of_a_kernel_and_reads_back():
    lines = signatures.lines()
    assert len({line.partition(" ")[2] for line in lines}) == len(lines)
    for line in lines:
        kernel, arguments = signatures.read(line)
        assert signatures.spell(float(line.split()[0]), kernel, arguments) == line
        code = signatures.find(kernel).py_func.__code__
        assert code.co_argcount == len(arguments)


def test_lines_of_no_kernel_are_told_apart():
    assert warming.compile_line("1.0 dct.no_such_kernel f4[2C]") == warming.UNFIT
    assert warming.compile_line("1.0 none.dct8 f4[2C]") == warming.UNFIT
    assert warming.compile_line("1.0 bessel.log_i0_sum f8[2C] u1[1C] f4") == warming.UNFIT


# ---- processes that start at the same time ------------------------------------------------------------

ONE_KERNEL = """
import json, sys
from fastmark.kernels._compiling import compilations
from fastmark.warming import compile_line
sys.stdin.readline()
print(json.dumps(compile_line(sys.argv[1])))
"""


def test_of_processes_that_need_a_kernel_at_once_one_compiles_it(tmp_path):
    line = next(line for line in signatures.lines() if "jpeg.harden" in line)
    started = [
        subprocess.Popen(
            [sys.executable, "-c", ONE_KERNEL, line],
            env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(3)
    ]
    answers = [process.communicate(b"\n", timeout=300)[0] for process in started]
    assert sorted(map(json.loads, answers)) == ["compiled", "found", "found"]
    assert list(tmp_path.rglob(LOCK_FILE))


def test_a_process_that_dies_while_it_compiles_holds_up_nobody(tmp_path):
    code = """
import os
from fastmark.kernels import _cache, dct
from fastmark.warming import compile_line
dct.idct8._cache.load_overload(tuple(), dct.idct8.targetctx)  # as a compilation begins: takes the lock
print(os.getpid(), flush=True)
input()
"""
    env = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    holder = subprocess.Popen(
        [sys.executable, "-c", code], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    holder.stdout.readline()
    other = subprocess.Popen(
        [sys.executable, "-c", ONE_KERNEL, "0.5 dct.idct8 f4[2C] f4[2C]"],
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    other.stdin.write(b"\n")
    other.stdin.flush()
    with pytest.raises(subprocess.TimeoutExpired):
        other.wait(timeout=5)
    holder.kill()
    holder.communicate()
    assert json.loads(other.communicate(timeout=50)[0]) == "compiled"


def test_compilations_are_those_of_this_process_and_none_of_other_packages():
    import numba

    before = len(_compiling.compilations())

    @numba.njit
    def foreign(x):
        return x + 1

    assert foreign(1) == 2
    assert len(_compiling.compilations()) == before
