#!/bin/sh
# Everything that has to be known of a GPU host, in one run of ten minutes at most: parity, first
# sounds, several callers. Wants torch with CUDA and writes to $OUT (default: .local/gpu).
#
#   make setup TORCH_FROM= && scripts/bench_gpu.sh
set -eu
cd "$(dirname "$0")/.."
export PYTHONSAFEPATH=1
out=${OUT:-.local/gpu}
mkdir -p "$out"
python=.venv/bin/python

nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv > "$out/device.csv"
timeout 60 "$python" -W ignore scripts/make_random_model.py xtts_v2 > "$out/checkpoint.txt"
# float32 as coqui-tts has it, and then as it is served.
timeout 240 "$python" -W ignore scripts/bench_gpu.py --model xtts_v2 --out "$out" --parity
timeout 240 "$python" -W ignore scripts/bench_gpu.py --model xtts_v2 --out "$out" --callers 1 16 32
