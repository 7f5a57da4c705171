"""Takes one message from an Azure storage queue.

Environment: AZURE_STORAGE_CONNECTION_STRING, QUEUE, RESULT_QUEUE, WAIT.
"""

import os
import sys
import time

import task
from azure.storage.queue import QueueClient, QueueMessage

INVISIBLE_S = 300


def main() -> int:
    """Handle one message; it is invisible to others meanwhile, and deleted once its report was sent."""
    with client("QUEUE") as queue:
        message = taken(queue)
        if message is None:
            tell(task.report(None))
            return 0
        work = task.read(message.content)
        time.sleep(work.think_s)
        tell(task.report(work, poison=work.is_poison))
        if work.is_poison:
            queue.update_message(message, visibility_timeout=0)  # at once to the next, as other brokers do
            return task.complain(work)
        queue.delete_message(message)
    return 0


def client(variable: str) -> QueueClient:
    """Open the queue that a variable names."""
    return QueueClient.from_connection_string(
        os.environ["AZURE_STORAGE_CONNECTION_STRING"], os.environ[variable]
    )


def taken(queue: QueueClient) -> QueueMessage | None:
    """Receive one message, asking five times a second; None if none came in time."""
    deadline = time.monotonic() + task.WAIT_S
    while True:
        message = queue.receive_message(visibility_timeout=INVISIBLE_S)
        if message is not None or time.monotonic() >= deadline:
            return message
        time.sleep(0.2)


def tell(line: str) -> None:
    """Send a report."""
    if os.environ.get("RESULT_QUEUE"):
        with client("RESULT_QUEUE") as results:
            results.send_message(line)


if __name__ == "__main__":
    sys.exit(main())
