#!/bin/sh
# TPC-H through tables of Sextant, and through DuckDB on the Parquet files they were made from: all
# 22 queries, both warm, one after the other in one run. Needs Python 3 and PyPI. Nothing else should
# run.
#   benches/tpch/run.sh [SCALE [ROUNDS]]
# SEXTANT_BIN names the binary, SEXTANT_BENCH a folder for the virtual environment and the data.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=${SEXTANT_BENCH:-$root/target/bench-tpch}
SEXTANT_BIN=${SEXTANT_BIN:-$root/target/release/sextant}
scale=${1:-1}
export SEXTANT_BIN
mkdir -p "$work"
if [ ! -x "$work/venv/bin/python" ]; then
    python3 -m venv "$work/venv"
    "$work/venv/bin/pip" install --quiet -r "$here/requirements.txt"
    # The texts of the queries come with an extension of an older DuckDB, which only prints them.
    python3 -m venv "$work/texts"
    "$work/texts/bin/pip" install --quiet duckdb==1.5.5 duckdb-extension-tpch==1.5.5
fi
if [ ! -s "$work/queries.json" ]; then
    "$work/texts/bin/python" "$here/texts.py" >"$work/queries.json"
fi
if [ ! -d "$work/sf$scale" ]; then
    "$work/venv/bin/tpchgen-cli" parquet --scale-factor "$scale" --output-dir "$work/sf$scale.new"
    mv "$work/sf$scale.new" "$work/sf$scale"
fi
exec "$work/venv/bin/python" "$here/compare.py" "$work" "$scale" "${2:-3}"
