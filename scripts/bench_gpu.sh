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
for model in xtts_v2 styletts2; do
  timeout 60 "$python" -W ignore scripts/make_random_model.py "$model" > "$out/$model.txt"
done
# float32 as the packages have it, and then as it is served.
for model in xtts_v2 styletts2; do
  timeout 115 "$python" -W ignore scripts/bench_gpu.py --model "$model" --out "$out" --parity
  timeout 120 "$python" -W ignore scripts/bench_gpu.py --model "$model" --out "$out" --callers 1 16 32
done
