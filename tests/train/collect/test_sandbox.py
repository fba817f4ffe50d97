"""The isolation by bubblewrap: what a program cannot reach there, whichever interpreter runs it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from fixtures.graded_code import DOUBLE, TESTS, code_score

REPOSITORY = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.services


def reached(attempt: str, isolated: bool = True) -> bool:
    """Whether a program comes to the end of `attempt`."""
    return code_score(f"{attempt}\nreached = True", "assert reached", isolated=isolated) == 1


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[str]:
    """The path of a Unix socket that somebody listens at."""
    folder = tempfile.mkdtemp(prefix="s")  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{folder}/s")
        server.listen(8)
        yield f"{folder}/s"
    shutil.rmtree(folder)


def test_no_socket_is_in_reach(listener: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        loopback = f"import socket; socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), timeout=2)"
        unix = f"import socket; socket.socket(socket.AF_UNIX).connect({listener!r})"
        for attempt in (loopback, unix):
            assert reached(attempt, isolated=False), attempt  # or the next line would show nothing
            assert not reached(attempt), attempt


def test_an_abstract_socket_is_out_of_reach() -> None:
    name = f"\0router-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(name)
        server.listen(8)
        attempt = f"import socket; socket.socket(socket.AF_UNIX).connect({name!r})"
        assert reached(attempt, isolated=False)
        assert not reached(attempt)


def test_no_file_of_the_user_or_of_the_machine_is_in_sight(tmp_path: Path) -> None:
    blank = tmp_path / "a folder with blanks"
    blank.mkdir()
    (blank / "file").write_text("x")
    for path in (blank / "file", REPOSITORY / "pyproject.toml", Path("/etc/passwd"), Path(__file__)):
        assert reached(f"open({str(path)!r}).read()", isolated=False), path
        assert not reached(f"open({str(path)!r}).read()"), path
    shown = "import os\nseen = os.listdir(os.path.expanduser('~')) + os.listdir('/run')"
    assert code_score(shown, "assert seen == []", isolated=True) == 1


def test_the_home_folder_shows_no_more_than_the_way_to_the_interpreter() -> None:
    home, at = Path.home(), [sys.base_prefix, sys.prefix]
    own = {Path(each).relative_to(home).parts[0] for each in at if Path(each).is_relative_to(home)}
    shown = f"import os\ntry: seen = set(os.listdir({str(home)!r}))\nexcept OSError: seen = set()"
    assert code_score(shown, f"assert seen <= {own or 'set()'}", isolated=True) == 1


def test_nothing_but_the_small_temporary_folder_is_writable() -> None:
    for folder in ("/", "/usr/lib", "/home", "/run", "/dev", "/dev/shm", sys.base_prefix):
        assert not reached(f"open({folder + '/written'!r}, 'w').write('x')"), folder
        assert not (Path(folder) / "written").exists()
    assert reached("open('/tmp/mine', 'w').write('x')\nassert open('mine').read() == 'x'")
    fill = "for n in range(20):\n    with open(f'/tmp/{n}', 'wb') as file: file.write(bytes(10 << 20))"
    assert not reached(fill)


def test_a_mount_whose_name_holds_a_blank_is_out_of_reach(tmp_path: Path) -> None:
    place = tmp_path / "a mount"
    place.mkdir()
    inside = f"""
import asyncio, sys
sys.path[:0] = [{str(REPOSITORY)!r}, {str(REPOSITORY / "tests")!r}]
from pathlib import Path
from fixtures.graded_code import code_score
place = Path({str(place)!r})
assert place.is_mount()
attempt = f"open({{str(place / 'written')!r}}, 'w').write('x')\\nreached = True"
assert code_score(attempt, "assert reached", isolated=True) == 0
assert not [*place.iterdir()]
print("held")
"""
    mounts = ["bwrap", "--dev-bind", "/", "/", "--tmpfs", str(place), "--"]
    done = subprocess.run([*mounts, sys.executable, "-c", inside], capture_output=True, text=True, check=False)
    assert done.stdout == "held\n", done.stderr


def test_a_program_starts_threads_but_no_process_and_sees_none() -> None:
    assert reached("import threading\nt = threading.Thread(target=print)\nt.start()\nt.join()")
    attempts = (
        "import os; os.fork()",
        "import os; os.posix_spawn('/bin/true', ['true'], {})",
        "import subprocess, sys; subprocess.run([sys.executable, '-c', ''])",
        "import ctypes; assert ctypes.CDLL(None).syscall(435, bytes(88), 88) >= 0",
        f"import os; os.kill({os.getpid()}, 0)",
    )
    for attempt in attempts:
        assert not reached(attempt), attempt


def test_memory_is_limited() -> None:
    assert reached("bytearray(1 << 20)")
    assert not reached("bytearray(300 << 20)")


def test_no_mount_and_no_namespace_can_be_made() -> None:
    library = "import ctypes; assert ctypes.CDLL(None)"
    assert not reached(f"{library}.mount(b'none', b'/tmp', b'tmpfs', 0, None) == 0")
    assert not reached(f"{library}.unshare(0x10000000) == 0")


def graded_by(python: Path | str, *before: str, **options: object) -> str:
    script = f"""
import sys
sys.path[:0] = [{str(REPOSITORY)!r}, {str(REPOSITORY / "tests")!r}]
import asyncio
from train.collect.code_tests import CodeRunner
print(asyncio.run(CodeRunner(True, 60, 256).grade({DOUBLE!r}, {TESTS!r})))
"""
    done = subprocess.run([*before, str(python), "-c", script], capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    return str(done.stdout.strip() or done.stderr)


@pytest.mark.parametrize("copies", [False, True], ids=["links", "copies"])
def test_it_works_in_a_virtual_environment_below_tmp(copies: bool) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="an environment ") as folder:
        made = [sys.executable, "-m", "venv", "--without-pip", *(["--copies"] if copies else []), folder]
        subprocess.run(made, check=True)
        (site,) = Path(folder).glob("lib/python*/site-packages")
        paths = [each for each in sys.path if each.endswith("site-packages")]
        (site / "packages.pth").write_text("\n".join(paths))
        assert graded_by(Path(folder) / "bin" / "python") == "1.0"


def test_it_works_with_an_interpreter_below_tmp() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        base, to = Path(sys.base_prefix), Path(folder) / "python"
        library = f"lib/python{sys.version_info.major}.{sys.version_info.minor}"
        (to / "bin").mkdir(parents=True)
        shutil.copy2(os.path.realpath(sys.executable), to / "bin" / "python")
        shutil.copytree(
            base / library, to / library, ignore=shutil.ignore_patterns("site-packages", "test", "__pycache__")
        )
        for each in (base / "lib").glob("libpython*.so*"):
            shutil.copy2(each, to / "lib" / each.name)
        packages = next(each for each in sys.path if each.endswith("site-packages"))
        (to / library / "site-packages").mkdir()
        (to / library / "site-packages" / "packages.pth").write_text(packages)
        assert graded_by(to / "bin" / "python", env={"PATH": os.defpath}) == "1.0"
