"""Where the program begins: the console script and `python -m scaler`.

Ctrl-C while the rest is still being imported ends it as Ctrl-C does later: quietly, with 130.
"""

from __future__ import annotations

import sys

INTERRUPTED = 130
"""What a shell expects of a program that ended by Ctrl-C (128 + SIGINT)."""


def main() -> int:
    """Import the command line and run it; give the exit code."""
    try:
        from scaler.cli.main import main as run  # noqa: PLC0415 - within the reach of `except`

        return run()
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
