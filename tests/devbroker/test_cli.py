"""`python -m scaler.devbroker` as a process: start line, signals, faults of the user."""

import asyncio
import datetime as dt
import re
import signal
import socket
import subprocess
import sys

import pytest
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient

from .conftest import open_admin

COMMAND = (sys.executable, "-m", "scaler.devbroker")


async def read_line(process: asyncio.subprocess.Process) -> str:
    """Read one line of its output."""
    assert process.stdout is not None
    async with asyncio.timeout(20):
        return (await process.stdout.readline()).decode().strip()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_prints_its_connection_strings_serves_and_stops_on_a_signal(number: signal.Signals) -> None:
    options = (
        "--amqp-port",
        "0",
        "--http-port",
        "0",
        "--queue",
        "jobs",
        "--topic",
        "t/s1",
        "--lock-seconds",
        "5",
    )
    process = await asyncio.create_subprocess_exec(
        *COMMAND, *options, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    notice, amqp, admin = [await read_line(process) for _ in range(3)]
    assert notice.startswith("development broker, in memory, not for production: AMQP on 127.0.0.1:")
    connection_string = amqp.removeprefix("connection string: ")
    async with (
        ServiceBusClient.from_connection_string(connection_string, retry_total=0) as bus,
        bus.get_queue_sender("jobs") as sender,
    ):
        await sender.send_messages(ServiceBusMessage("x"))
    async with open_admin(admin.removeprefix("management connection string: ")) as client:
        found = await client.get_queue("jobs")
        counts = await client.get_queue_runtime_properties("jobs")
        subscription = await client.get_subscription("t", "s1")
    assert (found.lock_duration, counts.active_message_count) == (dt.timedelta(seconds=5), 1)
    assert subscription.name == "s1"
    process.send_signal(number)
    async with asyncio.timeout(10):
        _, errors = await process.communicate()
    assert (process.returncode, errors) == (0, b"")


async def test_the_users_key_is_not_printed() -> None:
    options = ("--amqp-port", "0", "--http-port", "0", "--key", "canary-secret")
    process = await asyncio.create_subprocess_exec(*COMMAND, *options, stdout=asyncio.subprocess.PIPE)
    lines = [await read_line(process) for _ in range(3)]
    process.terminate()
    await process.wait()
    assert "SharedAccessKey=<the key given>;" in lines[1]
    assert "canary-secret" not in "".join(lines)


@pytest.mark.parametrize(
    ("taken", "free", "name"),
    [("--amqp-port", "--http-port", "AMQP"), ("--http-port", "--amqp-port", "management")],
)
def test_a_taken_port_is_one_clear_line(taken: str, free: str, name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as blocker:
        port = blocker.getsockname()[1]
        ended = subprocess.run(
            check=False,
            args=[*COMMAND, taken, str(port), free, "0"],
            capture_output=True,
            text=True,
            timeout=30,
        )
    wanted = (
        f"devbroker: {name} port {port} on 127.0.0.1 is taken already; "
        f"stop what listens there or choose another with {taken}\n"
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", wanted)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--lock-seconds", "301"], "LockDuration: 301 s; use more than 0 s, at most PT5M"),
        (["--max-delivery-count", "0"], "MaxDeliveryCount: 0; use 1 to 2000"),
        (["--amqp-port", "70000"], "'70000' is no port"),
        (["--topic", "t//s"], "'t//s' is no topic"),
        (["--host", "198.51.100.1"], "cannot listen on 198.51.100.1"),
    ],
)
def test_a_wrong_option_is_refused_without_a_traceback(options: list[str], text: str) -> None:
    ended = subprocess.run(check=False, args=[*COMMAND, *options], capture_output=True, text=True, timeout=30)
    assert ended.returncode == 2
    assert text in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_help_has_examples_and_says_what_it_is_not_for() -> None:
    ended = subprocess.run(check=False, args=[*COMMAND, "--help"], capture_output=True, text=True, timeout=30)
    assert ended.returncode == 0
    assert "development broker, in memory, not for production" in re.sub(r"\s+", " ", ended.stdout)
    assert "python -m scaler.devbroker --queue jobs" in ended.stdout


def test_it_imports_nothing_of_the_product_and_no_azure_library() -> None:
    code = (
        "import sys, scaler.devbroker.__main__ as m; "
        "own = {n for n in sys.modules if n.split('.')[0] in ('scaler', 'azure', 'executors')}; "
        "print(sorted(n for n in own if n != 'scaler' and not n.startswith('scaler.devbroker')))"
    )
    ended = subprocess.run(
        check=False, args=[sys.executable, "-c", code], capture_output=True, text=True, timeout=30
    )
    assert ended.stdout == "[]\n"


async def test_without_management_api_it_prints_no_string_for_one_and_hides_the_listen_key() -> None:
    options = ("--amqp-port", "0", "--no-admin", "--queue", "jobs", "--listen-key", "listencanary")
    process = await asyncio.create_subprocess_exec(
        *COMMAND, *options, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    notice, amqp, listen = [await read_line(process) for _ in range(3)]
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(10):
        rest, _errors = await process.communicate()
    assert notice.endswith(", management on none")
    assert "SharedAccessKeyName=RootManageSharedAccessKey;" in amqp
    assert listen.startswith("listen connection string: Endpoint=sb://127.0.0.1:")
    assert "SharedAccessKeyName=Listen;SharedAccessKey=<the key given>;" in listen
    assert rest == b""
