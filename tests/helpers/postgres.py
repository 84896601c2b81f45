"""A real PostgreSQL server in a folder, for as long as a test needs it."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path


def why_not():
    """Return why no server can be started here, or nothing."""
    if _program("initdb") is None:
        return "PostgreSQL's server (initdb, postgres) is not installed"
    if os.name != "posix":
        return "the server is started as on Unix"
    if os.geteuid() == 0 and _other_user() is None:
        return "PostgreSQL does not run as root, and there is no user postgres or nobody"
    return ""


@contextlib.contextmanager
def server(folder):
    """Start a server whose data lie in `folder`, and yield the part of its URL behind the driver."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data = Path(folder) / "postgres"
    data.mkdir()
    if os.geteuid() == 0:
        shutil.chown(data, _other_user())
        for parent in data.parents:  # it must be able to reach its data
            with contextlib.suppress(OSError):
                parent.chmod(parent.stat().st_mode | 0o011)
    _run("initdb", "-D", data, "-U", "snnrepro", "--auth=trust", "--no-sync")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
    _run("pg_ctl", "-D", data, "-o", options, "-l", data / "log", "-w", "start")
    try:
        yield f"snnrepro@127.0.0.1:{port}/postgres"
    finally:
        _run("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")


def _program(name):
    found = shutil.which(name)
    if found is None:
        installed = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
        found = str(installed[-1]) if installed else None
    return found


def _other_user():
    import pwd

    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    return None


def _run(name, *arguments):
    command = [_program(name), *map(str, arguments)]
    if os.geteuid() == 0:
        command = ["runuser", "-u", _other_user(), "--", *command]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd="/", check=False)
    if done.returncode:
        sys.stderr.write(done.stderr.decode())
        raise RuntimeError(f"{name} failed")
