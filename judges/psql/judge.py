"""Do psql and psycopg, which know nothing of Sextant, read its tables over the PostgreSQL wire?"""

import datetime
import os
import re
import signal
import subprocess
import tempfile
import time

import psycopg

from product import ARTIFACTS, PROJECT, check, close, run

log = (ARTIFACTS / "server.log").read_text()
port = re.search(r"postgresql://127\.0\.0\.1:(\d+)/", log).group(1)
environment = {**os.environ, "PGHOST": "127.0.0.1", "PGPORT": port, "PGUSER": "judge", "PGDATABASE": "sextant"}


def psql(*arguments, expect=0):
    """What psql prints; it reads no file of the user's."""
    done = subprocess.run(
        ["psql", "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", *arguments],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )
    if done.returncode != expect:
        check(False, f"psql {arguments}: exit {done.returncode}: {done.stderr}")
    return done.stdout + done.stderr


tables = run("data", "tables")["tables"]
sections = next(table for table in tables if "sections" in table["names"])
rows = sections["rows"]

listed = psql("-c", r"\dt")
check("public|sections|table" in listed, r"\dt lists the tables")
described = psql("-c", r"\d sections")
for column in sections["columns"]:
    check(f"{column['name']}|" in described, rf"\d shows the column {column['name']}")
for command in (r"\d+ sections", r"\du", r"\l", r"\dn"):
    check(psql("-c", command).strip() != "", f"{command} is answered")
check(psql("-c", "select count(*) from sections").strip() == str(rows), "a query counts the rows")

with tempfile.TemporaryDirectory() as folder:
    target = os.path.join(folder, "sections.csv")
    psql("-c", rf"\copy (select heading from sections) to '{target}' with csv header")
    with open(target, encoding="utf-8") as file:
        check(file.readline().strip() == "heading", r"\copy writes a header and the rows")

told = psql("-v", "VERBOSITY=verbose", "-c", "select wrong from sections", expect=1)
check("42703" in told and "SXT-3003" in told and "LINE 1" in told, "an error has its state, code and place")
told = psql("-v", "VERBOSITY=verbose", "-c", "drop table sections", expect=1)
check("25006" in told and "SXT-7104" in told, "what writes is refused")

# Ctrl-C: a query that would take very long is stopped, and psql says why.
long = "select count(*) from generate_series(1, 1000000000000) as numbers(n) where n % 7 = 3"
child = subprocess.Popen(
    ["psql", "-X", "-c", long], env=environment,
    stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
)
time.sleep(2)
child.send_signal(signal.SIGINT)
_, said = child.communicate(timeout=60)
check("canceling statement due to user request" in said, "Ctrl-C stops a query")

query = """select 1::int as i, 2::bigint as b, 1.5::double precision as f, 'é'::text as t,
  true as yes, timestamp '2026-11-23 10:00:00.25' as at, date '2000-02-29' as d, null::text as n"""
expected = (1, 2, 1.5, "é", True, datetime.datetime(2026, 11, 23, 10, 0, 0, 250000),
            datetime.date(2000, 2, 29), None)
with psycopg.connect(f"host=127.0.0.1 port={port} user=judge dbname=sextant") as connection:
    for binary in (False, True):
        with connection.cursor(binary=binary) as cursor:
            found = cursor.execute(query).fetchone()
            check(found == expected, f"psycopg reads the types in {'binary' if binary else 'text'}")
            for number in range(8):  # from the sixth on, psycopg prepares it
                cursor.execute("select count(*) from sections where ordinal >= %s", (number,))
            check(cursor.fetchone()[0] <= rows, "a statement that is prepared runs again")
            cursor.execute("select heading from sections where heading = %s limit 1", ("Streaming",))
            check(cursor.fetchone() == ("Streaming",), "text is passed as a parameter")
    try:
        connection.execute("insert into sections select * from sections")
        check(False, "psycopg is refused what writes")
    except psycopg.errors.ReadOnlySqlTransaction:
        check(True, "psycopg is refused what writes")
    connection.rollback()
    with connection.cursor().copy("copy (select 1, null) to stdout") as copy:
        check(list(copy.rows()) == [("1", None)], "psycopg copies rows out")

key = (PROJECT / ".sextant" / "admin.key").read_text().strip()
with psycopg.connect(f"host=127.0.0.1 port={port} user=judge password={key}") as connection:
    check(connection.execute("select 1").fetchone() == (1,), "a key is accepted as the password")

close(at_least=18)
