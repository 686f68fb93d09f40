"""What all parts of this judge share: a server, a project, and how a table is compared with its source."""

import atexit
import json
import os
import pathlib
import shutil
import signal
import tempfile

import duckdb
from deltalake import DeltaTable
from product import check, run
from server import Server

PASSWORD = "a-secret-of-the-judge"
FIRST_ROWS = 20_000

work = pathlib.Path(tempfile.mkdtemp(prefix="sextant-postgres-"))
work.chmod(0o755)
atexit.register(shutil.rmtree, work, ignore_errors=True)
project = work / "project"
(project / "sources").mkdir(parents=True)
(project / "sextant.toml").write_text('[project]\nname = "postgres"\n')
server = Server(work / "server", PASSWORD)
atexit.register(lambda: server.stop(signal.SIGQUIT))
os.environ["JUDGE_PASSWORD"] = PASSWORD
environment = {k: v for k, v in os.environ.items() if k != "SEXTANT_PROJECT"}


def url(password="${JUDGE_PASSWORD}", query="", port=None):
    return f"postgres://postgres:{password}@127.0.0.1:{port or server.port}/postgres{query}"


def write_source(name, more="", table=None, where=None):
    (project / "sources" / f"{name}.toml").write_text(
        f'type = "postgres"\nurl = "{where or url()}"\n'
        + (f'table = "{table or "public." + name}"\n' if table != "" else "")
        + more
    )


def build(name, expect=0):
    return run("build", f"sources/{name}", project=project, expect=expect)


def table(name):
    return DeltaTable(str(project / ".sextant" / "tables" / f"sources-{name}"))


def there(name):
    return (project / ".sextant" / "tables" / f"sources-{name}" / "_delta_log").exists()


def version(name):
    return table(name).version() if there(name) else -1


def mark(name):
    return table(name).transaction_version(f"sextant:sources/{name}:lsn") if there(name) else None


def plain(value):
    if isinstance(value, (bytes, str, int, bool)) or value is None:
        return value
    return str(value)


def rows(name):
    """The rows of a table, without the column that is ours."""
    found = table(name).to_pyarrow_table().drop_columns(["_lsn"])
    names = found.column_names
    return sorted((tuple(plain(row[n]) for n in names) for row in found.to_pylist()), key=repr), names


def source_rows(select):
    with server.connect() as connection:
        cursor = connection.execute(select)
        names = [column.name for column in cursor.description]
        return sorted((tuple(map(plain, row)) for row in cursor.fetchall()), key=repr), names


# Lists and JSON are kept as their text.
SELECTS = {
    "orders": "SELECT id, name, amount, note, at, to_json(tags)::text AS tags, doc::text AS doc, flag "
    "FROM orders"
}


def same(name, what, select=None):
    ours, ours_names = rows(name)
    theirs, names = source_rows(select or SELECTS.get(name, f"SELECT * FROM {name}"))
    missing, extra = set(theirs) - set(ours), set(ours) - set(theirs)
    detail = f" missing {sorted(missing, key=repr)[:2]}, extra {sorted(extra, key=repr)[:2]}"
    good = ours == theirs and ours_names == names
    check(good, f"{what} ({len(theirs)} rows)" + ("" if good else detail))


def account(name):
    state = table(name).history(1)[0]["sextant.arrival"]
    return json.loads(state) if isinstance(state, str) else state


def files(name):
    connection = duckdb.connect()
    connection.register("f", table(name).to_pyarrow_table())
    return connection
