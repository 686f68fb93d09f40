"""A PostgreSQL server of our own: Debian's, in a folder that goes away, on a free port."""

import os
import pathlib
import pwd
import shutil
import socket
import subprocess

USER = "judge"
PASSWORD = "a-secret-of-the-judge"


def programs():
    """Where Debian keeps the server's programs; None when it is not installed."""
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))
    return found[-1] if found and (found[-1] / "initdb").exists() else None


class Postgres:
    """One server. It refuses to run as root, so root lends it another user."""

    def __init__(self, folder):
        self.bin, self.folder = programs(), folder
        folder.mkdir()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.account = {}
        if os.geteuid() == 0:
            nobody = next(n for n in ("postgres", "nobody") if self.exists(n))
            self.account = {"user": nobody, "group": pwd.getpwnam(nobody).pw_gid, "extra_groups": []}
            shutil.chown(folder, nobody)
            for parent in folder.parents:  # the user must be let through to it
                if parent == pathlib.Path("/tmp"):
                    break
                parent.chmod(parent.stat().st_mode | 0o011)
        secret = folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        self.data = folder / "data"
        self.run("initdb", "-D", self.data, "-U", USER, "-A", "scram-sha-256", f"--pwfile={secret}", "-E", "UTF8")
        options = f"-p {self.port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        self.run("pg_ctl", "-D", self.data, "-l", folder / "log", "-w", "-o", options, "start")

    @staticmethod
    def exists(name):
        try:
            return bool(pwd.getpwnam(name))
        except KeyError:
            return False

    @property
    def address(self):
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/postgres"

    def run(self, program, *arguments):
        done = subprocess.run(
            [self.bin / program, *map(str, arguments)], cwd=self.folder, capture_output=True,
            text=True, timeout=120, check=False, **self.account,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{program}: {done.stdout}{done.stderr}")

    def stop(self):
        self.run("pg_ctl", "-D", self.data, "-m", "immediate", "stop")
