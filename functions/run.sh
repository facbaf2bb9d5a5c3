#!/bin/sh
# Starts the speech function's web server; the Lambda Web Adapter hands it the requests.
# One worker: Lambda sends one request at a time.
exec python3 -m uvicorn voice_gateway.handlers.speech:create_app --factory \
  --host 127.0.0.1 --port "${PORT:-8080}" --lifespan on --no-access-log --no-server-header --log-level warning
