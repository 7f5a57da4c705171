"""Takes one message from an Azure storage queue, works, reports it to a result queue, and exits.

Stands for the workload of a job. The message is invisible to others for 300 s while it is worked on, and
deleted only after its report was sent.

Environment: AZURE_STORAGE_CONNECTION_STRING, QUEUE, RESULT_QUEUE (not written if unset), START_DELAY, WORK and
WAIT in seconds, CONTAINER_APP_JOB_EXECUTION_NAME.
"""

import json
import os
import sys
import time

from azure.storage.queue import QueueClient, QueueMessage

VISIBILITY_TIMEOUT_S = 300


def main() -> int:
    """Handle one message, or report an empty queue after WAIT seconds; both end with exit code 0."""
    env = os.environ
    connection = env["AZURE_STORAGE_CONNECTION_STRING"]
    time.sleep(float(env.get("START_DELAY", "0")))
    with QueueClient.from_connection_string(connection, env["QUEUE"]) as queue:
        message = taken(queue, float(env.get("WAIT", "5")))
        if message is None:
            report(connection, {"empty": True})
            return 0
        time.sleep(float(env.get("WORK", "0")))
        report(connection, {"body": message.content})
        queue.delete_message(message)
    return 0


def taken(queue: QueueClient, wait_s: float) -> QueueMessage | None:
    """Receive one message, asking five times a second."""
    deadline = time.monotonic() + wait_s
    while True:
        message = queue.receive_message(visibility_timeout=VISIBILITY_TIMEOUT_S)
        if message is not None or time.monotonic() >= deadline:
            return message
        time.sleep(0.2)


def report(connection: str, facts: dict[str, object]) -> None:
    """Write one line to stdout and, if asked, one message to the result queue."""
    facts["execution"] = os.environ.get("CONTAINER_APP_JOB_EXECUTION_NAME", "")
    line = json.dumps(facts)
    target = os.environ.get("RESULT_QUEUE")
    if target:
        with QueueClient.from_connection_string(connection, target) as results:
            results.send_message(line)
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
