"""The model itself, in torch: imported inside the engine's `load` and by nothing else."""
