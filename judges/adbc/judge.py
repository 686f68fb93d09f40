"""Do the stock ADBC drivers of SQLite, DuckDB and PostgreSQL bring rows in and take them out, each
row once, and are faults named?"""

import atexit
import datetime
import json
import os
import pathlib
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

import adbc_driver_postgresql
import adbc_driver_snowflake.dbapi
import adbc_driver_sqlite
import duckdb
import psycopg
from deltalake import DeltaTable

from postgres import PASSWORD, Postgres, programs
from product import BINARY, check, close, run

work = pathlib.Path(tempfile.mkdtemp(prefix="sextant-adbc-"))
atexit.register(shutil.rmtree, work, ignore_errors=True)
project = work / "project"
for folder in ("sources", "models", "exports"):
    (project / folder).mkdir(parents=True)
(project / "sextant.toml").write_text('[project]\nname = "adbc"\n')
SQLITE = adbc_driver_sqlite._driver_path()
POSTGRES = adbc_driver_postgresql._driver_path()
DUCKDB = pathlib.Path(os.environ["DUCKDB_LIBRARY"])


def write(path, text):
    (project / path).write_text(text)


def source(name, driver, options, more):
    entries = "\n".join(f'{key} = "{value}"' for key, value in options.items())
    entrypoint = 'entrypoint = "duckdb_adbc_init"\n' if driver == DUCKDB else ""
    write(f"sources/{name}.toml", f'type = "adbc"\ndriver = "{driver}"\n{entrypoint}{more}\n[options]\n{entries}\n')


def build(what, expect=0):
    return run("build", what, project=project, expect=expect)


def told(what, expect):
    """What a build that fails says."""
    done = subprocess.run([BINARY, "build", what], cwd=project, capture_output=True, text=True,
                          timeout=300, check=False, env=environment)
    check(done.returncode == expect, f"{what} ends with {expect}: {done.returncode}", told=False)
    return done.stdout + done.stderr


environment = {name: value for name, value in os.environ.items() if name != "SEXTANT_PROJECT"}


def rows(name, order="id"):
    """The rows of a table as deltalake reads them."""
    table = DeltaTable(str(project / ".sextant" / "tables" / f"sources-{name}"))
    return table.to_pyarrow_table().sort_by(order).to_pylist()


def versions(name):
    listed = run("versions", f"sources/{name}", project=project)["versions"]
    return len({version["version"] for version in listed})


# SQLite: a snapshot that changes, stays, and changes again.
shop = work / "shop.db"
with sqlite3.connect(shop) as database:
    database.execute("create table orders (id integer primary key, city text, price real, at integer)")
    database.executemany("insert into orders values (?, ?, ?, ?)",
                         [(n, None if n % 7 == 0 else f"Zürich {n % 5}", n / 4, n * 1000) for n in range(1, 2001)])
expected = lambda: sqlite3.connect(shop).execute("select id, city, price, at from orders order by id").fetchall()  # noqa: E731
read = lambda name: [tuple(row.values()) for row in rows(name)]  # noqa: E731
source("orders", SQLITE, {"uri": shop}, 'table = "orders"')
build("sources/orders")
check(read("orders") == expected(), "SQLite: a snapshot holds every row and null")
build("sources/orders")
check(versions("orders") == 1, "SQLite: the same rows make no new version")
with sqlite3.connect(shop) as database:
    database.execute("delete from orders where id % 3 = 0")
    database.execute("update orders set city = 'Bern' where id = 1")
build("sources/orders")
check(read("orders") == expected() and versions("orders") == 2, "SQLite: deleted and changed rows are followed")
chain = json.dumps(run("why", "sources/orders", project=project))
check("adbc:libadbc_driver_sqlite.so:orders" in chain, "the chain leads to the driver and the table")

# SQLite: a table that grows, read in small and large steps, with builds that are killed.
with sqlite3.connect(shop) as database:
    database.execute("create table events (id integer, text text)")
source("events", SQLITE, {"uri": shop}, 'table = "events"\nmode = "incremental"\ncursor = "id"\nplaceholder = "?"')
build("sources/events")
check(rows("events") == [], "SQLite: a table without rows is a table")
number = 0
for step, count in enumerate((1, 10, 120_000, 5_000, 0, 130_000, 3)):
    with sqlite3.connect(shop) as database:
        database.executemany("insert into events values (?, ?)",
                             [(number + n, f"text {number + n}") for n in range(1, count + 1)])
    number += count
    if count > 100_000:
        child = subprocess.Popen([BINARY, "build", "sources/events"], cwd=project, env=environment,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        log = project / ".sextant" / "tables" / "sources-events" / "_delta_log"
        before = len(list(log.glob("*.json")))
        deadline = time.monotonic() + 60
        while len(list(log.glob("*.json"))) == before and child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        child.send_signal(signal.SIGKILL)
        child.wait()
        landed = DeltaTable(str(log.parent)).to_pyarrow_table().num_rows
        check(True, f"SQLite: killed after {landed} of {number} rows")
    build("sources/events")
    ids = [row["id"] for row in rows("events")]
    check(ids == list(range(1, number + 1)), f"SQLite: step {step}: {number} rows, each once")
batch = json.dumps(run("why", "sources/events", project=project), ensure_ascii=False)
check(f"–{number}" in batch, "the chain says up to which id the rows came")

# Faults are named.
source("fault", work / "nothing.so", {"uri": shop}, 'table = "orders"')
check("SXT-3080" in told("sources/fault", 2), "a driver that is not there")
source("fault", pathlib.Path(shutil.which("true")), {"uri": shop}, 'table = "orders"')
check("SXT-3080" in told("sources/fault", 2), "a program that is no driver")
source("fault", SQLITE, {"uri": shop}, 'table = "nothing_here"')
check("SXT-3087" in told("sources/fault", 1), "a table that is not there")
source("fault", SQLITE, {"uri": shop}, 'query = "selec 1"')
check("SXT-3087" in told("sources/fault", 1), "a query that is wrong")
source("fault", SQLITE, {"uri": shop}, 'table = "orders"\nmode = "incremental"\ncursor = "city"')
check("SXT-3085" in told("sources/fault", 2), "a cursor that is text")
write("sources/fault.toml", f'type = "adbc"\ndriver = "{SQLITE}"\ntable = "orders"\n[secrets]\nuri = {{ env = "NOT_SET_ANYWHERE" }}\n')
check("SXT-3081" in told("sources/fault", 2), "a secret that is not set")
write("sources/fault.toml", f'type = "adbc"\ndriver = "{SQLITE}"\ntable = "orders"\n[options]\npassword = "x"\n')
check("[secrets]" in told("sources/fault", 2), "a secret that is written down")
(project / "sources" / "fault.toml").unlink()

# DuckDB's own library is a driver, and its types arrive.
lake = work / "lake.duckdb"
if DUCKDB.exists():
    with duckdb.connect() as database:
        # The library is older than the package: the file is made so that both can read it.
        database.execute(f"attach '{lake}' as lake (storage_version 'v1.0.0')")
        database.execute("""create table lake.typed as select n as id, n::decimal(12,3) / 7 as d, n % 2 = 0 as b,
            date '2026-01-01' + n::int as day, timestamp '2026-01-01' + interval (n) second as at,
            'x' || n as t, [n, n + 1] as list, {'a': n} as struct from range(1, 501) as numbers(n)""")
    source("typed", DUCKDB, {"path": lake}, 'table = "typed"')
    build("sources/typed")
    ours = rows("typed")
    check(len(ours) == 500 and ours[4]["day"] == datetime.date(2026, 1, 6) and ours[4]["b"] is False
          and ours[4]["list"] == [5, 6] and ours[4]["struct"] == {"a": 5}
          and ours[4]["at"].replace(tzinfo=None) == datetime.datetime(2026, 1, 1, 0, 0, 5), f"DuckDB: types arrive: {ours[4]}")
    source("grown", DUCKDB, {"path": lake}, 'table = "typed"\nmode = "incremental"\ncursor = "at"')
    build("sources/grown")
    with duckdb.connect(str(lake)) as database:
        database.execute("insert into typed select id + 500, d, b, day, \"at\" + interval 1 day, t, list, struct from typed")
    build("sources/grown")
    check([row["id"] for row in rows("grown")] == list(range(1, 1001)), "DuckDB: a time is a cursor")
else:
    print("   DuckDB's library is not here (npm): its part is skipped")

# Out: a model into SQLite and DuckDB, made anew and added to.
write("models/cities.sql", "select city, count(*) as orders, sum(price) as total from {{ source('orders', 'orders') }} group by city")


def export(name, driver, options, more, secrets=""):
    entries = "\n".join(f'{key} = "{value}"' for key, value in options.items())
    entrypoint = 'entrypoint = "duckdb_adbc_init"\n' if driver == DUCKDB else ""
    write(f"exports/{name}.toml", f'from = "cities"\ndriver = "{driver}"\n{entrypoint}{more}\n[options]\n{entries}\n{secrets}')


def model():
    found = run("data", "query", "select city, orders, total from cities", "--limit", 1000, project=project)["rows"]
    return sorted((tuple(row.values()) if isinstance(row, dict) else tuple(row) for row in found), key=str)


out = work / "out.db"
exported = lambda table: sorted(sqlite3.connect(out).execute(f"select city, orders, total from {table}").fetchall(), key=str)  # noqa: E731
build("models/cities")
export("cities", SQLITE, {"uri": out}, 'table = "cities"')
export("history", SQLITE, {"uri": out}, 'table = "history"\nmode = "append"')
build("exports/cities")
build("exports/history")
check(exported("cities") == model() and exported("history") == model(), "SQLite: a model is written")
first = model()
again = build("exports/history")
check(exported("history") == first, "SQLite: the same version is not added twice")
with sqlite3.connect(shop) as database:
    database.execute("update orders set city = 'Genf' where city = 'Bern'")
build("sources/orders")
build("models/cities")
build("exports/cities")
build("exports/history")
check(exported("cities") == model() != first, "SQLite: a new version takes the place of the old one")
check(exported("history") == sorted(first + model(), key=str), "SQLite: a new version is added")
# The act that recorded the append is lost, as after a crash: the warehouse remembers.
(project / "exports" / "history.toml").rename(project / "exports" / "again.toml")
text = (project / "exports" / "again.toml").read_text()
with sqlite3.connect(out) as database:
    database.execute("update sextant_exports set export_name = replace(export_name, 'history', 'again')")
build("exports/again")
check(exported("history") == sorted(first + model(), key=str), "SQLite: what a lost record had written is not added again")
chain = json.dumps(run("why", "exports/cities", project=project))
check('"table_version"' in chain and "adbc:libadbc_driver_sqlite.so:orders" in chain,
      "the chain of an export leads through its table to the source")
if DUCKDB.exists():
    into = work / "into.duckdb"
    export("duck", DUCKDB, {"path": into}, 'table = "cities"')
    build("exports/duck")
    with duckdb.connect(str(into), read_only=True) as database:
        found = sorted(database.execute("select city, orders, total from cities").fetchall(), key=str)
    check(found == model(), "DuckDB: a model is written")

# Snowflake's driver against a stand-in: it can be read. The stand-in takes no files, so no export.
fake = subprocess.Popen([sys.executable, "snowflake_stand_in.py"], stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
atexit.register(fake.kill)
at = json.loads(fake.stdout.readline())
options = {
    "username": "judge", "adbc.snowflake.sql.account": "fakesnow", "adbc.snowflake.sql.uri.protocol": "http",
    "adbc.snowflake.sql.uri.host": at["host"], "adbc.snowflake.sql.uri.port": str(at["port"]),
    "adbc.snowflake.sql.db": "db1", "adbc.snowflake.sql.schema": "public",
}


def snowflake(statement):
    """Runs a statement with the driver itself."""
    with adbc_driver_snowflake.dbapi.connect(db_kwargs={**options, "password": "x"}, autocommit=True) as connection:
        with connection.cursor() as cursor:
            cursor.execute(statement)


snowflake("create table orders (id int, city varchar, price double, placed timestamp_ntz)")
snowflake("insert into orders values (1, 'a', 1.5, '2026-01-01 00:00:00'), (2, null, 2.5, '2026-01-02 00:00:00')")
os.environ["ADBC_JUDGE_SNOW"] = environment["ADBC_JUDGE_SNOW"] = "x"
entries = "\n".join(f'"{key}" = "{value}"' for key, value in options.items())
for name, more in {"snow": "", "snow_grown": 'mode = "incremental"\ncursor = "id"\nplaceholder = "?"'}.items():
    write(f"sources/{name}.toml", f'type = "adbc"\ndriver = "{adbc_driver_snowflake._driver_path()}"\ntable = "orders"\n'
          f'{more}\n[options]\n{entries}\n[secrets]\npassword = {{ env = "ADBC_JUDGE_SNOW" }}\n')
    build(f"sources/{name}")
snowflake("insert into orders values (3, 'c', 3.5, '2026-01-03 00:00:00')")
for name in ("snow", "snow_grown"):
    build(f"sources/{name}")
    found = [(int(row["ID"]), row["CITY"], row["PRICE"]) for row in rows(name, order="ID")]
    check(found == [(1, "a", 1.5), (2, None, 2.5), (3, "c", 3.5)], f"Snowflake's driver and fakesnow: {name}")

# PostgreSQL, with a password that nobody may see.
if programs() is None:
    print("   PostgreSQL is not here (Debian's postgresql): its part is skipped")
    close(at_least=32)
server = Postgres(work / "postgres")
atexit.register(server.stop)
os.environ["ADBC_JUDGE_URI"] = environment["ADBC_JUDGE_URI"] = server.address
secrets = '[secrets]\nuri = { env = "ADBC_JUDGE_URI" }\n'
with psycopg.connect(server.address) as connection:
    connection.execute("create table sales (id bigint primary key, city text, price double precision, at timestamptz, day date)")
    connection.execute("insert into sales select n, 'city ' || n % 9, n / 8.0, timestamptz '2026-01-01 00:00Z' + n * interval '1 ms', date '2026-01-01' + n % 50 from generate_series(1, 70000) n")
write("sources/sales.toml", f'type = "adbc"\ndriver = "{POSTGRES}"\ntable = "sales"\nmode = "incremental"\ncursor = "at"\n{secrets}')
write("sources/whole.toml", f'type = "adbc"\ndriver = "{POSTGRES}"\nquery = "select id, city from sales where id <= 100"\nchanged_by = "select max(id) from sales"\n{secrets}')
build("sources/sales")
build("sources/whole")
check(len(rows("whole")) == 100, "PostgreSQL: the rows of a query are a table")
with psycopg.connect(server.address) as connection:
    connection.execute("insert into sales select n, 'late', n, timestamptz '2026-02-01 00:00Z' + n * interval '1 ms', null from generate_series(70001, 75000) n")
build("sources/sales")
with psycopg.connect(server.address) as connection:
    theirs = connection.execute("select id, city, price, at, day from sales order by id").fetchall()
check([tuple(row.values()) for row in rows("sales")] == theirs, "PostgreSQL: a table that grew holds every row once")
os.environ["ADBC_JUDGE_WRONG"] = environment["ADBC_JUDGE_WRONG"] = server.address.replace(PASSWORD, "not-the-word")
write("sources/locked.toml", f'type = "adbc"\ndriver = "{POSTGRES}"\ntable = "sales"\n[secrets]\nuri = {{ env = "ADBC_JUDGE_WRONG" }}\n')
said = told("sources/locked", 6)
check("SXT-3083" in said and "password authentication failed" in said, "PostgreSQL: a wrong password")
check("not-the-word" not in said, "the wrong password is not repeated")
(project / "sources" / "locked.toml").unlink()
for name, more in {"pg": 'table = "cities"', "pg_history": 'table = "history"\nmode = "append"'}.items():
    write(f"exports/{name}.toml", f'from = "models/cities"\ndriver = "{POSTGRES}"\n{more}\n{secrets}')
    build(f"exports/{name}")
with psycopg.connect(server.address) as connection:
    for table in ("cities", "history"):
        found = sorted(connection.execute(f"select city, orders, total from {table}").fetchall(), key=str)
        check(found == model(), f"PostgreSQL: a model is written into {table}")
    note = connection.execute("select export_name from sextant_exports").fetchall()
    check([name.split()[0] for (name,) in note] == ["exports/pg_history"], "PostgreSQL: what was added is noted beside it")
held = [path for path in (project / ".sextant").rglob("*") if path.is_file() and PASSWORD.encode() in path.read_bytes()]
check(held == [], "the password is in no file of the project")

close(at_least=44)
