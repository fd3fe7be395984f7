"""The measured tables and figures of the README and other pages: made of the results and nothing else."""

import re
import shutil

import pytest
from scripts import BENCHMARKS, benchmark

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
