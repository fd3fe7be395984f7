"""A PostgreSQL server of one's own, in a folder that goes with it.

python tests/support/postgresql.py start FOLDER     # prints the server's URL, or why there is none
python tests/support/postgresql.py stop FOLDER
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PASSWORD = "s3cr%2Ft-" + "of-tests"
"""As it stands in a URL: with a sign in it that has to be written as a number."""


class NoServerError(Exception):
    """No server can be started here, and why."""


def binaries() -> Path:
    """The folder of Debian's newest server, or of the one on the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    if found:
        return found[-1].parent
    if on_path := shutil.which("initdb"):
        return Path(on_path).resolve().parent
    raise NoServerError("PostgreSQL is not installed (Debian's package postgresql)")


def as_user(folder: Path) -> dict[str, Any]:
    """Options of subprocess.run: the server refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    try:
        user = pwd.getpwnam("postgres")
    except KeyError:
        raise NoServerError("PostgreSQL does not run as root, and there is no user postgres") from None
    os.chown(folder, user.pw_uid, user.pw_gid)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def call(options: dict[str, Any], *command: object) -> None:
    done = subprocess.run(
        list(map(str, command)), check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120,
        cwd="/", **options,
    )  # fmt: skip
    if done.returncode:
        raise NoServerError(f"{Path(str(command[0])).name}: {done.stdout.decode(errors='replace')[-300:]}")


def start(folder: Path, *, durable: bool = False) -> str:
    """Start a server in a new folder; the URL of its database, with the password.

    It listens on a port of this machine only. Unless it is durable it does not wait for the disk, as what it
    keeps is thrown away.
    """
    tools = binaries()
    folder.mkdir(mode=0o755)
    options = as_user(folder)
    password = folder / "password"
    password.write_text(PASSWORD.replace("%2F", "/"))
    if options:
        os.chown(password, options["user"], options["group"])
    call(options, tools / "initdb", "-D", folder / "data", "-U", "fastmark", f"--pwfile={password}",
         "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync")  # fmt: skip
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = f"-p {port} -h 127.0.0.1 -c unix_socket_directories='' -c max_connections=60"
    settings += "" if durable else " -c fsync=off"
    with (folder / "start.log").open("wb"):
        pass
    if options:
        os.chown(folder / "start.log", options["user"], options["group"])
    # the server must not hold our pipes, so its words go to a file
    call(options, tools / "pg_ctl", "-D", folder / "data", "-l", folder / "start.log", "-w", "-t", "60",
         "-o", settings, "start")  # fmt: skip
    return f"postgresql://fastmark:{PASSWORD}@127.0.0.1:{port}/postgres"


def stop(folder: Path) -> None:
    """Stop the server of a folder, and remove the folder."""
    with contextlib.suppress(NoServerError):
        call(as_user(folder), binaries() / "pg_ctl", "-D", folder / "data", "-m", "immediate", "-w", "stop")
    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def running(*, durable: bool = False) -> Iterator[str]:
    """The URL of a server: that of the variable FASTMARK_TEST_POSTGRESQL, or one that runs meanwhile."""
    if given := os.environ.get("FASTMARK_TEST_POSTGRESQL"):
        yield given
        return
    # NOTE: not below pytest's folders, which no other user may enter
    folder = Path(tempfile.mkdtemp(prefix="fastmark-postgresql-"))
    folder.chmod(0o755)
    try:
        yield start(folder / "server", durable=durable)
    finally:
        stop(folder / "server")
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def database(server: str) -> Iterator[str]:
    """The URL of a new database of a server; it is dropped afterwards."""
    import psycopg

    name = f"fastmark_test_{secrets.token_hex(8)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
        try:
            yield f"{server.rpartition('/')[0]}/{name}"
        finally:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def main() -> int:
    action, folder = sys.argv[1], Path(sys.argv[2])
    if action == "stop":
        stop(folder)
        return 0
    try:
        print(start(folder))
    except (NoServerError, OSError, subprocess.SubprocessError) as error:
        print(f"no PostgreSQL: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
