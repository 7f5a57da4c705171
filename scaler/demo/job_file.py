"""Writes the demo's job file, such as a user would write it, because it is there to be read and edited."""

from __future__ import annotations

import json

JOB = "demo"
QUEUE = "demo"
POLLING_S = 2
CONNECTION_VARIABLE = "SERVICEBUS_CONNECTION_STRING"

_TEXT = """\
# The job of `scaler demo`: one execution for each message of a queue.
# Edit it while the demo runs with --keep: changes are taken over at once.
name: {job}
properties:
  configuration:
    triggerType: Event
    replicaTimeout: 120            # seconds a worker may run
    replicaRetryLimit: 0           # a worker that fails is not tried again
    eventTriggerConfig:
      scale:
        pollingInterval: {polling_s}         # seconds between two looks at the queue
        minExecutions: 0
        maxExecutions: {max_executions}           # at most so many at once
        rules:
          - name: queue
            type: azure-servicebus
            metadata:
              queueName: {queue}
              messageCount: 1      # messages that one execution takes
              adminPort: {admin_port}     # only a broker on this machine needs it
            auth:
              - secretRef: bus
                triggerParameter: connection
  template:
    containers:
      - name: worker
        command: [{python}, worker.py]
        env:
          - name: {variable}
            secretRef: bus
          - name: QUEUE
            value: {queue}
x-scaler:
  executor: process                # no Docker needed; with `docker`, name an image above
  secrets:
    - name: bus
      env: {variable}
"""


def write_job(*, max_executions: int, admin_port: int, python: str) -> str:
    """Give the text of the file; `python` is the interpreter that runs the worker."""
    return _TEXT.format(
        job=JOB,
        queue=QUEUE,
        polling_s=POLLING_S,
        max_executions=max_executions,
        admin_port=admin_port,
        python=json.dumps(python.replace("${", "$${"), ensure_ascii=False),
        variable=CONNECTION_VARIABLE,
    )
