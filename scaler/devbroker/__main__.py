"""`python -m scaler.devbroker`: the development broker as a process of its own."""

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Sequence

from scaler.devbroker.entities import QueueSettings
from scaler.devbroker.server import ADMIN_PORT, AMQP_PORT, DevBroker, PortTaken

_NOTICE = "development broker, in memory, not for production"
_EXAMPLES = """\
examples:
  python -m scaler.devbroker --queue jobs
      one queue, AMQP on 127.0.0.1:5672, management API on 127.0.0.1:5300
  python -m scaler.devbroker --queue jobs --queue mails --topic orders/billing/audit
      two queues, and a topic with two subscriptions
  python -m scaler.devbroker --host 0.0.0.0 --queue jobs --lock-seconds 30 --max-delivery-count 3
      reachable from containers; locks end after 30 s, the third failed delivery is the last
  python -m scaler.devbroker --amqp-port 0 --http-port 0 --queue jobs
      any free ports; the connection strings that are printed name them

Everything is lost when it stops. SIGINT (Ctrl-C) and SIGTERM stop it with exit code 0."""
_HIDDEN_KEY = "<the key given>"


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"'{text}' is no port; use 0 (any free one) to 65535")
    return int(text)


def _queue(text: str) -> str:
    if not text.strip("/"):
        raise argparse.ArgumentTypeError("a queue needs a name, e.g. --queue jobs")
    return text.strip("/")


def _topic(text: str) -> list[str]:
    parts = text.split("/")
    if not all(parts):
        raise argparse.ArgumentTypeError(f"'{text}' is no topic; use topic/subscription, e.g. orders/billing")
    return parts


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m scaler.devbroker",
        description=f"Azure Service Bus compatible {_NOTICE}.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    add("--amqp-port", type=_port, default=AMQP_PORT, metavar="PORT", help="default %(default)s; 0: any")
    add("--http-port", type=_port, default=ADMIN_PORT, metavar="PORT", help="default %(default)s; 0: any")
    add("--queue", type=_queue, action="append", default=[], metavar="NAME", help="make a queue; repeatable")
    add(
        "--topic",
        type=_topic,
        action="append",
        default=[],
        metavar="NAME/SUBSCRIPTION",
        help="make a topic with its subscriptions; repeatable",
    )
    add("--lock-seconds", type=float, default=60.0, metavar="S", help="lock duration, up to 300 (default 60)")
    add(
        "--max-delivery-count", type=int, default=10, metavar="N", help="deliveries of a message (default 10)"
    )
    add("--key", help="accept only tokens signed with this key (default: any token)")
    add("--listen-key", metavar="KEY", help="key of a second policy that may only receive and peek")
    add("--no-admin", action="store_true", help="serve no management API, as early emulators")
    add("-v", "--verbose", action="store_true", help="log every AMQP frame to standard error")
    return parser


async def _serve(broker: DevBroker, options: argparse.Namespace, settings: QueueSettings) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with broker:
        for name in options.queue:
            broker.add_queue(name, settings)
        for name, *subscriptions in options.topic:
            broker.add_topic(name, *subscriptions, settings=settings)
        _announce(broker, options)
        await stopped.wait()


def _announce(broker: DevBroker, options: argparse.Namespace) -> None:
    """Print the addresses, one line each, the keys hidden when they are the user's own."""
    admin = "none" if options.no_admin else f"{broker.host}:{broker.http_port}"
    lines = [
        f"{_NOTICE}: AMQP on {broker.host}:{broker.amqp_port}, management on {admin}",
        f"connection string: {broker.connection_string}",
    ]
    if not options.no_admin:
        lines.append(f"management connection string: {broker.admin_connection_string}")
    if options.listen_key:
        lines.append(f"listen connection string: {broker.listen_connection_string}")
    for line in lines:
        print(_hidden(line, options), flush=True)


def _hidden(line: str, options: argparse.Namespace) -> str:
    for key in filter(None, (options.key, options.listen_key)):
        line = line.replace(f"SharedAccessKey={key};", f"SharedAccessKey={_HIDDEN_KEY};")
    return line


def _complain(text: str) -> int:
    print(f"devbroker: {text}", file=sys.stderr)
    return 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the broker until a signal comes; give the exit code: 0 stopped, 2 it could not start."""
    options = _parser().parse_args(arguments)
    level = logging.DEBUG if options.verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        settings = QueueSettings(
            lock_duration_s=options.lock_seconds, max_delivery_count=options.max_delivery_count
        )
    except ValueError as exc:
        return _complain(f"--lock-seconds, --max-delivery-count: {exc}")
    broker = DevBroker(
        host=options.host,
        amqp_port=options.amqp_port,
        http_port=options.http_port,
        key=options.key,
        listen_key=options.listen_key,
        has_admin=not options.no_admin,
    )
    try:
        asyncio.run(_serve(broker, options, settings))
    except PortTaken as exc:
        option = "--amqp-port" if exc.what == "AMQP" else "--http-port"
        return _complain(f"{exc.strerror}; stop what listens there or choose another with {option}")
    except OSError as exc:
        return _complain(
            f"cannot listen on {options.host}: {exc.strerror or exc}; check --host and the ports"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
