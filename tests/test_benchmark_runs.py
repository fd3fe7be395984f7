"""Long runs of the benchmarks: what was done is not done again, and is not mixed with other runs."""

import json
import subprocess
import sys

import pytest
from scripts import BENCHMARKS

PROGRAM = """
import sys
sys.path.insert(0, {benchmarks!r})
from pathlib import Path
from _resuming import resumed

def square(n, log):
    with Path(log).open("a") as file:
        file.write(f"{{n}} ")
    if n == {stop}:
        raise RuntimeError("killed")
    return [dict(n=n, square=n * n)]

if __name__ == "__main__":
    jobs = [(n, {log!r}) for n in range(5)]
    print(resumed(square, jobs, 1, Path({journal!r}), dict(power={power})))
"""


@pytest.fixture
def run(tmp_path):
    """A function that runs the program in a process of its own."""

    def runs(stop=None, power=2):
        program = tmp_path / "program.py"
        values = {"benchmarks": str(BENCHMARKS), "log": str(tmp_path / "log"), "stop": stop, "power": power}
        program.write_text(PROGRAM.format(journal=str(tmp_path / "run.jsonl"), **values))
        return subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=120)

    return runs


def test_a_run_goes_on_where_it_stopped(run, tmp_path):
    assert run(stop=3).returncode != 0
    with (tmp_path / "run.jsonl").open("a") as journal:
        journal.write('{"job": 4, "ro')  # as a process that is killed leaves it
    tried = (tmp_path / "log").read_text().split()
    assert tried[:4] == ["0", "1", "2", "3"]
    result = run()
    assert result.stdout.strip() == str([[{"n": n, "square": n * n}] for n in range(5)])
    assert (tmp_path / "log").read_text().split()[len(tried) :] == ["3", "4"]
    lines = (tmp_path / "run.jsonl").read_text().splitlines()
    assert [json.loads(line).get("job") for line in lines] == [None, 0, 1, 2, 3, 4]


def test_a_journal_of_something_else_is_refused(run):
    assert run().returncode == 0
    result = run(power=3)
    assert result.returncode != 0
    assert "name another file, or delete it" in result.stderr
