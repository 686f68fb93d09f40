"""Loads the tables, runs every query in both engines in turn, compares rows and prints times."""

import decimal
import json
import multiprocessing
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import time

import duckdb
import psycopg

TABLES = ["region", "nation", "supplier", "customer", "part", "partsupp", "orders", "lineitem"]
work, scale, rounds = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
binary = os.environ["SEXTANT_BIN"]
data = work / f"sf{scale}"
queries = [text for (text,) in json.loads((work / "queries.json").read_text())]


def peak(pid):
    """The most memory that a process has held, in MB."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status).group(1)) / 1024


def duck(pipe):
    """DuckDB in a process of its own, over views of the Parquet files."""
    connection = duckdb.connect()
    for table in TABLES:
        connection.execute(f"create view {table} as select * from '{data / table}.parquet'")
    while (query := pipe.recv()) is not None:
        begin = time.perf_counter()
        rows = connection.execute(query).fetchall()
        pipe.send((time.perf_counter() - begin, rows))


def alike(mine, theirs):
    """Whether two cells say the same. An average or a quotient of decimals has four digits more than
    its numerator here, and is a floating-point number there."""
    if isinstance(mine, (float, decimal.Decimal)) and not isinstance(theirs, str):
        return abs(float(mine) - float(theirs)) <= max(1e-6 * abs(float(theirs)), 5e-5)
    return str(mine).rstrip() == str(theirs).rstrip()


def equal(mine, theirs):
    """Whether two results have the same rows in the same order."""
    cells = [(m, t) for row in zip(mine, theirs) for m, t in zip(*row)]
    return len(mine) == len(theirs) and all(alike(m, t) for m, t in cells)


project = work / f"project{scale}"
shutil.rmtree(project, ignore_errors=True)
project.mkdir()
(project / "sextant.toml").write_text('[project]\nname = "tpch"\n')
(project / "data").mkdir()
begin = time.perf_counter()
for table in TABLES:
    shutil.copy(data / f"{table}.parquet", project / "data")
    statement = f"create table {table} as select * from 'data/{table}.parquet'"
    subprocess.run([binary, "sql", statement], cwd=project, check=True, stdout=subprocess.DEVNULL)
print(f"loaded in {time.perf_counter() - begin:.1f} s by eight CREATE TABLE AS")

log = open(work / "server.log", "w+")
server = subprocess.Popen([binary, "serve", "--port", "0", "--pg-port", "0"], cwd=project, stdout=log, stderr=log)
try:
    for _ in range(200):
        found = re.search(r"postgresql://127\.0\.0\.1:(\d+)/", (work / "server.log").read_text())
        if found or server.poll() is not None:
            break
        time.sleep(0.1)
    if not found:
        sys.exit((work / "server.log").read_text())
    ours = psycopg.connect(f"host=127.0.0.1 port={found.group(1)} user=bench dbname=sextant", autocommit=True)
    here, there = multiprocessing.Pipe()
    peer = multiprocessing.Process(target=duck, args=(there,))
    peer.start()
    sums, wrong = [0.0, 0.0], []
    version = subprocess.run([binary, "--version"], capture_output=True, text=True).stdout.strip()
    print(f"{version} against DuckDB {duckdb.__version__}, SF {scale}, median of {rounds}, seconds")
    print(f"{'query':>5} {'Sextant':>9} {'DuckDB':>9} {'ratio':>7}")
    for number, query in enumerate(queries, 1):
        times = ([], [])
        for _ in range(rounds):
            begin = time.perf_counter()
            try:
                mine = ours.execute(query).fetchall()
            except psycopg.Error as error:
                print(f"{number:>5} refused: {error}")
                wrong.append(number)
                break
            times[0].append(time.perf_counter() - begin)
            here.send(query)
            took, rows = here.recv()
            times[1].append(took)
        if not times[1]:
            continue
        pair = [statistics.median(of) for of in times]
        sums = [total + one for total, one in zip(sums, pair)]
        same = equal(mine, rows)
        if not same:
            wrong.append(number)
        note = "" if same else "  other rows!"
        print(f"{number:>5} {pair[0]:>9.3f} {pair[1]:>9.3f} {pair[0] / pair[1]:>7.2f}{note}", flush=True)
    print(f"{'all':>5} {sums[0]:>9.3f} {sums[1]:>9.3f} {sums[0] / sums[1]:>7.2f}")
    print(f"most memory: Sextant's server {peak(server.pid):.0f} MB, DuckDB's process {peak(peer.pid):.0f} MB")
    here.send(None)
    peer.join()
finally:
    server.terminate()
    server.wait()
if wrong:
    sys.exit(f"queries with other rows or none: {wrong}")
