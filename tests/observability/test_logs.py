"""What a log says of an error."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog

from scaler.observability.logs import configure_logs

_SECRET = "hunter" + "2" * 5  # put together, so that no line of this file holds it


@pytest.fixture
def _own_setup() -> Iterator[None]:
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.mark.parametrize("form", ["console", "json"])
@pytest.mark.usefixtures("_own_setup")
def test_a_traceback_tells_where_and_shows_no_value_of_a_variable(
    form: str, capfd: pytest.CaptureFixture[str]
) -> None:
    configure_logs(level="info", form=form)

    _fail(f"Bearer {_SECRET}")

    log = capfd.readouterr().err
    assert "_fail" in log
    assert "ZeroDivisionError" in log
    assert _SECRET not in log


def _fail(token: str) -> None:
    try:
        assert len(token) / 0
    except ZeroDivisionError:
        structlog.get_logger().exception("it.failed")
