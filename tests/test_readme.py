"""The README does what it says: every block is run as typed, and its tables are those of the results.

Nothing is downloaded. The set-up command runs whole, but its first two steps meet stand-ins: a ``python3``
and a ``pip`` that only write down how they were called, and a ``.venv/bin`` whose ``python`` and
``fastmark`` are this interpreter and this checkout. So all that follows the installation is real, and the
installation is checked to be asked for.
"""

import contextlib
import csv
import io
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from pictures import drawn
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)

SET_UP, *COMMANDS = [text for language, text in BLOCKS if language == "bash"]
PYTHON = [text for language, text in BLOCKS if language == "python"]
EXIT_CODE = re.compile(r"# exit code (\d+)")


@pytest.fixture
def folder(tmp_path):
    """An empty folder with the picture that the examples name."""
    Image.fromarray(drawn(400, 520)).save(tmp_path / "photo.jpg", quality=95)
    return tmp_path


def script(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)


def bash(text, cwd, programs):
    """Run a block in a folder, ``programs`` being the first place where commands are looked for."""
    environment = os.environ | {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "TMPDIR": str(cwd),
        "RAY_TMPDIR": tempfile.gettempdir(),  # names of sockets have room for short paths only
    }
    return subprocess.run(
        ["bash", "-c", text], cwd=cwd, env=environment, capture_output=True, text=True, timeout=600
    )


def test_every_block_is_of_a_language_that_is_run_here():
    assert {language for language, _ in BLOCKS} == {"bash", "python", "text"}
    assert README.count("```") == 2 * len(BLOCKS)
    assert COMMANDS[0].strip() == ".ci/run"
    assert len(COMMANDS) == 4


def test_the_set_up_command_marks_a_picture_and_reads_the_message_back(tmp_path):
    calls = tmp_path / "calls"
    script(tmp_path / "programs" / "python3", f'echo "python3 $*" >> "{calls}"')
    script(tmp_path / ".venv/bin/pip", f'echo "pip $*" >> "{calls}"')
    script(tmp_path / ".venv/bin/python", f'exec "{sys.executable}" "$@"')
    script(tmp_path / ".venv/bin/fastmark", f'exec "{sys.executable}" -m fastmark "$@"')
    done = bash(SET_UP, tmp_path, tmp_path / "programs")
    assert done.returncode == 0, done.stderr
    assert "detected" in done.stdout.splitlines()[-1]
    assert "message 0123456789abcdef" in done.stdout.splitlines()[-1]
    assert calls.read_text().splitlines() == ["python3 -m venv .venv", "pip install -q ."]


def test_the_test_command_is_there_and_is_a_script():
    path = ROOT / ".ci" / "run"
    assert os.access(path, os.X_OK)
    subprocess.run(["bash", "-n", path], check=True)


def test_every_command_ends_with_the_exit_code_that_its_comment_names(folder):
    script(folder / "programs" / "fastmark", f'exec "{sys.executable}" -m fastmark "$@"')
    printed = {line: out.splitlines() for line, out in run_lines(COMMANDS[1], folder).items()}
    assert {int(code) for code in EXIT_CODE.findall(COMMANDS[1])} == {0, 1, 2}
    (both,) = (output for line, output in printed.items() if "--json" in line)
    assert [
        f'"state": "{state}"' in row for row, state in zip(both, ("detected", "absent"), strict=True)
    ] == [
        True,
        True,
    ]
    assert '"message": "000000000000beef"' in both[0]


@pytest.fixture
def worked_in(folder):
    """The folder as the commands for single pictures leave it."""
    script(folder / "programs" / "fastmark", f'exec "{sys.executable}" -m fastmark "$@"')
    for key in ("my.key", "other.key"):
        bash(f"fastmark keygen -o {key}", folder, folder / "programs")
    marking = "fastmark embed photo.jpg -o marked.png --key my.key --message 0xbeef"
    assert bash(marking, folder, folder / "programs").returncode == 0
    return folder


def run_lines(block, folder):
    """Every line ends with the exit code that its comment names; what each printed."""
    printed = {}
    for line in block.strip().splitlines():
        done = bash(line, folder, folder / "programs")
        named = EXIT_CODE.search(line)
        assert done.returncode == (int(named[1]) if named else 0), (line, done.stderr)
        printed[line.partition("#")[0].strip()] = done.stdout
    return printed


def test_the_commands_for_an_archive(worked_in):
    printed = run_lines(COMMANDS[2], worked_in)
    assert '"state": "detected"' in next(out for line, out in printed.items() if line.startswith("tar"))
    with (worked_in / "rows.csv").open(newline="") as file:
        states = {Path(row["source"]).name: row["state"] for row in csv.DictReader(file)}
    assert states == {"photo.jpg": "absent", "marked.png": "detected", "broken.jpg": "error"}
    assert [json.loads(line)["source"] for line in (worked_in / "hits.jsonl").read_text().splitlines()] == [
        "archive/marked.png"
    ]
    (row,) = map(json.loads, (worked_in / "released" / "manifest.jsonl").read_text().splitlines())
    assert (row["output"], row["state"]) == ("photo.jpg", "marked")


def test_the_commands_for_ray(worked_in, monkeypatch):
    pytest.importorskip("ray.data")
    run_lines(COMMANDS[2], worked_in)
    run_lines(COMMANDS[3], worked_in)
    with (worked_in / "rows.csv").open() as one, (worked_in / "rows-of-ray.csv").open() as other:
        assert len(one.readlines()) == len(other.readlines()) == 4
    # in a process of its own, as a script: Ray is not to stay here
    done = bash(f"'{sys.executable}' - <<'END'\n{PYTHON[1]}\nEND", worked_in, worked_in / "programs")
    assert done.returncode == 0, done.stderr
    import pyarrow.parquet as pq

    table = pq.read_table(worked_in / "rows").to_pylist()
    assert sorted(row["state"] for row in table) == ["absent", "detected", "error"]


@pytest.mark.parametrize("code", PYTHON[:1])
def test_the_python_example_finds_its_message(code, folder, monkeypatch):
    assert len([line for line in code.splitlines() if line]) == 6
    monkeypatch.chdir(folder)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "README.md", "exec"), {})
    message, log10_p, margin = printed.getvalue().split()
    assert (message, float(log10_p) < -9, float(margin) > 1) == ("0123456789abcdef", True, True)


def test_the_layout_names_every_module_and_nothing_else():
    (layout,) = (text for language, text in BLOCKS if language == "text")
    named = re.findall(r"(?:fastmark/(\w+)/)?(\w+\.py)\b", "\n".join(whole_paths(layout)))
    parts = ("", "bulk", "cli")
    modules = {(part, path.name) for part in parts for path in (ROOT / "fastmark" / part).glob("[a-z]*.py")}
    assert set(named) == modules
    assert len(named) == len(modules)
    assert len(layout.splitlines()) <= 20


def whole_paths(layout):
    """The layout's lines with every file named by its path, as the first of a line is."""
    for line in layout.splitlines():
        folder = line.partition(" ")[0].rpartition("/")[0]
        first, *others = re.split(r"\b(?=\w+\.py\b)", line)
        yield first + others[0]
        yield from (f"{folder}/{other}" for other in others[1:])


def test_every_file_that_is_linked_or_named_exists():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
    for script_name in re.findall(r"benchmarks/\w+\.py", README):
        assert (ROOT / script_name).exists(), script_name


# ---- the measured tables ---------------------------------------------------------------------------

GROUPS = """\
# robustness: fastmark 9.9.9, pictures 2
# some processor
group,n,message %,message target,presence %,presence target,wrong,result
none,8,100.0,99.5,100.0,99.9,0,pass
jpeg-10,8,62.5,60.0,99.99,95.0,0,pass
unheard-of,3,0.0,,33.33333,,1,-
"""
QUALITY = """\
# quality: fastmark 9.9.9
picture,size,psnr_db,ssim,ssimulacra2,scored,warnings,error
a/1.png,8x8,45.04,0.99125,88.0,whole,,
a/2.png,8x8,43.0,0.98875,86.5,whole,,
a/3.png,1x1,,,,,,ImageTooSmallError: no
"""


@pytest.fixture(scope="module")
def readme_table():
    """The module, imported as a script beside it would."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import readme_table
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))
    return readme_table


def test_the_tables_are_those_of_the_results(readme_table):
    _, inside, _ = readme_table.between_marks(README)
    measured = readme_table.tables(readme_table.RESULTS)
    if measured:
        assert inside == measured, "run python benchmarks/readme_table.py --write"
    else:
        assert "To be filled" in inside


def test_tables_are_made_of_what_the_results_say(readme_table, tmp_path):
    (tmp_path / "robustness-groups.csv").write_text(GROUPS)
    (tmp_path / "quality.csv").write_text(QUALITY)
    assert readme_table.tables(tmp_path).splitlines() == [
        "| what happened to the picture | trials | message read | mark detected | wrong message |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| untouched | 8 | 100 % | 100 % | 0 |",
        "| JPEG quality 10 | 8 | 62.5 % | 99.9 % | 0 |",
        "| unheard-of | 3 | 0 % | 33.3 % | 1 |",
        "",
        "Measured with `robustness: fastmark 9.9.9, pictures 2`.",
        "",
        "| difference from the original | mean | worst |",
        "| --- | ---: | ---: |",
        "| PSNR, dB | 44.0 | 43.0 |",
        "| SSIM | 0.9900 | 0.9888 |",
        "| SSIMULACRA2 | 87.2 | 86.5 |",
        "",
        "2 pictures marked, 1 refused. Measured with `quality: fastmark 9.9.9`.",
    ]


def test_without_results_there_are_no_tables(readme_table, tmp_path):
    assert readme_table.tables(tmp_path) == ""


def test_every_group_of_attacks_has_a_name_for_readers(readme_table):
    pytest.importorskip("skimage", reason="the denoisers among the attacks are scikit-image's")
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import attacks
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))
    assert set(readme_table.LABELS) == set(attacks.TARGETS)


def test_writing_puts_the_tables_between_the_marks_and_changes_nothing_else(
    readme_table, tmp_path, monkeypatch
):
    (tmp_path / "robustness-groups.csv").write_text(GROUPS)
    copy = tmp_path / "README.md"
    copy.write_text(README, encoding="utf-8")
    monkeypatch.setattr(readme_table, "README", copy)
    monkeypatch.setattr(readme_table, "RESULTS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["readme_table.py", "--write"])
    readme_table.main()
    before, inside, after = readme_table.between_marks(copy.read_text(encoding="utf-8"))
    assert inside == readme_table.tables(tmp_path)
    assert (before, after) == readme_table.between_marks(README)[::2]


# ---- the speed comparison --------------------------------------------------------------------------

SPEED = """\
# compare: fastmark 9.9.9, message_bits 64
# some processor
# Python 9
tool,picture,size,mark_ms_per_mp,detect_marked_ms_per_mp,detect_unmarked_ms_per_mp,message_read,error
fastmark,a,1024x1024,10.0,4.0,200.0,1,
fastmark,b,1024x1024,20.0,6.0,400.0,0,
fastmark,a,512x512,99.0,99.0,99.0,1,
JPEG quality 90 (Pillow),a,1024x1024,2.0,,4.0,,
np.copyto,a,1024x1024,0.05,,,,
other,,,,,,,ImportError: no
"""


def test_the_speed_comparison_is_that_of_the_results(readme_table):
    _, inside, _ = readme_table.between_marks(README, readme_table.SPEED_BEGIN, readme_table.SPEED_END)
    assert inside == readme_table.speed(readme_table.RESULTS), "run python benchmarks/readme_table.py --write"


SCAN = """\
# bulk: fastmark 9.9.9, pictures 9
# some processor
what,pictures a second,seconds,peak MB,rows,doubled or lost,marked,found,missed,wrong,false
"detect alone, 1 processes",20.6,,,,,,,,,
"local, 2 workers",41.234,1,512.3,9,0,3,2,1,0,0
2 workers over 1,1.9,,,,,,,,,
"""


def test_the_archive_scan_is_that_of_the_results(readme_table, tmp_path):
    _, inside, _ = readme_table.between_marks(README, readme_table.SCAN_BEGIN, readme_table.SCAN_END)
    assert inside == readme_table.scan(readme_table.RESULTS), "run python benchmarks/readme_table.py --write"
    assert readme_table.scan(tmp_path) == ""
    (tmp_path / "bulk.csv").write_text(SCAN)
    _, _, *rows, _, words = readme_table.scan(tmp_path).splitlines()
    assert rows == [
        "| local, 2 workers | 41 | 512 | 3 | 2 | 0 | 0 |",
        "| detect alone, 1 processes | 21 |  |  |  |  |  |",
    ]
    assert words.endswith("Measured with `bulk: fastmark 9.9.9, pictures 9` on `some processor`.")


def test_the_chart_shows_the_numbers_of_the_speed_comparison(readme_table):
    _, rows = readme_table.read_commented(readme_table.RESULTS / "compare.csv")
    chart = (readme_table.RESULTS / "compare.svg").read_text(encoding="utf-8")
    for line in readme_table.speed_summary(rows, readme_table.SPEED_SIZE):
        for name in readme_table.SPEED_MEASURES:
            if line[name]:
                assert re.search(rf">{re.escape(readme_table.brief(line[name]))}( \w+)?</text>", chart), line


def test_the_speed_comparison_is_made_of_what_the_results_say(readme_table, tmp_path):
    assert readme_table.speed(tmp_path) == ""
    (tmp_path / "compare.csv").write_text(SPEED)
    picture, _, _, _, *rows, _, words = readme_table.speed(tmp_path).splitlines()
    assert picture.endswith("(benchmarks/results/compare.svg)")
    assert rows == [
        "| fastmark | 15 | 5.0 | 300 | 7.5 | 75 | 1 of 2 |",
        "| JPEG quality 90 (Pillow) | 2.0 (encoding) |  | 4.0 (decoding) | 1.0 | 1.0 |  |",
        "| np.copyto | 0.050 |  |  | 0.025 |  |  |",
        "| other (failed: ImportError: no) |  |  |  |  |  |  |",
    ]
    assert words.endswith("Measured with `compare: fastmark 9.9.9, message_bits 64` on `some processor`.")
