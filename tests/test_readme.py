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
from scripts import BENCHMARKS, benchmark

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


# ---- the measured tables -----------------------------------------------------------------------------

GROUPS = """\
# robustness: fastmark 9.9.9, pictures 2
# some processor, 2 cores, 2 processes of 1 thread
group,n,message %,message target,presence %,presence target,wrong,result
none,8,100.0,99.5,100.0,99.9,0,pass
everyday,10,90.0,99.5,100.0,99.9,0,pass
jpeg-10,8,62.5,60.0,99.99,95.0,0,pass
crop-10,4,75.0,60.0,75.0,95.0,0,pass
crop-large-10,6,50.0,60.0,66.66667,95.0,0,pass
unheard-of,3,0.0,,33.33333,,1,-
"""
TOGETHER = """\
# robustness: fastmark 9.9.9, public True
# some processor, 2 cores, 2 processes of 1 thread
watermark,group,n,message %,presence %
own,everyday,40,97.94,98.5
public,everyday,40,95.0,96.1
"""
QUALITY = """\
# quality: fastmark 9.9.9
# some processor, 2 cores, 1 processes of 1 thread
picture,size,psnr_db,ssim,ssimulacra2,scored,warnings,error
a/1.png,8x8,45.04,0.99125,88.0,whole,,
a/2.png,8x8,43.0,0.98875,86.5,whole,,
a/3.png,1x1,,,,,,ImageTooSmallError: no
"""
SPEED = """\
# compare: fastmark 9.9.9, other 1.0, message_bits 64
# some processor, 2 cores, 1 processes of 1 thread
# Python 9
tool,picture,size,mark_ms_per_mp,detect_marked_ms_per_mp,detect_unmarked_ms_per_mp,message_read,error
fastmark,a,1024x1024,10.0,4.0,200.0,1,
fastmark,b,1024x1024,20.0,6.0,400.0,0,
fastmark,a,512x512,99.0,99.0,99.0,1,
JPEG quality 90 (Pillow),a,1024x1024,2.0,,4.0,,
np.copyto,a,1024x1024,0.05,,,,
other,,,,,,,ImportError: no
"""
SCAN = """\
# bulk: fastmark 9.9.9, pictures 9
# some processor, 2 cores, 2 processes of 1 thread
what,pictures a second,seconds,peak MB,rows,doubled or lost,marked,found,missed,wrong,false
"detect alone, 1 processes",20.6,,,,,,,,,
"local, 2 workers",41.234,1,512.3,9,0,3,2,1,0,0
2 workers over 1,1.9,,,,,,,,,
"""
NULL = """\
# null, kinds: fastmark 9.9.9, images 20
# some processor, 2 cores, 2 processes of 1 thread
# Python 9
# 7000 searches in 20 images, 0 detected, 1 possible, 0 messages, 0 errors, 0 FAULTS, 5 ms a search
table,kind,of,rung,excess at 0.01
kinds,flat,,,
kinds,scene,,,
bounds,,all,origin,7.25
"""
TRIALS = """\
# robustness: fastmark 9.9.9, pictures 2
height,width,group,state,message_ok
500,900,everyday,detected,1
600,700,everyday,detected,0
900,499,everyday,detected,0
200,200,everyday,absent,0
900,900,none,absent,0
"""
MANY = """\
# speed: fastmark 9.9.9, runs 2
# some processor, 2 cores, 1 processes of 1 thread
table,what,ms,reach,pictures,decode ms,mean ratio,median ratio,p99 ratio,not absent
whole,embed,1.0,,,,,,,
rejecting,reject 256x512,12.75,6,100,0.857,14.87,10.5,40.4,0
accepting,"accept 512x512, array",11.3,3,24,2.3,4.876,4.7,6.4,
further keys,each further key 512x512,6.8,1,24,2.6,2.58,2.2,6.1,
"""
LAYERS = """\
# delivery.py: fastmark 9.9.9, count 2
# some processor, 2 cores, 1 processes of 1 thread
format,megapixels,layer,median_ms
JPEG,0.26,watermark,9.0
JPEG,1.05,watermark,42.2
JPEG,1.05,+ XMP,0.238
JPEG,1.05,decoding as JPEG,8.0
PNG,1.05,watermark,74.9
PNG,1.05,+ XMP,0.25
"""
MEASURED = "Measured with fastmark 9.9.9 on some processor, 2 cores: "


@pytest.fixture(scope="module")
def readme_table():
    return benchmark("readme_table")


@pytest.fixture(scope="module")
def tables():
    return benchmark("_tables")


@pytest.fixture
def results(tmp_path):
    """A folder of made-up results, beside those of the project that are longer."""
    folder = tmp_path / "results"
    folder.mkdir()
    for name in ("null_parts", "others", "nets", "security", "power", "power-classes", "power-predicted"):
        shutil.copy(BENCHMARKS / "results" / f"{name}.csv", folder)
    for name, text in (
        ("robustness-groups", GROUPS),
        ("quality", QUALITY),
        ("compare", SPEED),
        ("bulk", SCAN),
        ("null-kinds", NULL),
        ("speed", MANY),
        ("delivery", LAYERS),
        ("quality-public", QUALITY),
        ("robustness-public-groups", TOGETHER),
    ):
        (folder / f"{name}.csv").write_text(text)
    return folder


def test_tables_and_figures_are_those_of_the_results(readme_table, tables):
    for block in readme_table.BLOCKS:
        _, inside, _ = tables.between_marks(block.path.read_text(encoding="utf-8"), block)
        assert inside == block.make(readme_table.RESULTS), "run python benchmarks/readme_table.py --write"


def test_without_results_there_are_no_tables(readme_table, tmp_path):
    assert [block.make(tmp_path) for block in readme_table.BLOCKS] == [""] * len(readme_table.BLOCKS)


def test_writing_puts_the_tables_between_the_marks_and_changes_nothing_else(
    readme_table, tables, results, tmp_path
):
    for block in readme_table.BLOCKS:
        copy = tmp_path / "copy.md"
        page = block.path.read_text(encoding="utf-8")
        copy.write_text(page, encoding="utf-8")
        readme_table.write(block._replace(path=copy), block.make(results))
        before, inside, after = tables.between_marks(copy.read_text(encoding="utf-8"), block)
        assert inside == block.make(results)
        assert (before, after) == tables.between_marks(page, block)[::2]


def test_two_watermarks_are_told_apart(readme_table, results):
    words = readme_table.together(results)
    assert "is read in 97.9 % of 40 trials, and the public watermark in 95 %." in words
    assert "SSIMULACRA2 is 87.2 on average and 86.5 at worst" in words


def test_the_tables_over_many_images_and_of_layers(readme_table, results):
    assert readme_table.rejecting(results).splitlines()[2:] == [
        "| 256 x 512 | 100 | 0.86 | 13 | 15 | 40 |",
        "",
        "Means over different images, working time of one thread; the 99th percentile is over the mean time"
        f" of decoding. All of them were `absent`. {MEASURED}[speed.csv](benchmarks/results/speed.csv).",
    ]
    accepting = readme_table.accepting(results).splitlines()
    assert accepting[2:4] == [
        "| accept 512 x 512, array | 24 | 11 | 4.9 | 4.7 | 6.4 | 3 |",
        "| each further key 512 x 512 | 24 | 6.8 | 2.6 | 2.2 | 6.1 | 1 |",
    ]
    assert readme_table.layers(results).splitlines()[:4] == [
        "| milliseconds | JPEG, 1 MP | PNG, 1 MP |",
        "| --- | ---: | ---: |",
        "| watermark | 42 | 75 |",
        "| + XMP | 0.24 | 0.25 |",
    ]


def test_the_table_of_survival_is_made_of_what_the_results_say(readme_table, results):
    *lines, _, words = readme_table.survival(results).splitlines()
    assert lines == [
        "| what happened to the image | trials | message read | watermark detected | wrong message |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| untouched | 8 | 100 % | 100 % | 0 |",
        f"| {readme_table.LABELS['everyday']} | 10 | 90 % | 100 % | 0 |",
        "| JPEG quality 10 | 8 | 62.5 % | 99.9 % | 0 |",
        "| cropped to 10 % of the area | 4 | 75 % | 75 % | 0 |",
        "| 2 megapixels and more, cropped to 10 % of the area | 6 | 50 % | 66.6 % | 0 |",
        "| unheard-of | 3 | 0 % | 33.3 % | 1 |",
    ]
    assert words == f"{MEASURED}[robustness-groups.csv](results/robustness-groups.csv)."


def test_the_short_table_of_survival_adds_groups_up(readme_table, results):
    *lines, _, words = readme_table.brief_survival(results).splitlines()
    assert lines[2:] == [
        "| Untouched | 100 % | 100 % | 8 |",
        "| Everyday handling | 90 % | 100 % | 10 |",
        "| JPEG 10 | 62.5 % | 100 % | 8 |",
        "| Cropped to 10 % | 60 % | 70 % | 10 |",
    ]
    assert ". 1 of the 39 trials gave a wrong message. " in words


def test_small_images_are_counted_apart(readme_table, tmp_path):
    (tmp_path / "robustness.csv").write_text(TRIALS)
    assert readme_table.by_size(tmp_path / "robustness.csv") == (
        " Small images hold less: of the everyday trials, the message is read in 50 % on images of at least"
        " 500 pixels per side and in 0 % on smaller ones (detected: 100 % and 50 %)."
    )


def test_the_short_table_of_survival_fits_a_phone(readme_table):
    assert len(readme_table.BRIEF_LABELS) <= 12
    assert max(map(len, readme_table.BRIEF_LABELS)) <= 17
    assert {name for names in readme_table.BRIEF_LABELS.values() for name in names} <= set(
        readme_table.LABELS
    )


def test_the_table_of_quality_is_made_of_what_the_results_say(readme_table, results):
    assert readme_table.quality(results).splitlines() == [
        "| difference from the original | mean | worst |",
        "| --- | ---: | ---: |",
        "| PSNR, dB | 44.0 | 43.0 |",
        "| SSIM | 0.9900 | 0.9888 |",
        "| SSIMULACRA2 | 87.2 | 86.5 |",
        "",
        f"2 images marked, 1 refused. {MEASURED}[quality.csv](results/quality.csv).",
    ]


def test_the_figures_are_those_of_the_results(readme_table, results):
    invisible, survives, fast = readme_table.figures(results).splitlines()
    assert (
        "PSNR 44.0 dB and SSIMULACRA2 87.2 on average over 2 images; the worst are 43.0 dB and 86.5"
        in invisible
    )
    assert "read in 90 % of 10 everyday trials" in survives
    assert "Embedding takes 15 ms and detection 300 ms" in fast
    assert "7,000 searches of unmarked images gave 0 false detections" in fast


def test_what_is_said_of_unmarked_images_is_what_was_counted(results):
    evidence = benchmark("_evidence")
    words = evidence.null_sentence(results)
    assert words.startswith("7,000 searches of 20 unmarked images of 2 kinds")
    assert "gave 0 false detections and 0 messages: at 95 % confidence, the rate is at most 5.3e-04" in words
    assert "above its union bound by 7.2 (origin) nats" in evidence.null(results)


def test_the_strongest_form_of_an_attack_gets_most_and_then_pays_least():
    columns = ("goal", "variant", "detected %", "dB, median", "match", "mismatch")
    rows = [
        dict(zip(columns, values, strict=True)) | {"attack": "a", "has": "b", "number": "3", "trials": "8"}
        for values in (
            ("remove", "x", "50.0", "40", "4", "0"),
            ("remove", "y", "25.0", "41", "2", "0"),
            ("remove", "z", "25.0", "43", "2", "0"),
            ("forge", "x", "100.0", "30", "0", "8"),
            ("forge", "y", "90.0", "45", "0", "7"),
        )
    ]
    removing, forging = benchmark("_evidence").strongest(rows)
    assert (removing["attack, at its strongest"], removing["dB paid"], removing["to"]) == (
        "a: z",
        "43.0",
        "remove",
    )
    assert (forging["attack, at its strongest"], forging["detected"]) == ("a: x", "100 %")
    assert forging["said of those read"] == "8 mismatch"


def test_a_curve_ends_where_half_of_the_images_lose_the_message():
    def rows(sweep, *shares):
        return [
            {"sweep": sweep, "value": str(value), "message_ok share": str(share)} for value, share in shares
        ]

    last = benchmark("_evidence").last_value
    assert last(rows("JPEG", (10, 0.2), (20, 0.5), (30, 0.4), (50, 1)), "message_ok") == "50"
    assert last(rows("noise", (10, 1), (20, 0.5), (30, 0.4), (40, 0.9)), "message_ok") == "20"
    assert last(rows("resize", (0.2, 0.1), (0.5, 1), (2, 0.1)), "message_ok") == "0.5"
    assert last(rows("blur", (1, 0.1)), "message_ok") == "-"


def test_every_group_of_attacks_has_a_name_for_readers(readme_table):
    pytest.importorskip("skimage", reason="the denoisers among the attacks are scikit-image's")
    assert set(readme_table.LABELS) == set(benchmark("attacks").TARGETS)


def test_the_archive_scan_is_made_of_what_the_results_say(readme_table, results):
    _, _, *rows, _, words = readme_table.scan(results).splitlines()
    assert rows == [
        "| local, 2 workers | 41 | 512 | 3 | 2 | 0 | 0 |",
        "| detect alone, 1 process | 21 |  |  |  |  |  |",
    ]
    assert words.endswith(f"{MEASURED}[bulk.csv](results/bulk.csv).")
    assert readme_table.brief_scan(results).startswith(
        "Speed: 41 images per second (local, 2 workers, peak memory 512 MB). "
    )


def test_the_chart_shows_the_numbers_of_the_speed_comparison(readme_table, tables):
    speeds = benchmark("_speed_tables")
    _, rows = tables.read_commented(readme_table.RESULTS / "compare.csv")
    chart = (readme_table.RESULTS / "compare.svg").read_text(encoding="utf-8")
    for line in speeds.speed_summary(rows, speeds.SPEED_SIZE):
        for name in speeds.SPEED_MEASURES:
            if line[name]:
                assert re.search(rf">{re.escape(tables.brief(line[name]))}( \w+)?</text>", chart), line


def test_the_speed_comparison_is_made_of_what_the_results_say(readme_table, results):
    _, _, *rows, _, words = readme_table.speed(results).splitlines()
    assert rows == [
        "| fastmark | 15 | 5.0 | 300 | 7.5 | 75 | 1 of 2 |",
        "| JPEG quality 90 (Pillow) | 2.0 (encoding) |  | 4.0 (decoding) | 1.0 | 1.0 |  |",
        "| np.copyto | 0.050 |  |  | 0.025 |  |  |",
        "| other (failed: ImportError: no) |  |  |  |  |  |  |",
    ]
    assert f" With fastmark 9.9.9, other 1.0. {MEASURED}[compare.csv](results/compare.csv)." in words
    assert "(benchmarks/results/compare.svg)" in readme_table.chart(results)
