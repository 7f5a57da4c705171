"""The sender of the demo: `python send.py NUMBER [TEXT]` puts so many messages into a Service Bus queue.

A plain program over the official SDK, copied beside the job file, to send more while `--keep` waits.
It prints `sent: ` and the body of each message once the queue has it.
"""

import os
import sys

from azure.servicebus import ServiceBusClient, ServiceBusMessage

BATCH = 100


def main() -> int:
    """Send, with the queue taken from the environment; give the exit code."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    text = sys.argv[2] if len(sys.argv) > 2 else "message"
    bodies = [f"{text} {index + 1}" for index in range(number)]
    bus = ServiceBusClient.from_connection_string(os.environ["SERVICEBUS_CONNECTION_STRING"])
    with bus, bus.get_queue_sender(os.environ["QUEUE"]) as sender:
        for start in range(0, number, BATCH):
            batch = bodies[start : start + BATCH]
            sender.send_messages([ServiceBusMessage(body) for body in batch])
            for body in batch:
                print(f"sent: {body}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
