"""Does a table equal a table of a real PostgreSQL server exactly, whatever is killed in between? It is
written by psycopg, read by deltalake and duckdb, and the rows are compared."""

import argparse
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import time

import duckdb
from product import BINARY, check, close, run
from served import served
from world import (
    FIRST_ROWS,
    PASSWORD,
    account,
    build,
    environment,
    files,
    mark,
    project,
    rows,
    same,
    server,
    source_rows,
    table,
    url,
    version,
    work,
    write_source,
)
from writer import Writer

arguments = argparse.ArgumentParser()
arguments.add_argument("--faults", type=int, default=30)
arguments.add_argument("--seed", type=int, default=7)
arguments.add_argument("parts", nargs="*", help="only these parts")
arguments = arguments.parse_args()
BIG_ROWS = 150_000
WIDE_ROWS = 600
# Held whole, these rows take more than 2,200 MB.
WIDE_MB_MAX = 1_900

random.seed(arguments.seed)


def exact():
    server.sql(
        "CREATE TABLE orders (id int PRIMARY KEY, name text, amount numeric(12,2), note text, "
        "at timestamptz, tags text[], doc jsonb, flag bool);"
        "ALTER TABLE orders ALTER note SET STORAGE EXTERNAL;"
        f"INSERT INTO orders SELECT g, 'first', g, 'n', now() FROM generate_series(1, {FIRST_ROWS}) g;"
        "CREATE TABLE items (a int, b text, c text, PRIMARY KEY (a, b));"
        "ALTER TABLE items REPLICA IDENTITY FULL"
    )
    write_source("orders", 'mode = "cdc"\n')
    write_source("items", 'mode = "cdc"\n')
    writer = Writer(arguments.seed)
    writer.start()
    killed, ended, crashes, ahead = 0, 0, 0, 0
    # About how long a build takes: it grows with each kill, so that builds come further and further.
    usual = {"orders": 3.0, "items": 1.0}
    for fault in range(arguments.faults):
        name = "items" if fault % 4 == 3 else "orders"
        begun = time.monotonic()
        process = subprocess.Popen(
            [BINARY, "build", f"sources/{name}"],
            cwd=project, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        if fault % 10 == 5:
            time.sleep(random.uniform(0.1, usual[name]))
            server.stop(signal.SIGQUIT)
            server.start()
            crashes += 1
        try:
            process.wait(random.uniform(0.1, usual[name]))
            ended += 1
            usual[name] = max(0.5, time.monotonic() - begun)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            killed += 1
            usual[name] = min(20, usual[name] * 1.2)
        slots = server.sql("SELECT slot_name, confirmed_flush_lsn - '0/0' FROM pg_replication_slots")
        for slot, confirmed in slots:
            landed = mark(slot.removeprefix("sextant_"))
            ahead += landed is not None and confirmed is not None and int(confirmed) > landed
    writer.running = False
    writer.join()
    print(
        f"   seed {arguments.seed}: {killed} builds killed, {ended} ended before, {crashes} crashes of "
        f"the server, {writer.transactions} transactions"
    )
    check(killed >= arguments.faults // 4, f"at least a quarter of the builds were killed ({killed})")
    for name in ("orders", "items"):
        build(name)
        same(name, f"`{name}` equals the source exactly")
        state = account(name)
        even = state["arrived"] == state["landed"] + state["quarantined"] and state["arrived"]
        check(even, f"arrived = landed + quarantined ({state['arrived']} changes)")
    check(ahead == 0, "no slot was acknowledged beyond its table's mark")
    print(f"   `orders` landed in {version('orders') + 1} commits, `items` in {version('items') + 1}")
    counted = duckdb.sql("SELECT count(*), count(DISTINCT id), sum(amount) FROM f", connection=files("orders"))
    wanted = server.sql("SELECT count(*), count(*), sum(amount) FROM orders")[0]
    check(counted.fetchall()[0] == wanted, f"duckdb counts the same {wanted}")
    before = version("orders")
    build("orders")
    check(version("orders") == before, "a build without changes adds no version")
    why = json.dumps(run("why", "sources/orders", project=project), ensure_ascii=False)
    check("postgres:public.orders" in why and "LSN " in why, "`why` shows the table and the LSNs")


def big():
    before = version("orders")
    with server.connect() as connection, connection.transaction():
        connection.execute(
            "INSERT INTO orders (id, name, note) SELECT g, 'big', repeat('x', 200) "
            f"FROM generate_series(10000000, {10_000_000 + BIG_ROWS}) g"
        )
        connection.execute("UPDATE orders SET flag = true, note = NULL WHERE id > 10000000 AND id % 3 = 0")
    build("orders")
    same("orders", "a large transaction lands whole")
    check(version("orders") == before + 1, "and in one commit")
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10
    print(f"   {BIG_ROWS * 4 // 3} changes in one transaction; most memory of any build: {most} MB")


def memory_of_a_build(name):
    """Builds and gives the most memory that took, in MB."""
    process = subprocess.Popen(
        [BINARY, "build", f"sources/{name}"], cwd=project, env=environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    check(process.returncode == 0, f"`{name}` is built")
    return used.ru_maxrss >> 10


def large():
    server.sql("CREATE TABLE wide (id int PRIMARY KEY, body text, n int); "
               "ALTER TABLE wide ALTER body SET STORAGE EXTERNAL")  # fmt: skip
    write_source("wide", 'mode = "cdc"\n')
    build("wide")
    with server.connect() as connection, connection.transaction():
        connection.execute(
            f"INSERT INTO wide SELECT g, repeat(md5(g::text), 32768), 0 FROM generate_series(1, {WIDE_ROWS}) g"
        )
        connection.execute("UPDATE wide SET n = 1")
        connection.execute("UPDATE wide SET n = 2 WHERE id % 7 = 0")
    waiting = memory_of_a_build("wide")
    server.sql("UPDATE wide SET n = 3 WHERE id % 2 = 0")
    landed = memory_of_a_build("wide")
    hashed = "SELECT id, md5(body), n FROM"
    ours = sorted(duckdb.sql(f"{hashed} f", connection=files("wide")).fetchall())
    check(ours == sorted(server.sql(f"{hashed} wide")), f"{WIDE_ROWS} rows of 1 MB that were not sent again are whole")
    told = f"taken from the transaction in {waiting} MB of memory, from the table in {landed} MB"
    check(max(waiting, landed) < WIDE_MB_MAX, told)
    server.sql("SELECT pg_drop_replication_slot('sextant_wide'); DROP TABLE wide")


def stopped_before_the_mark(name, before):
    """The project as a build leaves it that is stopped before its last commit: `before` is a copy of its
    data from before the build, `kept` a copy of its slot."""
    data, landed = project / ".sextant", work / "landed"
    last = version(name)
    shutil.move(data / "tables" / f"sources-{name}", landed)
    for left in [*(landed / "_delta_log").glob(f"{last:020}*"), landed / "_delta_log" / "_last_checkpoint"]:
        left.unlink(missing_ok=True)
    shutil.rmtree(data)
    shutil.move(before, data)
    shutil.rmtree(data / "tables" / f"sources-{name}")
    shutil.move(landed, data / "tables" / f"sources-{name}")
    server.sql(f"SELECT pg_drop_replication_slot('sextant_{name}')")
    server.sql(f"SELECT pg_copy_logical_replication_slot('kept', 'sextant_{name}')")
    server.sql("SELECT pg_drop_replication_slot('kept')")


def shapes():
    server.sql("SELECT pg_copy_logical_replication_slot('sextant_items', 'kept')")
    before = shutil.copytree(project / ".sextant", work / "before")
    with server.connect() as connection, connection.transaction():
        connection.execute("INSERT INTO items VALUES (900, 'before', 'x')")
        connection.execute("ALTER TABLE items ADD COLUMN d int, ADD COLUMN e text DEFAULT 'old', "
                           "ADD COLUMN f timestamp")  # fmt: skip
        connection.execute("INSERT INTO items VALUES (901, 'after', 'x', 5, 'new', '2026-01-02 03:04:05')")
    build("items")
    same("items", "columns that were added are there, with their old default")
    stopped_before_the_mark("items", before)
    server.sql("INSERT INTO items VALUES (905, 'later', 'x', 6, 'newer', NULL)")
    check("f" in rows("items")[1] and mark("items") == account("items")["marks"]["lsn"], "half landed:")
    build("items")
    same("items", "a build that was stopped before it moved the mark is made good by the next one")
    server.sql("UPDATE items SET e = NULL WHERE a = 900; ALTER TABLE items DROP COLUMN c")
    check("SXT-3055" in json.dumps(build("items", expect=5)), "a dropped column stops the build")
    write_source("items", 'mode = "cdc"\non_lost = "copy"\n')
    build("items")
    same("items", "with on_lost = copy it is copied again")
    server.sql("INSERT INTO items VALUES (902, 'x')")
    build("items")
    same("items", "and followed from there")
    server.sql("SELECT pg_drop_replication_slot('sextant_items'); INSERT INTO items VALUES (903, 'x')")
    build("items")
    same("items", "so it is after its slot was dropped")


def lost():
    server.sql("INSERT INTO orders (id) VALUES (-1)")
    server.sql("SELECT pg_replication_slot_advance('sextant_orders', pg_current_wal_lsn())")
    check("SXT-3054" in json.dumps(build("orders", expect=5)), "a slot that somebody moved is noticed")
    server.sql("SELECT pg_drop_replication_slot('sextant_orders')")
    check("SXT-3054" in json.dumps(build("orders", expect=5)), "a slot that is gone is noticed")
    server.sql("SELECT pg_create_logical_replication_slot('sextant_other', 'pgoutput')")
    server.sql("CREATE TABLE other (id int PRIMARY KEY)")
    write_source("other", 'mode = "cdc"\n')
    check("SXT-3053" in json.dumps(build("other", expect=2)), "a slot of somebody else is not taken")
    left = server.sql("SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'sextant_other'")
    check(left == [(1,)], "and not dropped")
    server.sql("SELECT pg_drop_replication_slot('sextant_other')")


TYPES = {
    "int2": ["-32768", None], "int8": ["9223372036854775807"], "float4": ["1.5", "'NaN'"],
    "float8": ["1e-300", "'-Infinity'"], "numeric(20,3)": ["12345678901234567.891", "-0.001"],
    "numeric": ["123456789012345678901234567890.123456789"], "bool": ["true", "false"],
    "text": ["''", "E'a\\tb\\n\\\\ü'"], "varchar(9)": ["'x'"], "char(3)": ["'a'"], "uuid":
    ["'00112233-4455-6677-8899-aabbccddeeff'"], "bytea": ["'\\x00ff'", "''"], "date": ["'2024-02-29'"],
    "timestamp": ["'2026-11-23 10:00:00.123456'"], "timestamptz": ["'1969-12-31 23:59:59.5+02'"],
    "time": ["'10:00:00.5'"], "interval": ["'1 mon 2 days'"], "json": ["'{\"a\": 1}'"], "jsonb":
    ["'[1, \"x\"]'"], "mood": ["'happy'"], "pay": ["12.50"], "int4range": ["'[1,5)'"], "inet": ["'10.1.0.0/16'"],
}  # fmt: skip


def types():
    server.sql("CREATE TYPE mood AS ENUM ('happy'); CREATE DOMAIN pay AS numeric(9,2)")
    columns = [f'"c {number}" {kind}'.replace("c ", "c") for number, kind in enumerate(TYPES)]
    server.sql(f"CREATE TABLE kinds (id int PRIMARY KEY, {', '.join(columns)}, l int[], m text[])")
    for number in range(2):
        values = [str((*them, None, None)[number] or "NULL") for them in TYPES.values()]
        server.sql(f"INSERT INTO kinds VALUES ({number}, {', '.join(values)}, '{{{{1,NULL}},{{3,4}}}}', "
                   "ARRAY['a', 'b \"c', NULL, 'NULL'])")  # fmt: skip
    casts = ", ".join(
        f"c{number}::text" if kind in ("float4", "time", "interval", "json", "jsonb", "uuid", "int4range", "inet")
        else f"c{number}" for number, kind in enumerate(TYPES)
    )  # fmt: skip
    lists = "'[[1,null],[3,4]]' AS l, '[\"a\",\"b \\\"c\",null,\"NULL\"]' AS m"
    for mode in ("snapshot", "cdc"):
        write_source(f"kinds_{mode}", f'mode = "{mode}"\n', table="kinds")
        if mode == "cdc":
            build("kinds_cdc")
            server.sql("UPDATE kinds SET id = id + 10; UPDATE kinds SET id = id - 10")
        build(f"kinds_{mode}")
        ours, _ = rows(f"kinds_{mode}")
        theirs, _ = source_rows(f"SELECT id, {casts}, {lists} FROM kinds")
        ours = [tuple("nan" if value == "NaN" else value for value in row) for row in ours]
        theirs = [tuple("nan" if value == "NaN" else value for value in row) for row in theirs]
        pairs = [pair for left, right in zip(ours, theirs) for pair in zip(left, right)]
        differ = [pair for pair in pairs if pair[0] != pair[1]]
        check(not differ and len(ours) == 2, f"{mode}: every type keeps its values {differ or ''}")


def quarantine():
    server.sql("CREATE TABLE bad (id int PRIMARY KEY, day date)")
    write_source("bad", 'mode = "cdc"\n')
    build("bad")
    server.sql("BEGIN; INSERT INTO bad VALUES (9, now()); DELETE FROM bad WHERE id = 9; COMMIT")
    build("bad")
    server.sql("INSERT INTO bad VALUES (1, now()), (2, 'infinity')")
    build("bad")
    same("bad", "changes that leave nothing move the mark as well", "SELECT * FROM bad WHERE id = 1")
    server.sql("UPDATE bad SET day = '-infinity' WHERE id = 1")
    build("bad")
    held = table("bad__quarantine").to_pyarrow_table().to_pylist()
    check(len(rows("bad")[0]) == 0 and len(held) == 2, "rows with infinite dates wait in quarantine")
    payload = json.loads(held[-1]["payload"])
    check(payload["row"]["day"].endswith("infinity") and "/" in payload["lsn"], "with their values and LSN")
    server.sql("UPDATE bad SET day = '2026-01-01' WHERE id = 1; DELETE FROM bad WHERE id = 2")
    build("bad")
    same("bad", "a later change that fits brings the row in")
    state = account("bad")
    check(state["arrived"] == state["landed"] + state["quarantined"] == 7, "the account is even")
    server.sql("INSERT INTO bad VALUES (3, 'infinity')")
    write_source("bad", 'mode = "cdc"\non_unfit = "null"\n')
    build("bad")
    finite = "SELECT id, CASE WHEN isfinite(day) THEN day END AS day FROM bad"
    same("bad", "under another rule it is copied again", finite)
    check(len(table("bad__quarantine").to_pyarrow_table()) == 0, "and nothing waits any more")


def replays():
    """Rows with values that are not sent again: 1 is repaired, 2 was complete once, 3 is deleted, 4 is
    inserted again under the key of one that was deleted."""
    server.sql("CREATE TABLE held (id int PRIMARY KEY, day date, body text, tags text[]); "
               "ALTER TABLE held ALTER body SET STORAGE EXTERNAL")  # fmt: skip
    write_source("held", 'mode = "cdc"\n')
    server.sql("INSERT INTO held VALUES (2, now(), repeat('two', 1000), ARRAY['a', NULL]), (5, now(), 'five', NULL)")
    build("held")
    body = "repeat('long', 1000)"
    server.sql(f"INSERT INTO held SELECT g, 'infinity', {body} FROM generate_series(1, 4) g WHERE g <> 2")
    build("held")
    server.sql("UPDATE held SET day = '2026-01-01' WHERE id = 1; UPDATE held SET day = 'infinity' WHERE id = 2; "
               "DELETE FROM held WHERE id IN (3, 4); INSERT INTO held VALUES (4, '-infinity', 'new')")  # fmt: skip
    server.sql("ALTER TABLE held ADD COLUMN late text DEFAULT 'old'; INSERT INTO held VALUES (6, now())")
    build("held")
    check([row[0] for row in rows("held")[0]] == [5, 6], "what is incomplete or does not fit is not in the table")
    copied = account("held")["note"]["copied"]
    first = run("data", "replay", "sources/held", project=project)
    check((first["passed"], first["failed"]) == (2, 3), f"what was repaired is put in, with its large value {first}")
    write_source("held", 'mode = "cdc"\non_unfit = "null"\n')
    done = run("data", "replay", "sources/held", project=project)
    check((done["passed"], done["failed"]) == (3, 0), f"under another rule what waits is put in {done}")
    kept = ("id", "CASE WHEN isfinite(day) THEN day END AS day", "body", "to_json(tags)::text AS tags", "late")
    finite = f"SELECT {', '.join(kept)} FROM held"
    same("held", "each once, with all values, and nothing that was deleted", finite)
    server.sql("UPDATE held SET day = '2026-02-02' WHERE id = 2")
    build("held")
    same("held", "and they are followed from there", finite)
    check(account("held")["note"]["copied"] == copied, "without another copy")
    waiting = run("data", "quarantine", "sources/held", project=project)["waiting"]
    check(waiting == 0, "nothing waits any more")


def batches():
    server.sql("CREATE TABLE facts (id int PRIMARY KEY, v text, seen timestamptz)")
    server.sql("INSERT INTO facts SELECT g, 'a', '2026-01-01' FROM generate_series(1, 1000) g")
    write_source("facts_all", table="facts")
    write_source("facts_new", 'mode = "incremental"\ncursor = "seen"\n', table="facts")
    select = "SELECT * FROM facts"
    for name in ("facts_all", "facts_new"):
        build(name)
        same(name, f"{name}: the first copy", select)
    server.sql("UPDATE facts SET v = 'b', seen = '2026-01-02' WHERE id < 10; "
               "INSERT INTO facts VALUES (2000, 'late', '2026-01-01')")  # fmt: skip
    build("facts_all")
    same("facts_all", "a snapshot has all again", select)
    build("facts_new")
    same("facts_new", "incremental has what is new, and what came late at the same cursor", select)
    before = [version("facts_all"), version("facts_new")]
    server.sql("CREATE TABLE noise (a int); INSERT INTO noise VALUES (1)")
    build("facts_all")
    build("facts_new")
    check(before == [version("facts_all"), version("facts_new")], "the same rows make no new version")
    write_source("asked", "query = \"SELECT v, count(*) AS n FROM facts GROUP BY v\"\n", table="")
    build("asked")
    same("asked", "a query is a source", "SELECT v, count(*) AS n FROM facts GROUP BY v")


def errors():
    server.sql("CREATE TABLE keyless (a int)")
    write_source("keyless", 'mode = "cdc"\n')
    check("SXT-3053" in json.dumps(build("keyless", expect=2)), "a table without a key is refused")
    write_source("absent")
    check("SXT-3052" in json.dumps(build("absent", expect=4)), "a table that is not there is named")
    write_source("wrong", table="facts", where=url("wrong${JUDGE_PASSWORD}"))
    check("SXT-3051" in json.dumps(build("wrong", expect=7)), "a wrong password is refused")
    if server.ca:
        shutil.copy(server.ca, project / "ca.pem")
        secure = url(query="?sslmode=verify-full")
        write_source("secure", 'ca_file = "ca.pem"\n', table="facts", where=secure)
        build("secure")
        same("secure", "over TLS with a certificate that is known", "SELECT * FROM facts")
        write_source("insecure", table="facts", where=secure)
        check("SXT-3051" in json.dumps(build("insecure", expect=7)), "one that is not known is refused")
    write_source("written", table="facts", where=url("written-down"))
    failed = subprocess.run(
        [BINARY, "build", "sources/written"],
        cwd=project, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    check("a secret must be a reference" in failed.stderr, "a password in the file is refused")
    (project / "sources" / "written.toml").unlink()
    secret = PASSWORD.encode()
    stored = [path for path in project.rglob("*") if path.is_file()]
    check(not any(secret in path.read_bytes() for path in stored), "the password is stored nowhere")
    server.stop()
    check("SXT-3050" in json.dumps(build("facts_all", expect=6)), "no server is said as such")


parts = (exact, big, large, shapes, lost, types, quarantine, replays, batches, served, errors)
for part in parts:
    if arguments.parts and part.__name__ not in arguments.parts:
        continue
    started = time.monotonic()
    part()
    print(f"   {part.__name__}: {time.monotonic() - started:.0f} s")
close(at_least=1 if arguments.parts else 60)
