"""Are tables in a bucket what they are on a disk, also when the store fails? The server of S3 is moto's,
a proxy before it loses answers and cuts bodies, and deltalake, polars and duckdb read the tables.

S3_STATEMENTS=2000 and S3_SEED=1 make a longer run, and another one."""

import atexit
import os
import pathlib
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import boto3
import duckdb
import polars
from deltalake import CommitProperties, DeltaTable, write_deltalake
from product import BINARY, check, close, run
from proxy import Proxy

STATEMENTS = int(os.environ.get("S3_STATEMENTS", "30"))
SEED = int(os.environ.get("S3_SEED", "7"))
WRITERS = 32
RATE = 0.08
BUCKET = "lake"
URL = f"s3://{BUCKET}/judged/tables"
KEYS = {"LAKE_KEY_ID": "the-id-of-the-judge", "LAKE_SECRET": "the-secret-of-the-judge"}
os.environ.update(KEYS)

random = random.Random(SEED)
work = pathlib.Path(tempfile.mkdtemp(prefix="sextant-s3-"))
atexit.register(shutil.rmtree, work, ignore_errors=True)
project = work / "project"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_store():
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    atexit.register(process.kill)
    for _ in range(300):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/moto-api/", timeout=1).read()
            return port
        except OSError:
            time.sleep(0.1)
    sys.exit("moto's server did not start")


port = start_store()
s3 = boto3.client(
    "s3",
    endpoint_url=f"http://127.0.0.1:{port}",
    region_name="us-east-1",
    aws_access_key_id=KEYS["LAKE_KEY_ID"],
    aws_secret_access_key=KEYS["LAKE_SECRET"],
)
s3.create_bucket(Bucket=BUCKET)
proxy = Proxy(("127.0.0.1", port), SEED)
options = {
    "AWS_ENDPOINT_URL": proxy.address,
    "AWS_ALLOW_HTTP": "true",
    "AWS_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": KEYS["LAKE_KEY_ID"],
    "AWS_SECRET_ACCESS_KEY": KEYS["LAKE_SECRET"],
}


def make_project(folder, url=URL, more=""):
    (folder / "sources").mkdir(parents=True, exist_ok=True)
    (folder / "models").mkdir(exist_ok=True)
    (folder / "sextant.toml").write_text(
        f'[project]\nname = "judged"\n[tables]\nurl = "{url}"\n{more}'
        f'[tables.s3]\nendpoint = "{proxy.address}"\n'
        'access_key_id = { env = "LAKE_KEY_ID" }\nsecret_access_key = { env = "LAKE_SECRET" }\n'
    )
    return folder


def sql(statement, expect=0):
    return run("sql", statement, "--limit", 100_000, project=project, expect=expect)


def tried(*arguments, kill_after=None):
    """Runs the binary and says whether it ended well; it may fail, and may be killed."""
    process = subprocess.Popen(
        [BINARY, *map(str, arguments), "--json"],
        cwd=project,
        env={k: v for k, v in os.environ.items() if k != "SEXTANT_PROJECT"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        _, errors = process.communicate(timeout=kill_after or 300)
        return process.returncode == 0, errors
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return False, "killed"


def refused(folder, code, status):
    """Whether a project is refused with this code and this exit status."""
    done = subprocess.run(
        [BINARY, "data", "tables"],
        cwd=folder,
        env={k: v for k, v in os.environ.items() if k != "SEXTANT_PROJECT"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode == status and code in done.stderr


def address(table):
    return f"{URL}/{table}"


def readers(table, columns, version=None):
    """What each reader sees of a table: its rows in order."""
    delta = DeltaTable(address(table), version=version, storage_options=options)
    frame = polars.read_delta(address(table), version=version, storage_options=options)
    files = []
    for uri in delta.file_uris():
        name = work / "read" / uri.rsplit("/", 1)[1]
        name.parent.mkdir(exist_ok=True)
        s3.download_file(BUCKET, uri.split(f"{BUCKET}/", 1)[1], str(name))
        files.append(str(name))
    rows = delta.to_pyarrow_table().to_pylist()
    return {
        "deltalake": sorted(tuple(row[c] for c in columns) for row in rows),
        "polars": sorted(frame.select(columns).rows()),
        "duckdb": sorted(duckdb.read_parquet(files).select(*columns).fetchall()) if files else [],
    }


def same(what, name, table, columns, version=None):
    source = name if version is None else f"version_of('{name}', {version})"
    ours = sorted(map(tuple, sql(f"select {', '.join(columns)} from {source}")["rows"]))
    for reader, theirs in readers(table, columns, version).items():
        check(ours == theirs, f"{what}: {reader} sees our {len(ours)} rows")


def every_operation():
    columns = ("id", "word")
    for step, statement in {
        "made": "create table words as select value as id, 'w' || value as word "
        "from generate_series(1, 500) as t (value)",
        "inserted": "insert into words values (1001, 'new'), (1002, null)",
        "deleted": "delete from words where id % 3 = 0",
        "updated": "update words set word = upper(word) where id < 50",
        "merged": "merge into words as w using (select value as id from generate_series(495, 505) "
        "as t (value)) as s on w.id = s.id when matched then delete "
        "when not matched then insert (id, word) values (s.id, 'merged')",
        "with a column more": "alter table words add column note text",
    }.items():
        sql(statement)
        same(step, "words", "tables-words", columns)
    run("data", "tag", "kept", "words@1", project=project)
    run("data", "compact", "words", project=project)
    same("compacted", "words", "tables-words", columns)
    run("data", "restore", "words", "2", project=project)
    same("restored", "words", "tables-words", columns)
    report = run("data", "gc", "--older-than", "0s", project=project)
    check(report["files"] > 0, f"gc removed {report['files']} files")
    same("after gc", "words", "tables-words", columns)
    same("the tagged version after gc", "words", "tables-words", columns, version=1)
    run("data", "show", "words@0", project=project, expect=4)
    late = polars.DataFrame({"id": [9001], "word": ["foreign"]})
    late.write_delta(address("tables-words"), mode="append", storage_options=options)
    same("written by another program", "words", "tables-words", columns)
    check(not (project / ".sextant" / "tables").exists(), "no table is on the disk")
    report = run("fsck", project=project)
    check(not report.get("problems"), "fsck finds nothing")


def built_tables():
    (project / "sources" / "orders.toml").write_text(
        'type = "files"\nformat = "jsonl"\npath = "data"\n[schema]\nn = "bigint"\n'
    )
    (project / "models" / "twice.sql").write_text(
        "select n * 2 as n from {{ source('orders', 'orders') }}"
    )
    (project / "data").mkdir()
    (project / "data" / "0.jsonl").write_text('{"n": 1}\n{"n": "damaged"}\n{"n": 2}\n')
    time.sleep(0.1)
    run("build", project=project)
    same("a source's table", "orders", "sources-orders", ("n",))
    same("a model's table", "twice", "models-twice", ("n",))
    again = run("build", project=project)
    states = {asset["outcome"] for asset in again["assets"]}
    check(states <= {"fresh", "unchanged"}, f"a second build finds all as it is {states}")


def failing_store():
    """Statements and builds while the store fails: what was acknowledged is there once, what was not is
    there once or not at all."""
    sql("create table ledger (id bigint, word text)")
    for name in ("left_side", "right_side"):
        sql(f"create table {name} (id bigint)")
    together = set()
    proxy.rate, begun = RATE, time.monotonic()
    acknowledged, uncertain, killed, records, reasons = set(), set(), 0, 2, []
    for number in range(STATEMENTS):
        kill_after = random.uniform(0.2, 2.0) if number % 10 == 7 else None
        done, errors = tried(
            "sql", f"insert into ledger values ({number}, 'x')", kill_after=kill_after
        )
        (acknowledged if done else uncertain).add(number)
        if not done:
            reasons.append(errors.strip().splitlines()[-1][:160])
        killed += errors == "killed"
        if number % 3 == 2:
            block = (f"begin; insert into left_side values ({number}); "
                     f"insert into right_side values ({number}); commit")
            kill_after = random.uniform(0.2, 2.0) if number % 2 else None
            if tried("sql", block, kill_after=kill_after)[0]:
                together.add(number)
        if number % 10 == 5:
            (project / "data" / f"{number}.jsonl").write_text(f'{{"n": {1000 + number}}}\n')
            records += 1
            tried("build")
    proxy.rate = 0.0
    faults = ", ".join(f"{name} {count}" for name, count in proxy.done.items())
    took = time.monotonic() - begun
    print(f"   seed {SEED}: {len(acknowledged)} acknowledged, {len(uncertain)} not, {killed} killed, "
          f"{took:.0f} s; faults: {faults}")
    for reason in sorted(set(reasons)):
        print(f"   not acknowledged: {reason}")
    run("build", project=project)
    ids = [row[0] for row in sql("select id from ledger")["rows"]]
    check(len(ids) == len(set(ids)), f"no row is there twice ({len(ids)} rows)")
    check(acknowledged <= set(ids), f"all of {len(acknowledged)} acknowledged rows are there")
    check(set(ids) <= acknowledged | uncertain, "no other row is there")
    check(len(acknowledged) >= STATEMENTS // 2, "most statements came through")
    check(all(proxy.done.values()), "every fault happened")
    sides = [[row[0] for row in sql(f"select id from {name}")["rows"]]
             for name in ("left_side", "right_side")]
    check(sorted(sides[0]) == sorted(sides[1]) and len(sides[0]) == len(set(sides[0])),
          f"transactions are in both tables or in none ({len(sides[0])})")
    check(together <= set(sides[0]), f"all of {len(together)} acknowledged transactions are there")
    same("the ledger", "ledger", "tables-ledger", ("id", "word"))
    landed = [row[0] for row in sql("select n from orders")["rows"]]
    check(len(landed) == len(set(landed)) == records, f"each of {records} records landed once")
    report = run("fsck", project=project)
    check(not report.get("problems"), "fsck finds nothing after it")


def lost_answers():
    """Every second commit is made and its answer lost, so that the client asks again."""
    sql("create table lost (id bigint)")
    is_commit = lambda request: request.command == "PUT" and "/_delta_log/0" in request.path
    proxy.only, proxy.rate = is_commit, 0.5
    done = [number for number in range(12) if tried("sql", f"insert into lost values ({number})")[0]]
    proxy.only, proxy.rate = None, 0.0
    ids = sorted(row[0] for row in sql("select id from lost")["rows"])
    check(len(ids) == len(set(ids)) and set(done) <= set(ids), f"lost answers double nothing ({ids})")


def serve():
    log = (work / "server.log").open("w")
    process = subprocess.Popen(
        [BINARY, "serve", "--port", "0"],
        cwd=project,
        env={k: v for k, v in os.environ.items() if k != "SEXTANT_PROJECT"},
        stdout=log,
        stderr=log,
    )
    atexit.register(process.kill)
    for _ in range(300):
        if (project / ".sextant" / "server.json").exists():
            done, _ = tried("data", "tables")
            if done:
                return process
        time.sleep(0.1)
    sys.exit(f"the server did not start: {(work / 'server.log').read_text()}")


def many_writers():
    """Half of the writers are ours, half are deltalake's, all on one table at once."""
    sql("create table crowd (id bigint)")
    server = serve()
    written, lock = [], threading.Lock()

    def ours(writer):
        for turn in range(2):
            number = writer * 100 + turn
            if tried("sql", f"insert into crowd values ({number})")[0]:
                with lock:
                    written.append(number)

    def theirs(writer):
        for turn in range(2):
            number = writer * 100 + turn
            rows = polars.DataFrame({"id": [number]}).to_arrow()
            try:
                write_deltalake(
                    address("tables-crowd"),
                    rows,
                    mode="append",
                    storage_options=options,
                    commit_properties=CommitProperties(max_commit_retries=200),
                )
            except Exception as error:  # a writer that gives up has written nothing
                print(f"   deltalake gave up: {str(error)[:100]}")
                continue
            with lock:
                written.append(number)

    threads = [
        threading.Thread(target=ours if writer % 2 else theirs, args=(writer,))
        for writer in range(WRITERS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = DeltaTable(address("tables-crowd"), storage_options=options).to_pyarrow_table()
    found = found.column("id").to_pylist()
    check(sorted(found) == sorted(written), f"{len(written)} rows of {WRITERS} writers are there once")
    check(len(written) >= 2 * WRITERS - 4, "nearly every writer came through")
    sql("insert into crowd values (-1)")
    ours = [row[0] for row in sql("select id from crowd where id >= 0")["rows"]]
    check(sorted(ours) == sorted(written), "our catalog has the same rows")
    server.terminate()
    server.wait(30)


def refusals():
    other = make_project(work / "other")
    check(refused(other, "SXT-3074", 5), "another data folder is refused")
    proxy.forgets_conditions = True
    careless = make_project(work / "careless", url=f"s3://{BUCKET}/careless")
    check(refused(careless, "SXT-3072", 2), "a store without conditional put is refused")
    make_project(careless, url=f"s3://{BUCKET}/careless", more="single_writer = true\n")
    run("sql", "create table t as select 1 as a", project=careless)
    rows = run("sql", "select a from t", project=careless)["rows"]
    check(rows == [[1]], "it is taken when the project says that it is the only writer")
    proxy.forgets_conditions = False
    unreachable = make_project(work / "unreachable", url="s3://no-such-bucket/x")
    check(refused(unreachable, "SXT-3071", 6), "a bucket that is not there is named")
    stored = "".join(
        path.read_text(errors="replace")
        for path in (project / ".sextant").rglob("*")
        if path.is_file() and path.stat().st_size < 50_000_000
    )
    check(KEYS["LAKE_SECRET"] not in stored, "the secret is stored nowhere")


make_project(project)
every_operation()
built_tables()
lost_answers()
failing_store()
many_writers()
refusals()
close(at_least=60)
