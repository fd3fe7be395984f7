"""Write public.json and public.png beside this file: ``python tests/vectors/public.py [--force]``.

They are the golden vectors of the public watermark (SPEC.md, section 14), written once, as generate.py says.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from contents import codeword_entry, key_entry
from PIL import Image

from fastmark import public

JSON, PNG = (Path(__file__).with_name(name) for name in ("public.json", "public.png"))

COMMENT = (
    "The public watermark, as tests/codec/test_public_code.py reads it. Written by tests/vectors/public.py; "
    "a difference means that public watermarks made before are no longer read. The key's entries and the "
    "digests of codewords are those of format.json. public.png carries the first code."
)
CODES = (
    (("ai-generated", "do-not-train"), 65535, 0x0123ABCD),
    (("ai-generated",), 0, 0),
    (("ai-edited",), 0, 0),
    (("do-not-train",), 0, 0),
    (("do-not-train-generative",), 0, 0),
    (("captured",), 0, 0),
    (("ai-edited", "do-not-train", "do-not-train-generative", "captured"), 0, 0),
    ((), 1, 0),
    ((), 65280, 0xFFFFFFFF),
)


def drawn(height=256, width=320):
    """Waves and grain in colours, uint8 ``(height, width, 3)``: integers all the way."""
    y, x = np.mgrid[:height, :width]
    grain = (x * 2654435761 + y * 40503 + x * y * 97) >> 7 & 31
    planes = [60 + (x * a + y * b) // 4 % 96 + grain for a, b in ((1, 2), (2, 1), (1, 1))]
    return np.stack(planes, axis=2).astype(np.uint8)


def vectors():
    codes = []
    for flags, resolver, free in CODES:
        code = public.PublicCode(flags, resolver, free)
        codes.append(
            {"flags": list(flags), "resolver": resolver, "free": free, "message": code.hex}
            | {"codeword": codeword_entry(64, code.hex, 1)["digest"]}
        )
    return {"_comment": COMMENT, "key": key_entry(public.PUBLIC_KEY.secret.hex()), "codes": codes}


def main():
    parser = argparse.ArgumentParser(description="Write the golden vectors of the public watermark.")
    parser.add_argument("--force", action="store_true", help="overwrite files that exist")
    arguments = parser.parse_args()
    if not arguments.force and (JSON.exists() or PNG.exists()):
        parser.error(f"{JSON} exists; --force overwrites it, and breaks the format")
    JSON.write_text(json.dumps(vectors(), indent=1) + "\n", encoding="utf-8")
    marked = public.embed(drawn(), public.PublicCode(*CODES[0]))
    Image.fromarray(marked).save(PNG, optimize=True)


if __name__ == "__main__":
    main()
