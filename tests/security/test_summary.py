"""The summary of trials: what is counted, and what the chart makes of it."""

import pytest


@pytest.fixture(scope="module")
def security(attacks):
    return attacks("security")


def trial(**changed):
    row = {"attack": "notching", "goal": "remove", "variant": "lines", "has": "1 marked image", "number": 50}
    row |= {
        "state": "detected",
        "read": 1,
        "wrong": 0,
        "binding": "match",
        "made_with": "key",
        "before": "detected",
    }
    return row | {"noise": "detected", "psnr_db": 40.0, "ssimulacra2": 80.0} | changed


def test_shares_and_prices_of_a_group(security):
    rows = [trial(), trial(psnr_db=43.0), trial(state="absent", read=0, binding="unknown", psnr_db=38.0)]
    rows += [trial(state="possible", read=0, wrong=1, binding="mismatch", noise="absent"), trial(number=100)]
    first, second = security.summary(rows)
    assert (first["trials"], second["trials"]) == (4, 1)
    assert (first["detected %"], first["absent %"], first["read %"], first["wrong"]) == (50, 25, 50, 1)
    assert (first["match"], first["mismatch"], first["unknown"]) == (2, 1, 0)
    assert (first["before detected %"], first["noise detected %"]) == (100, 75)
    assert (first["dB, median"], first["dB, most"]) == (40, 43)


def test_what_is_learnt_is_averaged_beside_its_control(security):
    learnt = {"attack": "averaging", "goal": "learn", "variant": "v", "has": "h", "number": 5, "control": 0}
    rows = [learnt | {"value": value} for value in (0.2, 0.4)]
    (line,) = security.summary(rows)
    assert line["value"] == pytest.approx(0.3) and line["control"] == 0


def test_every_line_of_the_chart_is_of_an_attack(security, attacks):
    assert {line.attack for line in attacks("chart").LINES} <= set(security.ATTACKS)


def test_a_forgery_counts_where_no_mismatch_is_said(security, attacks):
    chart = attacks("chart")
    forged = {"attack": "copying", "goal": "forge", "variant": "ffdnet", "number": 25}
    rows = [trial(**forged, binding=binding) for binding in ("mismatch", "unknown", "match", "mismatch")]
    rows.append(trial(**forged, state="absent", read=0, binding="unknown"))
    (line,) = [one for one in chart.LINES if one.variant == "ffdnet"]
    assert chart.dots(line, security.summary(rows)) == [(25, 40.0, 40.0)]


def test_the_chart_is_drawn(security, attacks, tmp_path):
    pytest.importorskip("matplotlib")
    rows = security.summary(
        [trial(variant="peaks of the scores", number=n, psnr_db=45 - n / 50) for n in (50, 100)]
    )
    attacks("chart").draw(tmp_path / "chart.svg", rows)
    text = (tmp_path / "chart.svg").read_text()
    assert "so many lines of its spectrum notched" in text and "aligned mean" not in text
