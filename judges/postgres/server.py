"""A real PostgreSQL server: its own data folder, a free port of the loopback interface, logical WAL."""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

import psycopg

BIN = pathlib.Path(os.environ["POSTGRES_BIN"])
START_SECONDS_MAX = 60
# PostgreSQL does not run as root.
AS = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
USER = "postgres"


class Server:
    """Starts at once. The same folder and port are used again after a stop."""

    def __init__(self, folder, password):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.password = password
        secret = self.folder / "password"
        secret.write_text(password)
        if AS:
            shutil.chown(self.folder, "postgres", "postgres")
            shutil.chown(secret, "postgres", "postgres")
        self.data = self.folder / "data"
        self.call(
            "initdb", "-D", self.data, "-U", USER, "-A", "scram-sha-256", "--pwfile", secret,
            "-E", "UTF8", "--locale=C", "--no-sync",
        )  # fmt: skip
        settings = {
            "listen_addresses": "'127.0.0.1'", "port": self.port, "wal_level": "logical",
            "unix_socket_directories": f"'{self.folder}'", "max_replication_slots": 20,
            "max_wal_senders": 20, "shared_buffers": "'32MB'", "logical_decoding_work_mem": "'4MB'",
            "checkpoint_timeout": "'1min'", "max_connections": 40,
        }  # fmt: skip
        if self.certificate():
            settings |= {"ssl": "on", "ssl_cert_file": "'../tls.crt'", "ssl_key_file": "'../tls.key'"}
        with (self.data / "postgresql.conf").open("a") as conf:
            conf.writelines(f"{key} = {value}\n" for key, value in settings.items())
        self.start()

    def call(self, program, *arguments):
        done = subprocess.run(
            [BIN / program, *map(str, arguments)],
            capture_output=True, text=True, cwd=self.folder, check=False, **AS,
        )  # fmt: skip
        if done.returncode:
            sys.exit(f"{program}: {done.stdout}{done.stderr}")

    def certificate(self):
        """One for 127.0.0.1, and the authority that signed it; none without openssl."""
        self.ca = None
        if not shutil.which("openssl"):
            return False
        at = {name: self.folder / name for name in ("ca.key", "ca.crt", "tls.key", "tls.csr", "tls.crt")}
        names = self.folder / "names"
        names.write_text("subjectAltName=IP:127.0.0.1\n")
        new = ["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj"]
        for command in (
            [*new, "/CN=judge", "-x509", "-days", "2", "-keyout", at["ca.key"], "-out", at["ca.crt"]],
            [*new, "/CN=server", "-keyout", at["tls.key"], "-out", at["tls.csr"]],
            ["openssl", "x509", "-req", "-in", at["tls.csr"], "-CA", at["ca.crt"], "-CAkey",
             at["ca.key"], "-set_serial", "1", "-days", "2", "-extfile", names, "-out", at["tls.crt"]],
        ):  # fmt: skip
            subprocess.run(command, check=True, capture_output=True)
        at["tls.key"].chmod(0o600)
        for path in (at["tls.key"], at["tls.crt"]) if AS else ():
            shutil.chown(path, "postgres", "postgres")
        self.ca = at["ca.crt"]
        return True

    def start(self):
        log = self.folder / "log"
        until = time.monotonic() + START_SECONDS_MAX
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                [BIN / "postgres", "-D", self.data], stdout=out, stderr=out, cwd=self.folder, **AS
            )
        while True:
            try:
                self.connect().close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > until or self.process.poll() is not None:
                    sys.exit(f"PostgreSQL did not start\n{log.read_text()[-2000:]}")
                time.sleep(0.1)

    def stop(self, how=signal.SIGINT):
        """SIGQUIT stops at once, as a crash does; SIGINT ends transactions first."""
        if self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait()

    def connect(self, **more):
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user=USER, password=self.password, dbname="postgres",
            autocommit=True, connect_timeout=5, options="-c TimeZone=UTC", **more,
        )  # fmt: skip

    def sql(self, statement):
        with self.connect() as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else None
