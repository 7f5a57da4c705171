"""Looks for what would keep `docker compose up` from working here, and says of each thing what to do.

    python compose/check.py

Python's standard library only. Images that are absent are pulled, as compose would. Exit code 1 if something is wrong.
"""

from __future__ import annotations

import errno
import json
import os
import re
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ENV_FILES = (HERE / ".env", HERE / "standins" / "standins.env")
OLDEST_COMPOSE = (2, 20)
FALLBACK_SOCKET = "/var/run/docker.sock"
_ENTRY = re.compile(r"""(?:export\s+)?([\w.-]+)\s*[=:]\s*(?:"([^"]*)"|'([^']*)'|(.*?))(?:\s+\#.*)?\s*""")
_REFERENCE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")
_PULL_S = 900
_ASK_S = 60


@dataclass(frozen=True)
class Port:
    """A port of this machine that a broker is published on."""

    variable: str
    number: int


@dataclass(frozen=True)
class Image:
    """An image that is pulled, not built; `variable` replaces it."""

    variable: str
    name: str


def settings(files: Sequence[Path], environ: Mapping[str, str]) -> dict[str, str]:
    """Read the files as compose does, the later over the earlier, and the environment over both."""
    found: dict[str, str] = {}
    for file in files:
        if file.is_file():
            lines = (line.strip() for line in file.read_text(encoding="utf-8").splitlines())
            entries = (_ENTRY.fullmatch(line) for line in lines if not line.startswith("#"))
            found |= {entry[1]: entry[2] or entry[3] or entry[4] or "" for entry in entries if entry}
    return found | dict(environ)


def fill(text: str, values: Mapping[str, str]) -> str:
    """Put in variables, or their defaults."""
    return _REFERENCE.sub(lambda match: values.get(match[1]) or match[2] or "", text)


def services(text: str, profiles: frozenset[str]) -> Iterator[str]:
    """Give the services of a compose file that these profiles start, each as its lines."""
    section = text.partition("\nservices:\n")[2].partition("\nvolumes:\n")[0]
    for part in re.split(r"^(?=  [\w-]+:$)", section, flags=re.MULTILINE):
        named = re.search(r"^    profiles: \[(.*)\]$", part, re.MULTILINE)
        if part.strip() and (named is None or profiles & {name.strip() for name in named[1].split(",")}):
            yield part


def ports(text: str, values: Mapping[str, str]) -> list[Port]:
    """List the ports that a compose file publishes."""
    found = re.findall(r"127\.0\.0\.1:(\$\{(\w+)[^}]*\}):\d+", text)
    filled = [(variable, fill(reference, values)) for reference, variable in found]
    return [Port(variable, int(number)) for variable, number in filled if number.isdecimal()]


def images(parts: Sequence[str], values: Mapping[str, str]) -> list[Image]:
    """List the images of services that are not built here, and what the built ones stand on."""
    found = [
        Image(match[2], fill(match[1], values))
        for part in parts
        if "\n    build:" not in part
        and (match := re.search(r"^    image: (\$\{(\w+)[^}]*\})$", part, re.MULTILINE))
    ]
    return [*found, Image("PYTHON_IMAGE", values.get("PYTHON_IMAGE") or "python:3.11-slim")]


def port_fault(port: Port) -> str | None:
    """Say what to do if a port is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port.number))
        except OSError as exc:
            if exc.errno == errno.EACCES:
                return None  # a low one, which the engine may open and we may not
            return (
                f"port {port.number} ({port.variable}): {exc.strerror}; stop what listens there, or choose another "
                f"in compose/.env: {port.variable}={free_port()}"
            )
    return None


def shared_ports(wanted: Sequence[Port]) -> Iterator[str]:
    """Tell of ports that two brokers want."""
    for number in sorted({port.number for port in wanted}):
        variables = [port.variable for port in wanted if port.number == number]
        if len(variables) > len(set(variables)):
            yield f"port {number} ({variables[0]}): wanted by two services; set one of their profiles only"
        elif len(variables) > 1:
            yield f"port {number}: wanted by {' and '.join(variables)}; choose others in compose/.env"


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def socket_fault(path: Path) -> str | None:
    """Say what is wrong with the engine's socket that the guard is given."""
    where = f"{path} (DOCKER_SOCKET)"
    try:
        if not stat.S_ISSOCK(path.stat().st_mode):
            return f"{where}: is no socket; name the engine's: DOCKER_SOCKET=/path in compose/.env"
    except PermissionError:
        return f"{where}: its folder may not be read by you; name another socket by DOCKER_SOCKET in compose/.env"
    except OSError:
        return (
            f"{where}: is not there; start the Docker engine (sudo systemctl start docker), or name its socket by "
            "DOCKER_SOCKET in compose/.env (rootless: /run/user/UID/docker.sock)"
        )
    if not os.access(path, os.R_OK | os.W_OK):
        return (
            f"{where}: may not be used by you; join its group (sudo usermod -aG docker $USER, then log in again) or "
            "run this by sudo"
        )
    return None


def asked(*command: str, timeout_s: float = _ASK_S) -> tuple[int, str]:
    """Run a command; give its exit code (127: it is not there) and what it printed."""
    try:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except FileNotFoundError:
        return 127, f"{command[0]}: not found"
    except subprocess.TimeoutExpired:
        return 124, f"no answer within {timeout_s:g} s"
    return done.returncode, done.stdout.strip()


def engine_fault() -> str | None:
    """Say what to do if the docker command or its engine is not to be had."""
    code, text = asked("docker", "version", "--format", "{{.Server.Version}}")
    if code == 127:
        return "docker: the command is not installed; install Docker Engine with its compose plugin"
    if code and "permission denied" in text.lower():
        return (
            "docker: the engine's socket may not be used by you; join its group (sudo usermod -aG docker $USER, then "
            "log in again) or run this by sudo"
        )
    if code:
        last = text.splitlines()[-1] if text else f"exit code {code}"
        return (
            f"docker: no engine answers ({last}); start it (sudo systemctl start docker), or set DOCKER_HOST"
        )
    return None


def compose_fault(compose: Sequence[str]) -> str | None:
    """Say what to do if compose is missing or too old."""
    code, text = asked(*compose, "version", "--short")
    found = re.search(r"(\d+)\.(\d+)", text)
    if code or not found:
        return f"{' '.join(compose)}: not installed; install the package docker-compose-plugin (docker-compose-v2)"
    if (int(found[1]), int(found[2])) < OLDEST_COMPOSE:
        oldest = ".".join(map(str, OLDEST_COMPOSE))
        return f"{' '.join(compose)}: version {found[0]} is too old; install {oldest} or newer"
    return None


def project_fault(compose: Sequence[str]) -> str | None:
    """Say what is wrong with the variables, in the words of compose."""
    files = [word for file in ENV_FILES if file.is_file() for word in ("--env-file", str(file))]
    code, text = asked(*compose, "--file", str(HERE / "compose.yaml"), *files, "config", "--quiet")
    last = text.splitlines()[-1] if text else f"exit code {code}"
    return (
        f"variables cannot be used ({last}); correct compose/.env, or what your shell sets" if code else None
    )


def profile_faults(values: Mapping[str, str], known: frozenset[str]) -> Iterator[str]:
    """Tell of profiles that start nothing, or not what is wanted."""
    chosen = {name.strip() for name in values.get("COMPOSE_PROFILES", "").split(",")} - {"", "*"}
    for name in sorted(chosen - known):
        yield f"COMPOSE_PROFILES: no profile '{name}'; there are {', '.join(sorted(known))}"
    if "emulator" in chosen and values.get("ACCEPT_EULA") != "Y":
        yield "ACCEPT_EULA: the emulator starts only if you accept its licence: ACCEPT_EULA=Y in compose/.env"


def other_engine(values: Mapping[str, str]) -> str | None:
    """Say so if the guard would be given the socket of another engine than the one compose speaks to."""
    spoken = values.get("DOCKER_HOST", "").removeprefix("unix://")
    if not spoken.startswith("/") or values.get("DOCKER_SOCKET"):
        return None
    if os.path.realpath(spoken) == os.path.realpath(FALLBACK_SOCKET):
        return None
    return (
        f"DOCKER_HOST names {spoken}, and the guard would be given {FALLBACK_SOCKET}; "
        f"set DOCKER_SOCKET={spoken} in compose/.env"
    )


def image_fault(image: Image) -> str | None:
    """Pull an image that is absent, and say what to do if that fails."""
    if asked("docker", "image", "inspect", image.name)[0] == 0:
        return None
    print(f"pulling {image.name}", flush=True)
    code, text = asked("docker", "pull", "--quiet", image.name, timeout_s=_PULL_S)
    if code == 0:
        return None
    last = text.splitlines()[-1] if text else f"exit code {code}"
    return (
        f"image {image.name}: is not here and cannot be pulled ({last}); name another by {image.variable} in "
        "compose/.env, or build stand-ins: python compose/standins/build.py"
    )


def own_ports(compose: Sequence[str]) -> frozenset[int]:
    """Give the ports that the project itself has taken, as far as it is up."""
    code, text = asked(*compose, "--file", str(HERE / "compose.yaml"), "ps", "--format", "json")
    lines = (
        [json.loads(line) for line in text.splitlines() if line.startswith(("{", "["))] if not code else []
    )
    rows = [row for line in lines for row in (line if isinstance(line, list) else [line])]
    return frozenset(one["PublishedPort"] for row in rows for one in row.get("Publishers") or ())


def faults(values: Mapping[str, str], compose: Sequence[str]) -> Iterator[str]:
    """Give what is wrong, the cause before what follows from it."""
    engine = engine_fault()
    if engine is not None:
        yield engine
        return
    wrong = compose_fault(compose) or project_fault(compose) or other_engine(values)
    if wrong is not None:
        yield wrong
        return
    if not values.get("DOCKER_HOST", "unix://").startswith("tcp://"):
        wrong = socket_fault(Path(values.get("DOCKER_SOCKET") or FALLBACK_SOCKET))
        if wrong is not None:
            yield wrong
    text = (HERE / "compose.yaml").read_text(encoding="utf-8")
    profiles = frozenset(name.strip() for name in values.get("COMPOSE_PROFILES", "").split(","))
    parts = list(services(text, profiles))
    known = {
        name.strip()
        for found in re.findall(r"^    profiles: \[(.*)\]$", text, re.MULTILINE)
        for name in found.split(",")
    }
    yield from profile_faults(values, frozenset(known))
    wanted, own = ports("".join(parts), values), own_ports(compose)
    yield from shared_ports(wanted)
    yield from filter(None, (port_fault(port) for port in wanted if port.number not in own))
    yield from filter(None, map(image_fault, images(parts, values)))


def main(arguments: Sequence[str]) -> int:
    """Check; what follows the name is the command of compose, `docker compose` if nothing does."""
    found = list(faults(settings(ENV_FILES, os.environ), arguments or ("docker", "compose")))
    for fault in found:
        print(f"compose: {fault}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
