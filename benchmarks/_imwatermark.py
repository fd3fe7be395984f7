"""invisible-watermark without torch, which it imports for one of its methods alone."""

from __future__ import annotations

import sys
import types
from typing import Any


def without_riva_gan() -> Any:
    """Import the package with a stand-in for its module rivaGan, whose 32 bits are not compared.

    Its own encoder and decoder work as they are, whether torch is installed or not.
    """
    stand_in = types.ModuleType("imwatermark.rivaGan")
    stand_in.RivaWatermark = None  # type: ignore[attr-defined]
    sys.modules.setdefault(stand_in.__name__, stand_in)
    import imwatermark

    return imwatermark
