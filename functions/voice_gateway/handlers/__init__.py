"""Entry points, one file per function: parse, one service call, map."""
