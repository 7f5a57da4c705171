"""`scaler demo` as its users run it: the whole command, its figures, and that it leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from scaler.config.load import load_paths
from scaler.demo.account import Tally, find_faults
from scaler.demo.job_file import write_job
from scaler.model.job import EventTrigger

COMMAND = [sys.executable, "-m", "scaler", "demo"]
END_S = 90.0
BUS = "Endpoint=sb://localhost;SharedAccessKeyName=name;SharedAccessKey=a2V5;UseDevelopmentEmulator=true"

GOOD = Tally(
    sent=("message 1", "message 2", "message 3"),
    done=("message 2", "message 1", "message 3"),
    statuses={"Processing": 0, "Running": 0, "Succeeded": 3, "Failed": 0},
    peak=2,
    max_executions=2,
    left=0,
    dead=0,
    seconds=4.2,
)


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """Where the demo makes its temporary folder."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


@pytest.fixture
def started(temporary: Path) -> Iterator[list[subprocess.Popen[str]]]:
    """The demos of a test; those that still run at its end are asked to end."""
    demos: list[subprocess.Popen[str]] = []
    yield demos
    for demo in demos:
        if demo.poll() is None:
            demo.terminate()
        demo.communicate(timeout=END_S)


def start(demos: list[subprocess.Popen[str]], temporary: Path, *arguments: str) -> subprocess.Popen[str]:
    demo = subprocess.Popen(
        [*COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(temporary)},
    )
    demos.append(demo)
    return demo


def processes_of(folder: Path) -> list[str]:
    """List the processes that run in the folder or name it."""
    found = []
    for place in Path("/proc").iterdir():
        if not place.name.isdecimal() or int(place.name) == os.getpid():
            continue
        try:
            words = (place / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
            cwd = str((place / "cwd").readlink())
        except OSError:
            continue
        if str(folder) in words or cwd.startswith(str(folder)):
            found.append(words)
    return found


def wait_for(path: Path, pattern: str, text: str) -> None:
    """Wait until a file that matches the pattern holds the text."""
    end = time.monotonic() + END_S
    while not any(text in found.read_text() for found in path.glob(pattern)):
        assert time.monotonic() < end, f"no {text!r} in {pattern}"
        time.sleep(0.05)


def expected(messages: int, most: int) -> dict[str, object]:
    none = dict.fromkeys(("Processing", "Running", "Failed", "Stopped", "Degraded", "Unknown"), 0)
    return {
        "messages": {"sent": messages, "completed": messages, "left": 0, "deadLettered": 0},
        "executions": {"total": messages, "byStatus": none | {"Succeeded": messages}},
        "peakRunning": most,
        "maxExecutions": most,
        "faults": [],
    }


# --- the whole command ------------------------------------------------------------------------------------


def test_two_demos_at_once_account_for_every_message_and_leave_nothing(
    started: list[subprocess.Popen[str]], temporary: Path
) -> None:
    first = start(started, temporary, "--messages", "6", "--max", "2", "-o", "json")
    second = start(started, temporary, "--messages", "4", "--max", "3", "-o", "json")
    for demo, messages, most in ((first, 6, 2), (second, 4, 3)):
        out, err = demo.communicate(timeout=END_S)
        assert demo.returncode == 0, err
        summary = json.loads(out)
        assert 0 < summary.pop("seconds") < END_S
        assert summary == expected(messages, most)
        assert f"sending {messages} messages; at most {most} executions at once" in err
        assert f"done {messages}/{messages}" in err
    assert list(temporary.iterdir()) == []
    assert processes_of(temporary) == []


def test_ctrl_c_ends_workers_daemon_and_broker_and_removes_the_folder(
    started: list[subprocess.Popen[str]], temporary: Path
) -> None:
    demo = start(started, temporary, "--messages", "30")
    wait_for(temporary, "*/daemon.log", "job.launch")
    assert [words for words in processes_of(temporary) if "scaler" in words] != []
    demo.send_signal(signal.SIGINT)
    _out, err = demo.communicate(timeout=END_S)
    assert demo.returncode == 130
    assert err == "Interrupted; stopping everything.\n"
    assert list(temporary.iterdir()) == []
    assert processes_of(temporary) == []


def test_a_termination_before_the_daemon_is_there_ends_it_as_well(
    started: list[subprocess.Popen[str]], temporary: Path
) -> None:
    demo = start(started, temporary)
    end = time.monotonic() + END_S
    while not list(temporary.glob("*/broker.log")):
        assert time.monotonic() < end
        time.sleep(0.01)
    demo.terminate()
    demo.communicate(timeout=END_S)
    assert demo.returncode == 128 + signal.SIGTERM
    assert list(temporary.iterdir()) == []
    assert processes_of(temporary) == []


def test_a_kept_demo_goes_on_working_until_ctrl_c(
    started: list[subprocess.Popen[str]], temporary: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "my demo"
    demo = start(started, temporary, "--messages", "1", "--keep", "--dir", str(folder))
    assert demo.stdout is not None
    told = ""
    while "Ctrl-C ends it." not in told:
        line = demo.stdout.readline()
        assert line, told
        told += line
    connection_string = re.search(r"Connection string: +(\S+)", told)
    assert connection_string is not None
    assert f"Job file: {folder}/demo.yaml" in told
    assert f"export SCALER_STATE_DIR='{folder}/state'" in told
    env = os.environ | {"SERVICEBUS_CONNECTION_STRING": connection_string[1], "QUEUE": "demo"}
    more = subprocess.run(
        [sys.executable, str(folder / "send.py"), "1", "again"], env=env, check=True, capture_output=True
    )
    assert more.stdout == b"sent: again 1\n"
    wait_for(folder, "state/logs/*.log", "done: again 1")
    demo.send_signal(signal.SIGINT)
    demo.communicate(timeout=END_S)
    assert demo.returncode == 0
    assert (folder / "demo.yaml").exists()
    assert processes_of(folder) == []


def test_a_broker_that_dies_is_told_in_one_line(
    started: list[subprocess.Popen[str]], temporary: Path
) -> None:
    demo = start(started, temporary, "--messages", "30")
    wait_for(temporary, "*/daemon.log", "job.launch")
    (broker,) = (
        int(place.name)
        for place in Path("/proc").iterdir()
        if place.name.isdecimal() and is_broker(place, temporary)
    )
    os.kill(broker, signal.SIGKILL)
    _out, err = demo.communicate(timeout=END_S)
    assert demo.returncode == 1
    assert re.fullmatch(
        r"Error: the broker (ended with code -9; its last line|doesn't answer any more): .*\n", err
    )
    assert list(temporary.iterdir()) == []
    assert processes_of(temporary) == []


def is_broker(place: Path, folder: Path) -> bool:
    try:
        words = (place / "cmdline").read_bytes().split(b"\0")
        return b"scaler.devbroker" in words and str((place / "cwd").readlink()).startswith(str(folder))
    except OSError:
        return False


# --- before anything starts -------------------------------------------------------------------------------


def test_a_folder_with_something_in_it_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    done = subprocess.run([*COMMAND, "--dir", str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == f"Error: --dir {tmp_path}: is not empty; name a new or an empty folder\n"
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_without_the_sdk_it_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['azure'] = None; from scaler.cli.main import main; sys.exit(main(['demo']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        "Error: the demo needs the package azure-servicebus; "
        "run: pip install 'queue-scaler[azure-servicebus]'\n"
    )


def test_the_job_file_is_one_that_the_daemon_takes_whatever_the_interpreter_is_called(tmp_path: Path) -> None:
    path = tmp_path / "demo.yaml"
    python = '/opt/my "python"/${HOME}/bin: ü'
    path.write_text(write_job(max_executions=7, admin_port=5300, python=python))
    loaded = load_paths([path], env={"SERVICEBUS_CONNECTION_STRING": BUS})
    assert [str(fault) for fault in loaded.faults] == []
    (job,) = (entry.job for entry in loaded.jobs)
    assert isinstance(job.trigger, EventTrigger)
    assert (job.name, job.executor, job.trigger.max_executions) == ("demo", "process", 7)
    assert job.template.container.command == (python, "worker.py")


# --- the accounting ---------------------------------------------------------------------------------------


def test_what_adds_up_has_no_fault() -> None:
    assert find_faults(GOOD) == ()


@pytest.mark.parametrize(
    ("tally", "faults"),
    [
        (
            replace(GOOD, done=("message 1", "message 3")),
            ("1 of 3 messages were not completed: message 2",),
        ),
        (
            replace(GOOD, done=(*GOOD.done, "message 2"), statuses={"Succeeded": 4}),
            ("done more than once: message 2", "4 executions for 3 messages"),
        ),
        (replace(GOOD, done=(*GOOD.done, "letter 9")), ("done, but never sent: letter 9",)),
        (replace(GOOD, left=2), ("2 left in the queue",)),
        (replace(GOOD, dead=1), ("1 given up by the broker (dead-lettered)",)),
        (
            replace(GOOD, statuses={"Succeeded": 3, "Failed": 1}),
            ("4 executions for 3 messages", "1 of the executions Failed"),
        ),
        (replace(GOOD, statuses={"Succeeded": 2, "Running": 1}), ("1 of the executions Running",)),
        (replace(GOOD, peak=3), ("3 executions at once, though at most 2 may be",)),
        (replace(GOOD, overdue=True, seconds=126.4), ("not finished after 126 s",)),
        (
            replace(GOOD, sent=tuple(f"m{n}" for n in range(1, 8)), done=(), statuses={}),
            (
                "7 of 7 messages were not completed: m1, m2, m3, m4, m5 and 2 more",
                "0 executions for 7 messages",
            ),
        ),
    ],
)
def test_what_does_not_add_up_is_said(tally: Tally, faults: tuple[str, ...]) -> None:
    assert find_faults(tally) == faults


def test_the_same_text_sent_twice_is_to_be_done_twice() -> None:
    twice = replace(GOOD, sent=("a", "a"), done=("a", "a"), statuses={"Succeeded": 2})
    assert find_faults(twice) == ()
    assert find_faults(replace(twice, done=("a",))) == ("1 of 2 messages were not completed: a",)


# --- the tutorial -----------------------------------------------------------------------------------------


def test_the_job_file_of_the_tutorial_has_no_fault(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "tutorial" / "first-steps.md").read_text()
    (text,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "orders.yaml").write_text(text)
    loaded = load_paths([tmp_path], env={"SERVICEBUS_CONNECTION_STRING": BUS})
    assert [str(fault) for fault in loaded.faults] == []
    assert [entry.job.name for entry in loaded.jobs] == ["orders"]


def test_the_tutorial_names_every_option() -> None:
    page = (Path(__file__).parents[2] / "docs" / "tutorial" / "first-steps.md").read_text()
    told = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, check=True).stdout
    options = set(re.findall(r"--[a-z]+", told)) - {"--help", "--output"}
    assert options == {"--messages", "--max", "--keep", "--dir"}
    assert {option for option in options if f"| `{option}" not in page} == set()
