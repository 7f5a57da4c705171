"""The worker of the demo: takes one message of a Service Bus queue, works on it, completes it, ends.

A plain program over the official SDK, with nothing of ours in it: `scaler demo` copies it beside the job
file, and a worker of your own may begin as a copy of it. Exit code 0: one message done; 3: none came.
"""

import os
import sys
import time

from azure.servicebus import ServiceBusClient, ServiceBusReceiver

WAIT_S = 10.0
NO_MESSAGE = 3


def do_one(receiver: ServiceBusReceiver, work_s: float) -> int:
    """Take one message, work on it and complete it; a message that isn't completed comes back."""
    messages = receiver.receive_messages(max_message_count=1, max_wait_time=WAIT_S)
    if not messages:
        print(f"no message came within {WAIT_S:g} s", flush=True)
        return NO_MESSAGE
    time.sleep(work_s)
    receiver.complete_message(messages[0])
    print(f"done: {messages[0]}", flush=True)
    return 0


def main() -> int:
    """Do one message of the queue that the environment names; give the exit code."""
    bus = ServiceBusClient.from_connection_string(os.environ["SERVICEBUS_CONNECTION_STRING"])
    with bus, bus.get_queue_receiver(os.environ["QUEUE"]) as receiver:
        return do_one(receiver, float(os.environ.get("WORK_SECONDS", "0.3")))


if __name__ == "__main__":
    sys.exit(main())
