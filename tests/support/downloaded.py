"""Output of img2dataset as its version 1.47 lays it out, of the images that ``collected`` has."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
from archives import tar_of
from collected import collection

SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("caption", "url", "key", "status", "error_message")]
    + [(name, pa.int32()) for name in ("width", "height", "original_width", "original_height")]
    + [("exif", pa.string()), ("sha256", pa.string())]
)
SHARDS = {"00000": ["made", "gone", "mine", "ours"], "00001": ["art", "plain", "broken", "shot"]}
# the order in which they were downloaded, and not that of their keys
KEYS = {"made": "000001", "gone": "000002", "mine": "000003", "ours": "000000"}
KEYS |= {"art": "000010", "plain": "000012", "broken": "000011", "shot": "000013"}
IN_ORDER = sorted((key, name) for name, key in KEYS.items() if name != "gone")


def meta_of(name):
    failed = name == "gone"
    return dict.fromkeys(SCHEMA.names) | {
        "caption": name,
        "url": f"http://127.0.0.1/{name}",
        "key": KEYS[name],
        "status": "failed_to_download" if failed else "success",
        "error_message": "HTTP Error 404: Not Found" if failed else None,
        "exif": None if failed else "{}",
    }


def write_shard(folder, shard, kind, names=None, data=None):
    names, data = SHARDS[shard] if names is None else names, data or collection()
    folder.mkdir(exist_ok=True)
    metas = [meta_of(name) for name in names]
    files = []
    for name, meta in zip(names, metas, strict=True):
        if name != "gone":
            for ending, content in (
                ("jpg", data[name]),  # whatever its format, where it is not encoded again
                ("txt", name.encode()),
                ("json", json.dumps(meta, indent=4).encode()),
            ):
                files.append((f"{KEYS[name]}.{ending}", content))
    table = pa.Table.from_pylist(metas, SCHEMA)
    if kind == "parquet":
        images = pa.array([data.get(name) for name in names], pa.binary())
        table = table.append_column("jpg", images)
    elif kind == "webdataset":
        tar_of(folder / f"{shard}.tar", files)
    else:
        (folder / shard).mkdir(exist_ok=True)
        for name, content in files:
            (folder / shard / name).write_bytes(content)
    pq.write_table(table, folder / f"{shard}.parquet")
    stats = {"count": len(names), "successes": len(files) // 3}
    (folder / f"{shard}_stats.json").write_text(json.dumps(stats))
