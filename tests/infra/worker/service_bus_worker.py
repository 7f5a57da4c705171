"""Takes one message from a Service Bus queue or subscription, works, reports it to a result queue, and exits.

Stands for the workload of a job. The message stays locked while it is worked on, and is completed only after
its report was sent.

Environment: SERVICEBUS_CONNECTION_STRING, QUEUE (with SUBSCRIPTION the topic), RESULT_QUEUE (not written if
unset), START_DELAY, WORK and WAIT in seconds, CONTAINER_APP_JOB_EXECUTION_NAME.
"""

import json
import os
import sys
import time

from azure.servicebus import ServiceBusClient, ServiceBusMessage, ServiceBusReceiver


def main() -> int:
    """Handle one message, or report an empty queue after WAIT seconds; both end with exit code 0."""
    env = os.environ
    time.sleep(float(env.get("START_DELAY", "0")))
    with ServiceBusClient.from_connection_string(
        env["SERVICEBUS_CONNECTION_STRING"], retry_total=1
    ) as client:
        with receiver(client) as source:
            found = source.receive_messages(max_message_count=1, max_wait_time=float(env.get("WAIT", "5")))
            if not found:
                report(client, {"empty": True})
                return 0
            time.sleep(float(env.get("WORK", "0")))
            report(client, {"body": str(found[0])})
            source.complete_message(found[0])
    return 0


def receiver(client: ServiceBusClient) -> ServiceBusReceiver:
    """Open the queue or the subscription."""
    queue, subscription = os.environ["QUEUE"], os.environ.get("SUBSCRIPTION")
    if subscription:
        return client.get_subscription_receiver(queue, subscription)
    return client.get_queue_receiver(queue)


def report(client: ServiceBusClient, facts: dict[str, object]) -> None:
    """Write one line to stdout and, if asked, one message to the result queue."""
    facts["execution"] = os.environ.get("CONTAINER_APP_JOB_EXECUTION_NAME", "")
    line = json.dumps(facts)
    target = os.environ.get("RESULT_QUEUE")
    if target:
        with client.get_queue_sender(target) as results:
            results.send_messages(ServiceBusMessage(line))
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
