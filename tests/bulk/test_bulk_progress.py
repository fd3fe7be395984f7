"""Progress and summaries: numbers that add up, and silence where it is asked for."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import time

import pytest
from archives import jpeg, tar_of, write

from fastmark.bulk import progress
from fastmark.bulk.progress import Expected, Meter, Summary
from fastmark.bulk.sources import named
from fastmark.bulk.walk import Walk


def test_a_summary_adds_up():
    counts = {"detected": 2, "absent": 1_234_566, "error": 1}
    summary = Summary(counts, resumed=1_000_000, others=7, seconds=100.0, output="rows.csv")
    assert (summary.images, summary.errors) == (1_234_569, 1)
    assert [line.split() for line in summary.table(("detected", "possible", "absent")).splitlines()] == [
        ["images", "1,234,569", "1000000", "of", "them", "by", "earlier", "runs"],
        ["detected", "2"],
        ["possible", "0"],
        ["absent", "1,234,566"],
        ["error", "1"],
        ["other", "files", "7", "not", "images,", "passed", "over"],
        ["seconds", "100.0", "2345.7", "images", "per", "second"],
    ]
    assert summary.to_dict()["images"] == summary.to_dict()["pictures"] == 1_234_569
    with pytest.warns(DeprecationWarning, match="images"):
        assert summary.pictures == 1_234_569  # its name before
    assert "per second" not in Summary().table(())


def expected_of(sources, walk=None):
    expected = Expected()
    expected.count(named(sources), walk or Walk())
    for _ in range(500):
        if expected._known:
            break
        time.sleep(0.01)
    return expected


def test_what_is_to_be_expected_is_counted_beforehand(tmp_path):
    for i in range(5):
        write(tmp_path / f"{i}.jpg", jpeg())
    write(tmp_path / "notes.txt", b"")
    assert expected_of([tmp_path]).images(0.0) == 5
    tar = tar_of(tmp_path / "s.tar", [(f"{i}.jpg", bytes(1000)) for i in range(20)])
    expected = expected_of([tmp_path])
    assert expected.images(0.0) is None  # before any picture's size is known
    assert expected.images(1000.0) == 5 + round(tar.stat().st_size / 1000)
    assert Expected().images(1.0) is None
    stdin = Expected()
    stdin.count(named("-"), Walk())
    assert stdin.images(1.0) is None


def test_a_line_tells_rate_and_time_left():
    meter = Meter(("detected",), shown=False)
    assert not meter.active
    meter.passed(100)
    for _ in range(50):
        meter.worked("absent", 1000)
    now = meter._start + 10
    assert meter.line(now, None) == "150 images, 5.0 per second"
    assert meter.line(now, 18_150) == "150 of 18150 images, 5.0 per second, 1:00:00 left"
    assert meter.line(now, 10).startswith("150 of 150 images")


def test_the_plain_line_is_written_where_tqdm_is_missing(monkeypatch, capsys):
    monkeypatch.setattr(progress.importlib.util, "find_spec", lambda name: None)
    meter = Meter(("detected",), shown=True)
    meter.worked("detected", 10)
    meter.worked("error", 10)
    meter._shown = 0.0
    meter.show()
    meter.show()  # not so soon again
    meter.close()
    lines = capsys.readouterr().err.split("\r")[1:]
    assert len(lines) == 2
    assert all("2 images" in line and "1 detected, 1 error" in line for line in lines)
    assert lines[-1].endswith("\n")


@pytest.mark.parametrize(("options", "shown"), [((), True), (("--quiet",), False)])
def test_a_terminal_sees_progress_unless_it_is_to_be_quiet(archives, tmp_path, options, shown):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 120, 0, 0))
    command = [sys.executable, "-m", "fastmark", "scan", archives.archive / "sub", "--key", archives.key]
    command += ["-o", tmp_path / "rows.csv", *options]
    done = subprocess.run(
        [str(part) for part in command], stdout=subprocess.PIPE, stderr=theirs, timeout=120, check=False
    )
    os.close(theirs)
    seen = b""
    with open(ours, "rb", buffering=0) as terminal:  # noqa: PTH123
        try:
            while part := terminal.read(4096):
                seen += part
        except OSError:  # how a terminal ends
            pass
    assert done.returncode == 0
    assert (b"images" in seen) == (b"images" in done.stdout) == shown
    if not shown:
        assert seen == done.stdout == b""
