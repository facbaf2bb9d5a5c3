#!/bin/sh
exec python3 -m uvicorn web:app --host 127.0.0.1 --port "$PORT" --no-access-log --log-level warning
