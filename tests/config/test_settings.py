"""The daemon's settings file."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from scaler.config.settings import (
    LimitSettings,
    Listen,
    LogSettings,
    Settings,
    ShutdownSettings,
    TraceSettings,
    load_settings,
)
from scaler.errors import ConfigError
from scaler.model.capacity import GlobalLimits
from scaler.model.retention import CONTAINER_APPS, DEFAULT_RETENTION, Retention
from scaler.model.secret import Secret
from tests.config.toys import EXECUTORS

CONFIG = Path(__file__).parents[2] / "config"
ENV = {"TOKEN": "canary-token-text", "N": "7"}
FULL = """\
stateDir: state
listen: {address: "0.0.0.0:8080", token: {env: TOKEN}, tokens: {ci: {env: N}}}
executors:
  docker: {allowedMounts: [/srv, 5]}
  process:
history: {preset: container-apps, executions: 10, days: "${N}", logBytes: 512Mi, decisions: "${N}"}
limits:
  pollTimeout: 500ms
  refillInterval: 2
  sourceRequests: 0.5
  launchTimeout: 1.5m
  stopGrace: 1h
  global: {executions: 20, cpu: 7.5, memory: 16Gi, launchRate: 2.5, passOver: 4}
shutdown: {drain: true, drainTimeout: 30m}
log: {level: debug, format: json}
trace: {file: t.jsonl, maxBytes: 65536, keep: 0}
"""


def _faults(tmp_path: Path, text: str | bytes) -> list[str]:
    file = tmp_path / "s.yaml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ConfigError) as caught:
        load_settings(file, env=ENV, executors=EXECUTORS)
    return [line.removeprefix(f"{tmp_path}/") for line in str(caught.value).splitlines()]


def test_without_a_file_all_is_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_settings(None, env={}) == Settings(state_dir=tmp_path / ".scaler")


def test_a_full_file_becomes_the_whole_settings(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(FULL)
    assert load_settings(file, env=ENV, executors=EXECUTORS) == Settings(
        state_dir=tmp_path / "state",
        listen=Listen(
            host="0.0.0.0", port=8080, tokens=(("", Secret("canary-token-text")), ("ci", Secret("7")))
        ),
        executors={"docker": {"allowedMounts": ["/srv", 5]}},
        history=Retention(executions=10, age=timedelta(days=7), log_bytes=1 << 29, decisions=7),
        limits=LimitSettings(
            poll_timeout=timedelta(milliseconds=500),
            refill_interval=timedelta(seconds=2),
            source_requests=0.5,
            launch_timeout=timedelta(seconds=90),
            stop_grace=timedelta(hours=1),
            overall=GlobalLimits(
                executions=20, cpu=7.5, memory_bytes=16 << 30, launch_rate=2.5, launch_burst=2, pass_over=4
            ),
        ),
        shutdown=ShutdownSettings(drain=True, drain_timeout=timedelta(minutes=30)),
        log=LogSettings(level="debug", format="json"),
        trace=TraceSettings(file=tmp_path / "t.jsonl", max_bytes=65536, keep=0),
    )


def test_the_sample_holds_the_defaults() -> None:
    assert load_settings(CONFIG / "scaler.yaml", env={}, executors=EXECUTORS) == Settings(
        state_dir=CONFIG.parent / ".scaler", executors={"docker": {}, "process": {}}
    )


def test_a_token_may_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("abc\n")
    file = tmp_path / "s.yaml"
    file.write_text('listen: {address: "[::1]:0", token: {file: token}}')
    assert load_settings(file, env={}).listen == Listen(host="::1", port=0, tokens=(("", Secret("abc")),))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("stateDirr: x", ["s.yaml:1:1: stateDirr: unknown key; did you mean 'stateDir'?"]),
        (
            "limits:\n  pollTimeout: soon\n  stopGrace: 0",
            [
                "s.yaml:2:16: limits.pollTimeout: got 'soon'; write a time such as 500ms, 10s or 5m",
                "s.yaml:3:14: limits.stopGrace: got '0'; write a time such as 500ms, 10s or 5m",
            ],
        ),
        (
            "limits:\n  global: {executions: 0, cpu: -1, memory: 5, launchRate: fast}",
            [
                "s.yaml:2:24: limits.global.executions: got 0; write 1 or more",
                "s.yaml:2:32: limits.global.cpu: got '-1'; write a number of cores above 0, such as 0.5",
                "s.yaml:2:44: limits.global.memory: got '5'; write a size such as '0.5Gi' or '512Mi'",
                "s.yaml:2:59: limits.global.launchRate: got 'fast'; write how many executions a second, such as 0.5",
            ],
        ),
        (
            "listen: {address: 0.0.0.0:80}",
            ["s.yaml:1:1: listen.token: missing; 0.0.0.0 can be reached from outside, so name the token"],
        ),
        (
            "listen: {address: localhost}",
            ["s.yaml:1:19: listen.address: got 'localhost'; write host:port, such as 127.0.0.1:8080"],
        ),
        (
            "listen:\n  address: localhost:1\n  token: {env: NOPE}",
            ["s.yaml:3:16: listen.token.env: the variable NOPE is not set; set it where the daemon starts"],
        ),
        (
            "listen:\n  address: 0.0.0.0:1\n  tokens: {ci: {env: NOPE}, a b: {env: N}}",
            ["s.yaml:3:29: listen.tokens.a b.[key]: got 'a b'; name a token by letters"],
        ),
        (
            "listen:\n  address: 0.0.0.0:1\n  tokens: {ci: {env: NOPE}}",
            [
                "s.yaml:3:22: listen.tokens.ci.env: the variable NOPE is not set; set it where the daemon starts"
            ],
        ),
        (
            "listen:\n  address: localhost:1\n  token: {}",
            ["s.yaml:3:10: listen.token: write either 'env' or 'file'"],
        ),
        (
            "listen:\n  address: localhost:1\n  token: {file: nope}",
            ["s.yaml:3:17: listen.token.file: no file 'nope'; create it or correct the path"],
        ),
        (
            "executors:\n  docker:\n    allowedMount: []\n  podman: {}",
            [
                "s.yaml:3:5: executors.docker.allowedMount: unknown setting; did you mean 'allowedMounts'?",
                "s.yaml:4:3: executors.podman: unknown executor 'podman'; known here: docker, process",
            ],
        ),
        (
            "log: {level: loud}",
            ["s.yaml:1:14: log.level: got 'loud'; write one of debug, info, warning, error"],
        ),
        (
            'log: {level: "${TOKEN}"}',
            ["s.yaml:1:14: log.level: got '***'; write one of debug, info, warning, error"],
        ),
        (
            "history: {executions: 0}",
            ["s.yaml:1:23: history.executions: got '0'; write a whole number, 1 or more, or unlimited"],
        ),
        (
            "history: {logBytes: much, preset: aws}",
            [
                "s.yaml:1:21: history.logBytes: got 'much'; write a size such as '0.5Gi' or '512Mi'",
                "s.yaml:1:35: history.preset: got 'aws'; write one of container-apps",
            ],
        ),
        ("- a", ["s.yaml:1:1: got a list; write settings, which are a mapping"]),
        ("", ["s.yaml:1:1: no settings in it; leave it out for defaults"]),
        ("log: {}\n---\nlog: {}", ["s.yaml:3:1: a second document; settings are one document"]),
        ("log: {}\nlog: {}", ["s.yaml:2:1: log: given twice, first in line 1; keep one"]),
        ("log: [", ["s.yaml:1:7: not YAML: "]),
        (b"a: \xff", ["s.yaml:1:4: byte 0xff is not UTF-8; save the file as UTF-8"]),
    ],
)
def test_every_fault_is_one_line_at_its_place(tmp_path: Path, text: str | bytes, expected: list[str]) -> None:
    got = _faults(tmp_path, text)
    assert [line[: len(want)] for line, want in zip(got, expected, strict=True)] == expected


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no\.yaml: no such file or folder; correct the path$"):
        load_settings(tmp_path / "no.yaml", env={})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("history: {preset: container-apps}", CONTAINER_APPS),
        ("history: {executions: 10000, days: unlimited, logBytes: 10Gi, decisions: 500}", DEFAULT_RETENTION),
        ("history: {executions: unlimited, logBytes: unlimited}", Retention(executions=None, log_bytes=None)),
    ],
)
def test_what_is_kept_is_a_preset_or_bounds_or_unlimited(
    tmp_path: Path, text: str, expected: Retention
) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(text)
    assert load_settings(file, env={}).history == expected
