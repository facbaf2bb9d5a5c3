"""Stands in for a buffered function: does what the event's path says."""

import base64
import json
import os
import subprocess
import sys
import time
from pathlib import Path


def lambda_handler(event, context):
    action = (event.get("pathParameters") or {}).get("action", event.get("action"))
    return ACTIONS[action](event, context)


def echo(event, context):
    return {
        "statusCode": 201,
        "headers": {"content-type": "application/json", "x-one": "1"},
        "multiValueHeaders": {"set-cookie": ["a=1", "b=2"]},
        "body": json.dumps(event),
    }


def who(event, context):
    return {
        "pid": os.getpid(),
        "left": context.get_remaining_time_in_millis(),
        "arn": context.invoked_function_arn,
        "memory": context.memory_limit_in_mb,
        "table": os.environ["TABLE_NAME"],
        "home": os.environ.get("HOME"),
        "cwd": str(Path.cwd()),
    }


def nap(event, context):
    time.sleep(0.3)
    return {"pid": os.getpid()}


def fail(event, context):
    raise ValueError("no such luck")


def hang(event, context):
    helper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    Path(event["pid_file"]).write_text(f"{os.getpid()} {helper.pid}", encoding="utf-8")
    time.sleep(60)


def crash(event, context):
    os._exit(3)


def big(event, context):
    return "x" * (7 * 1024 * 1024)


def audio(event, context):
    return {
        "statusCode": 200,
        "headers": {"content-type": "audio/wav"},
        "isBase64Encoded": True,
        "body": base64.b64encode(b"RIFF\xff\x00").decode(),
    }


def nonsense(event, context):
    return ["not", "an", "answer"]


ACTIONS = {
    each.__name__: each for each in (echo, who, nap, fail, hang, crash, big, audio, nonsense)
}
