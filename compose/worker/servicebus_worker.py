"""Takes one message from a Service Bus queue. Environment: SERVICEBUS_CONNECTION_STRING, QUEUE, RESULT_QUEUE, WAIT."""

import os
import sys
import time

import task
from azure.servicebus import ServiceBusClient, ServiceBusMessage


def main() -> int:
    """Handle one message; it is locked meanwhile, and completed once its report was sent."""
    connection = os.environ["SERVICEBUS_CONNECTION_STRING"]
    with (
        ServiceBusClient.from_connection_string(connection, retry_total=1) as client,
        client.get_queue_receiver(os.environ["QUEUE"]) as source,
    ):
        found = source.receive_messages(max_message_count=1, max_wait_time=task.WAIT_S)
        if not found:
            tell(client, task.report(None))
            return 0
        work = task.read(str(found[0]))
        time.sleep(work.think_s)
        tell(client, task.report(work, poison=work.is_poison))
        if work.is_poison:
            source.abandon_message(found[0])
            return task.complain(work)
        source.complete_message(found[0])
    return 0


def tell(client: ServiceBusClient, line: str) -> None:
    """Send a report."""
    target = os.environ.get("RESULT_QUEUE")
    if target:
        with client.get_queue_sender(target) as results:
            results.send_messages(ServiceBusMessage(line))


if __name__ == "__main__":
    sys.exit(main())
