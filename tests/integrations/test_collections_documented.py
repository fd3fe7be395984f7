"""The part on collections of INTEGRATIONS.md, executed as it stands, from one folder."""

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest
from collected import KEY, drawn, encoded
from documents import blocks

for name in ("datasets", "webdataset", "torch", "datadiligence", "pandas"):
    pytest.importorskip(name)

from downloaded import SHARDS, write_shard  # noqa: E402  # it needs pyarrow

# NOTE: webdataset and datadiligence leave it to the collector of garbage to close files
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


def test_every_block_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    import datasets

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "hf"))
    datasets.disable_progress_bars()
    KEY.save(tmp_path / "my.key")
    Path("photo.jpg").write_bytes(encoded(drawn(1, 400, 480)))
    for shard in SHARDS:
        write_shard(tmp_path / "out", shard, "webdataset")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    said = []
    for language, text in blocks("INTEGRATIONS.md", "Collections"):
        if language == "python":
            exec(compile(text, "INTEGRATIONS.md", "exec"), {"__name__": "documented"})
            said.append(capsys.readouterr().out.strip())
        else:
            assert language == "sh"
            done = subprocess.run(
                ["bash", "-eo", "pipefail", "-c", text],
                env={**os.environ, "PATH": path},
                capture_output=True,
                text=True,
                check=False,
            )
            # one of the images that were downloaded is damaged
            assert done.returncode == (3 if "img2dataset" in text else 0), done.stderr
            said.append(done.stdout.strip())
    assert len(said) == 8
    assert "1 ai-generated" in said[1]
    assert said[2] == "['', 'ai-generated']"
    assert said[3].startswith("a picture: photo (480, 400) absent")
    assert "1 do-not-train" in said[5]
    assert "ai-generated" in said[6]
    assert said[7].endswith("True")
    assert Path("rows.csv").read_text().count("ai-generated") == 1
    assert Path("hits.jsonl").read_text().count("\n") == 1
    import datadiligence

    datadiligence.deregister_evaluator("fastmark")
    gc.collect()
