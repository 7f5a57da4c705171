"""Removes what a daemon's executions left on the engine: their containers, running or not, and their volumes.

    docker compose stop scaler && python compose/remains.py && docker compose down --volumes

`docker compose down` knows nothing of them. They bear the daemon's label, whose value is in its state; if that is gone
already, what is on the project's network tells it. Python's standard library only. Exit code 1 if something stays.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

LABEL = "io.scaler.instance"
_ASK_S = 120
_READ = """
import sqlite3
print(*sqlite3.connect("/state/scaler.db").execute("SELECT value FROM notes WHERE key = 'instance'").fetchone())
"""


def told(*command: str) -> str:
    """Run a command; give what it printed, nothing if it failed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_ASK_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def instances(project: dict[str, Any]) -> set[str]:
    """Find which daemons the project had: usually one."""
    daemon, found = project["services"]["scaler"], set[str]()
    volume = project["volumes"]["state"]["name"]
    if told("docker", "volume", "inspect", "--format", "{{.Name}}", volume):
        where = ("--rm", "--pull=never", "--network=none", f"--volume={volume}:/state", "--entrypoint=python")
        found.update(told("docker", "run", *where, daemon["image"], "-c", _READ).split())
    network = daemon["environment"]["SCALER_NETWORK"]
    there = ("--filter", f"network={network}", "--filter", f"label={LABEL}")
    found.update(told("docker", "ps", "--all", *there, "--format", f'{{{{.Label "{LABEL}"}}}}').split())
    return found


def remove(instance: str) -> bool:
    """Remove all of one daemon; say whether nothing is left."""
    mine = ("--quiet", "--filter", f"label={LABEL}={instance}")
    lists = {
        ("docker", "rm", "--force", "--volumes"): ("docker", "ps", "--all", *mine),
        ("docker", "volume", "rm"): ("docker", "volume", "ls", *mine),
    }
    for removing, listing in lists.items():
        if there := told(*listing).split():
            told(*removing, *there)
    left = [one for listing in lists.values() for one in told(*listing).split()]
    if left:
        print(f"compose: could not be removed: {' '.join(left)}", file=sys.stderr)
    return not left


def main(arguments: Sequence[str]) -> int:
    """Remove; what follows the name is the command of compose, `docker compose` if nothing does."""
    compose = arguments or ("docker", "compose")
    project = json.loads(told(*compose, "config", "--format", "json") or "{}")
    if "scaler" not in project.get("services", {}):
        print("compose: this project has no service scaler, or compose cannot read it", file=sys.stderr)
        return 1
    stays = [one for one in sorted(instances(project)) if not remove(one)]
    return 1 if stays else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
