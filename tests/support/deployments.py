"""Where services are deployed: files of this repository, and ports of this machine."""

import socket
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PROXY = ROOT / ".github" / "nginx.conf"


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
