"""Write format.json beside this file: ``python tests/vectors/generate.py [--force]``.

The file is written once. Writing it anew means that pictures marked before are no longer read, so it is
refused without ``--force``, and the tests never do it.
"""

import argparse
import json
from pathlib import Path

from contents import codeword_entry, key_entry, origin_entry

from fastmark._checks import MESSAGE_BITS

TARGET = Path(__file__).with_name("format.json")

COMMENT = (
    "What fastmark's keys and messages mean, as tests/test_vectors.py reads it. Written by "
    "tests/vectors/generate.py; a difference means that marks made before are no longer found. "
    "Digests are BLAKE2b-256 of little-endian integers in C order; 'first' are the first eight entries; "
    "phases are in steps of 2 pi / 65536; codewords are packed to 128 bytes, most significant bit first; "
    "origins are those of the planes (7 x + 5 y + floor(x y / 16)) mod 251."
)
SECRETS = (bytes(range(32)).hex(), (b"fastmark golden vectors, key two").hex())
PATTERN = bytes.fromhex("0123456789abcdeffedcba9876543210")
UNITS = (1, 2, 3, 15)
PLANES = ((64, 64), (200, 300), (131, 977), (800, 1200))


def vectors():
    codewords = []
    for bits in MESSAGE_BITS:
        n_bytes = bits // 8
        for message in (bytes(n_bytes), b"\xff" * n_bytes, PATTERN[:n_bytes]):
            codewords += [codeword_entry(bits, message.hex(), k) for k in UNITS]
    return {
        "_comment": COMMENT,
        "keys": [key_entry(secret) for secret in SECRETS],
        "codewords": codewords,
        "origins": [origin_entry(secret, *shape) for secret in SECRETS for shape in PLANES],
    }


def main():
    parser = argparse.ArgumentParser(description="Write the golden vectors.")
    parser.add_argument("--force", action="store_true", help="overwrite a file that exists")
    arguments = parser.parse_args()
    text = json.dumps(vectors(), indent=1) + "\n"
    try:
        with TARGET.open("w" if arguments.force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        parser.error(f"{TARGET} exists; --force overwrites it, and breaks the format")


if __name__ == "__main__":
    main()
