#!/bin/sh
# Trains the same embedder here and in PyTorch, from the same state on the same batches, and prints
# both step times. Needs Python 3 and PyPI (the PyTorch wheel is some GB). Nothing else should run.
#   benches/embedder/run.sh [STEPS]
# SEXTANT_BENCH names a folder for the virtual environment and results.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=${SEXTANT_BENCH:-$root/target/bench-embedder}
profile=${PROFILE:---release}
mkdir -p "$work"
if [ ! -x "$work/venv/bin/python" ]; then
    python3 -m venv "$work/venv"
    "$work/venv/bin/pip" install --quiet torch numpy tokenizers safetensors
fi
cd "$root"
# shellcheck disable=SC2086
cargo run $profile -p sextant-models --example bench_embedder -- docs "$work/out" "${1:-40}"
"$work/venv/bin/python" "$here/compare.py" "$work/out"
