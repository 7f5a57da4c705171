"""Stands between the daemon and one replica that is a local process: the only parent that stays.

Nobody can wait for a process that another process started, so after a restart of the daemon an exit code
would be lost. This small program outlives the daemon, keeps the log, and writes down how the replica
ended. It runs as `python -I -S _process_shim.py <folder>` and uses the standard library only, so that it
starts in about 15 ms. What to run, with the environment and its secrets, comes in through standard input
(a socket), and the answer goes back the same way: none of it is ever on disk or in a process list.

Files in the folder:
    claim    who runs this replica; locked (flock) for as long as the shim lives. There is never a second.
    started  the process id of the replica, and what tells it from a later process with the same id.
    exit     how it ended; written whole or not at all.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import resource
import select
import signal
import sys
import time
from contextlib import suppress
from typing import Any, NoReturn

DRAIN_S = 2.0  # how long to read what is left in the pipe, once everything that could write is dead
RECORD_TRIES = 3600  # one a second: a disk that is full for an hour does not cost an exit code
CPU_GRACE_S = 5  # between SIGXCPU, which a program may handle, and SIGKILL
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
IS_LINUX = sys.platform == "linux"


def prctl(option: int, value: int) -> None:
    """Call prctl(2) where there is one."""
    if IS_LINUX:
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def start_ticks(pid: int) -> int | None:
    """Give the moment a process started, in clock ticks since boot; None if unknown or gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[19])
    except (OSError, IndexError):
        return None


def boot_id() -> str:
    """Name this boot of the machine; empty where the system does not tell."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def write_whole(folder: str, name: str, content: dict[str, Any]) -> None:
    """Write a file so that readers see all of it or none, also after a crash of the machine."""
    temporary = os.path.join(folder, f"{name}.{os.getpid()}")
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, os.path.join(folder, name))


def claim(folder: str) -> int | None:
    """Take the replica for this process, for ever; None if somebody has or had it, or the folder is gone.

    The lock is taken before the file gets its name, so nobody ever sees a claim without its lock.
    """
    temporary = os.path.join(folder, f"claim.{os.getpid()}")
    try:
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.write(descriptor, json.dumps({"pid": os.getpid(), "at": time.time()}).encode())
        os.link(temporary, os.path.join(folder, "claim"))
        os.fsync(descriptor)
    except (FileExistsError, FileNotFoundError):
        os.close(descriptor)
        return None
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
    return descriptor


class Log:
    """The log file of the replica, of bounded size: the older part moves to `<path>.1`.

    A new file begins with the number of bytes before it (`_logparts.py` reads it). A log that cannot be written
    never stops the replica: text is dropped, and `lost` says why.
    """

    def __init__(self, path: str, cap: int) -> None:
        self._path, self._cap = path, cap
        self._size = self._total = 0
        self._file: int | None = None
        self.lost: str | None = None
        self._open()

    def _lose(self, exc: OSError) -> None:
        self.lost = self.lost or f"{self._path}: {exc.strerror}"

    def _open(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
        try:
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
            self._size = os.fstat(self._file).st_size
        except OSError as exc:
            self._lose(exc)

    def write(self, data: bytes) -> None:
        """Append, and turn the file over at a line's end once it is full."""
        if self._size + len(data) > self._cap:
            cut = data.find(b"\n") + 1
            self._append(data[:cut])
            with suppress(OSError):
                os.replace(self._path, f"{self._path}.1")
            self._open()
            if self._size == 0:
                self._append(b"[scaler: %d bytes of this log were cut]\n" % (self._total + cut))
            self._total, data = self._total + cut, data[cut:]
        self._append(data)
        self._total += len(data)

    def _append(self, data: bytes) -> None:
        try:
            while data and self._file is not None:
                written = os.write(self._file, data)
                self._size += written
                data = data[written:]
        except OSError as exc:
            self._lose(exc)


def wait_for_gate(gate: int, parent: int) -> None:
    """Leave the shim's session and wait until this process is on record; dies with the shim from here on."""
    os.setsid()
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent or os.read(gate, 1) != b"!":
        os._exit(127)


def restore_signals() -> None:
    """Give the replica the signal settings of a fresh process, whatever the daemon was started with."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def set_limits(request: dict[str, Any]) -> None:
    """Apply what the job asks for, within our own limits, just before the replica's program begins."""
    cpu, memory = request["cpu_seconds"], request["memory_bytes"]
    for kind, soft, extra in ((resource.RLIMIT_CPU, cpu, CPU_GRACE_S), (resource.RLIMIT_AS, memory, 0)):
        if soft is not None:
            own = resource.getrlimit(kind)[1]
            most = sys.maxsize if own == resource.RLIM_INFINITY else own
            resource.setrlimit(kind, (min(soft, most), min(soft + extra, most)))


def run_child(request: dict[str, Any], output: int, report: int, gate: int, parent: int) -> NoReturn:
    """Do the child's half of the start; what fails is told through the pipe `report`."""
    stage = "gate"
    try:
        wait_for_gate(gate, parent)
        restore_signals()
        for source, target in ((os.open(os.devnull, os.O_RDONLY), 0), (output, 1), (output, 2)):
            os.dup2(source, target)
        stage = "cwd"
        os.chdir(request["cwd"])
        stage = "limits"
        set_limits(request)
        stage = "exec"
        os.execvpe(request["argv"][0], request["argv"], request["env"])
    except (OSError, ValueError, MemoryError) as exc:
        number = exc.errno if isinstance(exc, OSError) else None
        text = exc.strerror if isinstance(exc, OSError) else str(exc)
        fault = {"stage": stage, "number": number, "text": text or type(exc).__name__}
        os.write(report, json.dumps(fault).encode())
    finally:
        os._exit(127)


def start(folder: str, request: dict[str, Any], output: int) -> tuple[int, dict[str, Any] | None]:
    """Start the replica: its process id, and what went wrong if it does not run.

    The process is on record before its program begins: nothing runs that a later daemon cannot find.
    """
    parent = os.getpid()
    report_read, report_write = os.pipe()
    gate_read, gate_write = os.pipe()
    try:
        pid = os.fork()
    except OSError as exc:
        return 0, {"stage": "fork", "number": exc.errno, "text": exc.strerror}
    if pid == 0:
        os.close(gate_write)
        run_child(request, output, report_write, gate_read, parent)
    os.close(report_write)
    os.close(gate_read)
    fault: dict[str, Any] | None = None
    record = {"pid": pid, "ticks": start_ticks(pid), "boot": boot_id(), "at": time.time()}
    try:
        write_whole(folder, "started", record)
        os.write(gate_write, b"!")
    except OSError as exc:
        fault = {"stage": "record", "number": exc.errno, "text": exc.strerror}
    os.close(gate_write)
    told = os.read(report_read, 65536)
    os.close(report_read)
    fault = fault or (json.loads(told) if told else None)
    if fault is not None:
        os.waitpid(pid, 0)
    return pid, fault


class Signals:
    """Keeps what the shim is asked for: TERM is passed on to the replica, USR1 means KILL."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.wake, writer = os.pipe()
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, lambda asked, _frame: self.asked.append(asked))
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)


class Watch:
    """Follows the running replica: keeps its log, passes signals on, and notices its end."""

    def __init__(self, pid: int, output: int, signals: Signals, log: Log) -> None:
        self._pid, self._output = pid, output
        self._signals, self._log = signals, log
        self._poll = select.poll()
        self.killed = False

    def until_end(self) -> tuple[int, float]:
        """Give the wait status and the CPU seconds of the replica, once nothing of its group is left."""
        self._poll.register(self._output, select.POLLIN)
        self._poll.register(self._signals.wake, select.POLLIN)
        while (end := self._reap()) is None:
            self._deliver()
            for descriptor, _ in self._poll.poll():
                if descriptor == self._signals.wake:
                    os.read(self._signals.wake, 4096)
                else:
                    self._pump()
        return end

    def _deliver(self) -> None:
        while self._signals.asked:
            is_kill = self._signals.asked.pop(0) == signal.SIGUSR1
            self.killed = self.killed or is_kill
            self._signal_group(signal.SIGKILL if is_kill else signal.SIGTERM)

    def _signal_group(self, number: int) -> None:
        with suppress(OSError):
            os.killpg(self._pid, number)

    def _pump(self) -> None:
        data = os.read(self._output, 65536)
        if data:
            self._log.write(data)
        else:
            self._poll.unregister(self._output)

    def _reap(self) -> tuple[int, float] | None:
        """Reap what has ended. The replica keeps its id until its group is killed: no stranger is hit."""
        while IS_LINUX:
            info = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT | os.WNOHANG)
            if info is None:
                return None
            if info.si_pid == self._pid:
                self._signal_group(signal.SIGKILL)
                break
            os.waitpid(info.si_pid, 0)
        pid, status, usage = os.wait4(self._pid, os.WNOHANG)
        if pid and not IS_LINUX:
            self._signal_group(signal.SIGKILL)
        return (status, usage.ru_utime + usage.ru_stime) if pid else None

    def drain(self) -> None:
        """Keep what is left in the pipe; bounded, in case something unkillable still holds it."""
        deadline = time.monotonic() + DRAIN_S
        while (left := deadline - time.monotonic()) > 0:
            ready = select.select([self._output], [], [], left)[0]
            if not (ready and (data := os.read(self._output, 65536))):
                return
            self._log.write(data)


def kill_strays() -> None:
    """Kill what left the replica's group: as its subreaper, we have become its parent."""
    deadline = time.monotonic() + DRAIN_S
    own = str(os.getpid()).encode()
    while time.monotonic() < deadline:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        for name in filter(str.isdigit, os.listdir("/proc")):
            with suppress(OSError, IndexError), open(f"/proc/{name}/stat", "rb") as file:
                if file.read().rpartition(b")")[2].split()[1] == own:
                    os.kill(int(name), signal.SIGKILL)
        time.sleep(0.01)


def ending(status: int, cpu_s: float, *, killed: bool, cpu_seconds: int | None) -> dict[str, Any]:
    """Say how the replica ended."""
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
    used_up = cpu_seconds is not None and cpu_s >= cpu_seconds + CPU_GRACE_S - 1
    return {
        "code": os.WEXITSTATUS(status) if number is None else 128 + number,
        "signal": number,
        "cpu_limited": cpu_seconds is not None
        and (number == signal.SIGXCPU or (number == signal.SIGKILL and used_up and not killed)),
        "killed": killed,
        "at": time.time(),
    }


def record_end(folder: str, record: dict[str, Any]) -> None:
    """Write the exit record, also if the disk is full for a while."""
    for _ in range(RECORD_TRIES):
        try:
            return write_whole(folder, "exit", record)
        except FileNotFoundError:
            return None  # the folder was removed: nobody wants to know
        except OSError:
            time.sleep(1)


def read_request() -> dict[str, Any] | None:
    """Read what to run; None if the daemon was gone before it had told all."""
    with open(0, "rb", closefd=False) as file, suppress(ValueError):
        return dict(json.loads(file.read()))
    return None


def answer(content: dict[str, Any]) -> None:
    """Tell the daemon, if it is still there, and let go of it."""
    with suppress(OSError):
        os.write(0, json.dumps(content).encode())
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)


def main(folder: str) -> int:
    """Run one replica from its claim to its exit record."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    request = read_request()
    if request is None:
        return 2
    lock = claim(folder)
    if lock is None:
        answer({"claimed": True})
        return 0
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    signals = Signals()
    output, output_write = os.pipe()
    pid, fault = start(folder, request, output_write)
    os.close(output_write)
    if fault is not None:
        for name in ("started", "claim"):
            with suppress(FileNotFoundError):
                os.unlink(os.path.join(folder, name))
        answer({"fault": fault})
        return 1
    cpu_seconds, log = request["cpu_seconds"], Log(request["log"], request["log_cap"])
    del request  # its secrets
    answer({"started": True})
    watch = Watch(pid, output, signals, log)
    status, cpu_s = watch.until_end()
    record = ending(status, cpu_s, killed=watch.killed, cpu_seconds=cpu_seconds)
    kill_strays()
    watch.drain()
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)  # the replica, its own, and what it left behind
    record |= {"log_lost": log.lost, "cpu_s": usage.ru_utime + usage.ru_stime, "peak_rss": usage.ru_maxrss}
    record_end(folder, record)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
