"""Prints the texts of the 22 queries as JSON."""

import json
import pathlib

import duckdb
import duckdb_extension_tpch

folder = pathlib.Path(duckdb_extension_tpch.__file__).parent
[extension] = folder.rglob("tpch.duckdb_extension")
connection = duckdb.connect()
connection.execute(f"load '{extension}'")
print(json.dumps(connection.execute("select query from tpch_queries() order by query_nr").fetchall()))
