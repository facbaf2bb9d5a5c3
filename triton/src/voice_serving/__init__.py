"""Speech models behind one tensor contract, served by Triton's Python backend."""
