"""Files that a user names: written whole or not at all, through links, never over a device or a pipe."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import lossary
from lossary.errors import ParameterError


def save(path: Path | str) -> None:
    lossary.diagnose("huber", [0.5], [0.0]).save(path)


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "diagnosis.txt"
    path.write_text("the old one")

    def fails(*_: object, **__: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fails)
        with pytest.raises(OSError, match="disk full"):
            save(path)
    assert path.read_text() == "the old one" and list(tmp_path.iterdir()) == [path]
    save(path)
    assert "huber" in path.read_text() and list(tmp_path.iterdir()) == [path]


def test_a_symbolic_link_is_followed_and_permissions_survive(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere" / "target.txt", tmp_path / "link.txt"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)
    save(link)
    assert link.is_symlink() and "huber" in target.read_text()
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    dangling = tmp_path / "dangling.txt"
    dangling.symlink_to(tmp_path / "elsewhere" / "new.txt")
    save(dangling)
    assert dangling.is_symlink() and "huber" in (tmp_path / "elsewhere" / "new.txt").read_text()


def test_a_new_file_gets_what_the_umask_leaves_and_a_private_one_stays_private_while_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new, private = tmp_path / "new.txt", tmp_path / "private.txt"
    private.write_text("old")
    private.chmod(0o600)
    modes: list[int] = []

    def watched(call: Any) -> Any:
        def calls(draft: Any, *arguments: Any, **options: Any) -> None:
            modes.append(stat.S_IMODE(os.stat(draft).st_mode))
            call(draft, *arguments, **options)

        return calls

    for name in ("chmod", "replace"):  # the draft is complete before either
        monkeypatch.setattr(os, name, watched(getattr(os, name)))
    before = os.umask(0o027)
    try:
        save(new)
        save(private)
    finally:
        os.umask(before)
    assert modes == [0o640, 0o600, 0o600]
    assert [stat.S_IMODE(path.stat().st_mode) for path in (new, private)] == [0o640, 0o600]


def test_the_longest_name_a_file_can_have_is_written(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 251 + ".txt")
    save(path)
    assert "huber" in path.read_text() and list(tmp_path.iterdir()) == [path]


def test_writers_at_the_same_time_leave_one_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "diagnosis.txt"
    diagnoses = [lossary.diagnose("huber", [0.5] * n, [0.0] * n) for n in (1, 2, 3)]
    wholes = set()
    for number, diagnosis in enumerate(diagnoses):
        diagnosis.save(tmp_path / f"{number}.txt")
        wholes.add((tmp_path / f"{number}.txt").read_text())
        (tmp_path / f"{number}.txt").unlink()
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: diagnoses[n % 3].save(path), range(60)))
    assert path.read_text() in wholes and list(tmp_path.iterdir()) == [path]


def test_what_is_no_regular_file_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.txt"
    os.mkfifo(pipe)
    with pytest.raises(ParameterError, match="is a pipe, expected a regular file"):
        save(pipe)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    with pytest.raises(ParameterError, match="is a device"):
        save("/dev/null")
    with pytest.raises(ParameterError, match="is a folder"):
        save(tmp_path)
    with pytest.raises(ParameterError, match="there is no folder"):
        save(tmp_path / "nowhere" / "diagnosis.txt")
    assert list(tmp_path.iterdir()) == [pipe]
