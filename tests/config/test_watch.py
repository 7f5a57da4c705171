"""Edits are seen, whatever way they are made."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest

from scaler.config.load import LoadResult
from scaler.config.watch import fingerprint, watch

JOB = """\
name: {name}
configuration:
  triggerType: Manual
  replicaTimeout: 60
template:
  containers:
    - image: {image}
      command: [date]
x-scaler:
  executor: docker
  secrets: [{{name: s, file: {secret}}}]
"""


def _text(name: str = "a", image: str = "one", secret: str = "secret.txt") -> str:
    return JOB.format(name=name, image=image, secret=secret)


@asynccontextmanager
async def _watching(folder: Path) -> AsyncIterator[Callable[[], Awaitable[LoadResult]]]:
    async with aclosing(watch([folder], asyncio.sleep, env={}, interval=0.05)) as results:

        async def following() -> LoadResult:
            async with asyncio.timeout(5):
                return await anext(results)

        yield following


def _image(result: LoadResult) -> list[str | None]:
    return [loaded.job.template.container.image for loaded in result.jobs]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "secret.txt").write_text("first")
    (tmp_path / "a.yaml").write_text(_text())
    return tmp_path


async def test_the_present_state_comes_first_and_once(folder: Path) -> None:
    async with _watching(folder) as following:
        assert _image(await following()) == ["one"]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.4):
                await following()


async def test_an_edit_in_place_is_seen_even_if_size_and_time_stay(folder: Path) -> None:
    file = folder / "a.yaml"
    async with _watching(folder) as following:
        await following()
        before = file.stat()
        file.write_text(_text(image="two"))
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert file.stat().st_size == before.st_size
        assert _image(await following()) == ["two"]


async def test_an_editor_that_renames_is_seen(folder: Path) -> None:
    async with _watching(folder) as following:
        await following()
        (folder / ".a.yaml.swp").write_text(_text(image="new"))
        (folder / ".a.yaml.swp").rename(folder / "a.yaml")
        assert _image(await following()) == ["new"]


async def test_a_switched_config_map_is_seen(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("first")
    for version in ("one", "two"):
        (tmp_path / f"..{version}").mkdir()
        (tmp_path / f"..{version}" / "a.yaml").write_text(_text(image=version, secret="../secret.txt"))
    (tmp_path / "..data").symlink_to("..one")
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    (tmp_path.parent / "secret.txt").write_text("x")
    async with _watching(tmp_path) as following:
        assert _image(await following()) == ["one"]
        (tmp_path / "..new").symlink_to("..two")
        (tmp_path / "..new").rename(tmp_path / "..data")
        assert _image(await following()) == ["two"]


async def test_added_and_deleted_files_are_seen(folder: Path) -> None:
    async with _watching(folder) as following:
        await following()
        (folder / "b.yaml").write_text(_text(name="b", image="b"))
        assert _image(await following()) == ["one", "b"]
        (folder / "a.yaml").unlink()
        assert _image(await following()) == ["b"]


async def test_a_changed_secret_file_is_seen(folder: Path) -> None:
    async with _watching(folder) as following:
        first = await following()
        (folder / "secret.txt").write_text("second")
        second = await following()
        revealed = [r.jobs[0].job.secrets["s"].reveal() for r in (first, second)]
        assert revealed == ["first", "second"]


async def test_a_half_written_file_is_a_fault_and_then_none(folder: Path) -> None:
    async with _watching(folder) as following:
        await following()
        whole = _text(image="three")
        (folder / "a.yaml").write_text(whole[:60])
        broken = await following()
        assert broken.jobs == ()
        assert broken.faults
        (folder / "a.yaml").write_text(whole)
        assert _image(await following()) == ["three"]


async def test_an_edit_is_seen_within_a_second(folder: Path) -> None:
    async with aclosing(watch([folder], asyncio.sleep, env={})) as results:
        await anext(results)
        (folder / "a.yaml").write_text(_text(image="soon"))
        start = time.monotonic()
        async with asyncio.timeout(5):
            assert _image(await anext(results)) == ["soon"]
        assert time.monotonic() - start < 1.0


def test_a_folder_that_vanishes_changes_the_fingerprint(tmp_path: Path) -> None:
    folder = tmp_path / "jobs"
    folder.mkdir()
    before = fingerprint([str(folder)])
    folder.rmdir()
    assert fingerprint([str(folder)]) != before


async def test_where_a_look_takes_long_the_next_one_comes_later(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rests: list[float] = []

    async def rest(seconds: float) -> None:
        rests.append(seconds)
        (folder / "a.yaml").write_text(_text(image=str(len(rests))))

    def slowly(*given: Sequence[str]) -> str:
        time.sleep(0.1)
        return fingerprint(*given)

    monkeypatch.setattr("scaler.config.watch.fingerprint", slowly)
    async with aclosing(watch([folder], rest, env={}, interval=0.05)) as results:
        for _ in range(3):
            await anext(results)
    assert rests[0] >= 2.0


async def test_what_is_known_already_is_given_without_being_read_again(folder: Path) -> None:
    seen, loaded = fingerprint([str(folder)]), LoadResult(files=("known",))
    async with aclosing(
        watch([folder], asyncio.sleep, env={}, interval=0.05, known=(seen, loaded))
    ) as results:
        assert await anext(results) is loaded
        (folder / "a.yaml").write_text(_text(image="two"))
        assert _image(await anext(results)) == ["two"]


async def test_what_was_known_of_files_that_have_changed_since_is_read_anew(folder: Path) -> None:
    known = (fingerprint([str(folder)]), LoadResult(files=("known",)))
    (folder / "a.yaml").write_text(_text(image="two"))
    async with aclosing(watch([folder], asyncio.sleep, env={}, interval=0.05, known=known)) as results:
        assert _image(await anext(results)) == ["two"]
