"""The README does what it says: every block is run as typed, and what it names and shows is there.

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
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image
from scripts import benchmark

import fastmark
from fastmark.checking.verdicts import Verdict

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)

SET_UP, PUBLIC, REPORT, IDS, SIGNED, SERVED, SINGLE, ARCHIVE, RAY, TEST = [
    text for language, text in BLOCKS if language == "bash"
]
PYTHON, PYTHON_ON_RAY = [text for language, text in BLOCKS if language == "python"]
CONSOLE, CHECK = [text for language, text in BLOCKS if language == "console"]
PRINTED, LAYOUT = [text for language, text in BLOCKS if language == "text"]
EXIT_CODE = re.compile(r"# exit code (\d+)")
PACKAGES = {path.parent.name for path in (ROOT / "fastmark").glob("*/__init__.py")}


@pytest.fixture(scope="module")
def hero():
    return benchmark("hero")


@pytest.fixture(scope="module")
def photo(hero, tmp_path_factory):
    """The image of the examples, as the set-up command draws it."""
    path = tmp_path_factory.mktemp("drawn") / "photo.jpg"
    Image.fromarray(hero.draw_scene(*hero.PHOTO)).save(path, quality=95)
    return path


@pytest.fixture
def folder(tmp_path, photo):
    """A folder with the image that the examples name, and the command ``fastmark``."""
    (tmp_path / "photo.jpg").write_bytes(photo.read_bytes())
    script(tmp_path / "programs" / "fastmark", f'exec "{sys.executable}" -m fastmark "$@"')
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


def masked(text):
    """Leave out what differs from key to key: ids, measured numbers, exponents of p-values."""
    text = re.sub(r"\bkey [0-9a-f]{16}\b", "key ID", text)
    text = re.sub(r"PSNR [\d.]+ dB, strength [\d.]+, \d+ tones", "PSNR, strength, tones", text)
    return re.sub(r"p <= 1e-\d{2}\b", "p <= 1e-N", text)


def test_every_block_is_of_a_language_that_is_run_here():
    assert {language for language, _ in BLOCKS} == {"bash", "console", "dockerfile", "python", "text"}
    assert README.count("```") == 2 * len(BLOCKS)
    assert BLOCKS[0] == ("bash", SET_UP)
    assert TEST.strip() == ".ci/run"


def test_the_set_up_command_marks_an_image_and_reads_the_message_back(tmp_path):
    calls = tmp_path / "calls"
    (tmp_path / "benchmarks").symlink_to(ROOT / "benchmarks")
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


def test_the_first_commands_print_what_is_shown(folder):
    blocks = re.split(r"^\$ ", CONSOLE, flags=re.MULTILINE)[1:]
    assert len(blocks) == 3
    for block in blocks:
        command, shown = block.split("\n", 1)
        done = bash(command, folder, folder / "programs")
        assert done.returncode == 0, done.stderr
        assert masked(done.stdout + done.stderr) == masked(shown)


def test_what_others_check_with_prints_what_is_shown(folder):
    blocks = re.split(r"^\$ ", CONSOLE + CHECK, flags=re.MULTILINE)[1:]
    assert len(blocks) == 3 + 2
    for block in blocks:
        command, shown = block.split("\n", 1)
        done = bash(command, folder, folder / "programs")
        assert done.returncode == 0, done.stderr
        if block in CHECK:
            assert masked(done.stdout + done.stderr) == masked(shown)
    embed = "fastmark embed photo.jpg -o other.jpg --key check.key --message 0x7"
    assert bash(embed, folder, folder / "programs").returncode == 2


def test_the_python_example_prints_what_is_shown(folder, monkeypatch):
    assert len([line for line in PYTHON.splitlines() if line]) <= 6
    fastmark.Key.generate().save(folder / "my.key")
    monkeypatch.chdir(folder)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(PYTHON, "README.md", "exec"), {})
    assert masked(printed.getvalue()) == masked(PRINTED)


def test_every_command_ends_with_the_exit_code_that_its_comment_names(folder):
    assert bash("fastmark keygen -o my.key", folder, folder / "programs").returncode == 0
    printed = {line: out.splitlines() for line, out in run_lines(SINGLE, folder).items()}
    assert {int(code) for code in EXIT_CODE.findall(SINGLE)} == {0, 1, 2}
    ((first, second),) = (output for line, output in printed.items() if "--json" in line)
    assert [json.loads(row)["state"] for row in (first, second)] == ["detected", "absent"]
    assert json.loads(first)["message"] == "000000000000beef"


@pytest.fixture
def worked_in(folder):
    """The folder as the commands for single images leave it."""
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


def test_the_commands_of_a_photographer_and_of_two_watermarks(folder):
    pytest.importorskip("c2pa")
    printed = run_lines(PUBLIC, folder)
    labelled, both = (out for line, out in printed.items() if line.startswith("fastmark detect"))
    assert "it says that no model may be trained on the image, and the image was captured" in labelled
    assert (
        "xmp says: XMP says: the image was taken by a camera; training models on it is forbidden" in labelled
    )
    assert "c2pa valid" in labelled and "generated" not in labelled
    assert "message 0123456789abcdef" in both and "the image was generated by AI" in both
    (row,) = csv.DictReader(io.StringIO((folder / "labelled.csv").read_text()))
    assert row["public_says"] == "do-not-train,captured"


def test_the_table_of_lines_names_what_there_is():
    table = README.partition("## Where your images are made")[2].partition("\n## ")[0]
    lines = re.findall(r"^\| .* \| (`.*) \|$", table, re.MULTILINE)
    assert len(lines) == 13
    for name in set(re.findall(r"fastmark\.integrations\.(\w+)", table)):
        assert (ROOT / "fastmark" / "integrations" / f"{name}.py").exists(), name
    page = (ROOT / "fastmark" / "INTEGRATIONS.md").read_text(encoding="utf-8")
    for name in (
        "attach(",
        "FastmarkMiddleware",
        "fastmark proxy",
        "Keep(",
        "kept(",
        "register(",
        "--serve-stdio",
    ):
        assert name in table and name in page, name


def test_the_commands_for_ids_and_signed_metadata(folder):
    """In the folder of the first commands; every verdict is that of an image that was just delivered."""
    for name in ("sqlalchemy", "imagehash", "c2pa"):
        pytest.importorskip(name)
    assert bash("fastmark keygen -o my.key", folder, folder / "programs").returncode == 0
    printed = run_lines(IDS + SIGNED, folder)
    checked = [out for line, out in printed.items() if line.startswith("fastmark check")]
    assert len(checked) == 2
    for out in checked:
        assert ": genuine and unchanged. " in out
        assert "registered by Example Studio" in out
    assert "c2pa: trusted." in checked[1]
    (row,) = map(json.loads, (folder / "ids.jsonl").read_text().splitlines())
    assert (row["provider"], row["system"]) == ("Example Studio", "Painter")


def test_the_command_for_a_report(folder):
    assert bash("fastmark keygen -o my.key", folder, folder / "programs").returncode == 0
    ((_, printed),) = run_lines(REPORT, folder).items()
    assert re.search(r"^unmarked +0 of 100 trials detected", printed, re.MULTILINE)
    assert (folder / "report.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    values = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert [one["name"] for one in values["images"]] == ["photo.jpg"]
    assert [one["measure"] for one in values["measures"]] == ["1.1", "3.2", "3.3", "4.2"]


def test_the_service_answers_signs_and_ends(folder):
    for name in ("fastapi", "uvicorn", "jwt", "sqlalchemy", "imagehash"):
        pytest.importorskip(name)
    if shutil.which("curl") is None:
        pytest.skip("the commands need curl")
    prepare = "fastmark keygen -o my.key"
    detector_key = next(line[2:] for line in CHECK.splitlines() if line.startswith("$ fastmark keygen"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    done = bash(
        "set -e\n" + "\n".join((prepare, IDS, detector_key, SERVED.replace("8765", port))),
        folder,
        folder / "programs",
    )
    assert done.returncode == 0, done.stderr
    assert '{"status":"ready"}' in done.stdout
    answer = json.loads((folder / "answer.json").read_text())
    assert answer["verdict"] == "genuine and unchanged"
    assert answer["detection"]["log10_p"] < -9
    assert "Example Studio" in done.stdout
    assert "genuine and unchanged" in done.stdout.rpartition("ready")[2]


def test_every_verdict_is_explained():
    rows = re.findall(r"^\| ([\w ,]+) \| [A-Z]", README, re.MULTILINE)
    assert [row for row in rows if row in get_args(Verdict)] == list(get_args(Verdict))


def test_the_commands_for_an_archive(worked_in):
    printed = run_lines(ARCHIVE, worked_in)
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
    run_lines(ARCHIVE, worked_in)
    run_lines(RAY, worked_in)
    with (worked_in / "rows.csv").open() as one, (worked_in / "rows-of-ray.csv").open() as other:
        assert len(one.readlines()) == len(other.readlines()) == 4
    # in a process of its own, as a script: Ray is not to stay here
    done = bash(f"'{sys.executable}' - <<'END'\n{PYTHON_ON_RAY}\nEND", worked_in, worked_in / "programs")
    assert done.returncode == 0, done.stderr
    import pyarrow.parquet as pq

    table = pq.read_table(worked_in / "rows").to_pylist()
    assert sorted(row["state"] for row in table) == ["absent", "detected", "error"]


# ---- what is where -----------------------------------------------------------------------------------


def test_the_layout_names_every_package_and_nothing_else():
    first, *others = (line.split()[0] for line in LAYOUT.splitlines())
    assert first == "fastmark/"
    assert sorted(others) == sorted(f"fastmark/{package}/" for package in PACKAGES)


def test_the_architecture_names_every_package_and_only_modules_that_exist():
    page = (ROOT / "fastmark" / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)/` ", page, re.MULTILINE)
    assert set(rows) == PACKAGES
    places = [ROOT / "fastmark", ROOT / "benchmarks", ROOT]
    for name in re.findall(r"`([\w/]+\.py|(?:tests|benchmarks)/[\w/]+)`", page):
        assert any((place / name).exists() for place in places), name


@pytest.mark.parametrize("page", ["README.md", "benchmarks/README.md", "fastmark/ARCHITECTURE.md"])
def test_every_file_that_is_linked_or_named_exists(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert ((ROOT / page).parent / target).exists(), target
    for script_name in re.findall(r"benchmarks/\w+\.py", text):
        assert (ROOT / script_name).exists(), script_name


def test_every_script_is_in_the_table_of_benchmarks():
    text = (ROOT / "benchmarks/README.md").read_text(encoding="utf-8")
    for path in (ROOT / "benchmarks").glob("[!_]*.py"):
        assert f"| `{path.name}` |" in text, path.name


# ---- the picture -------------------------------------------------------------------------------------


def test_the_picture_is_what_its_script_draws(hero):
    with Image.open(ROOT / "benchmarks/results/hero.png") as image:
        shown = np.asarray(image).astype(int)
    _, width = hero.PANEL
    original, marked, difference = (
        shown[:, left : left + width] for left in (0, width + hero.GAP, 2 * (width + hero.GAP))
    )
    # NOTE: sines and the like may differ in their last bit from machine to machine
    assert abs(original - hero.draw_scene(*hero.PANEL)).max() <= 2
    assert np.array_equal(difference, np.clip(128 + hero.GAIN * (marked - original), 0, 255))
    marker = fastmark.Watermarker(fastmark.Key(hero.SECRET))
    assert marker.detect(marked.astype(np.uint8)).message_hex == hero.MESSAGE
    assert not marker.detect(original.astype(np.uint8))


def test_the_picture_is_small(hero):
    assert (ROOT / "benchmarks/results/hero.png").stat().st_size < 400_000
