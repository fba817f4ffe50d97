"""What a user without a clone has: the wheel of a checkpoint, and messages that name only what works there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from router import installation

pytestmark = pytest.mark.end_to_end

REPOSITORY = Path(__file__).parents[3]
MAKE_WHEEL = REPOSITORY / "scripts" / "checkpoint_wheel" / "make_wheel.py"
LOAD = (
    "from router import Router; router = Router.from_pretrained(); print(router.default_pool, router.pool_cache.folder)"
)


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the code alone, as where a wheel is installed."""
    site = tmp_path_factory.mktemp("site")
    for package in ("router", "train"):
        shutil.copytree(REPOSITORY / package, site / package, ignore=shutil.ignore_patterns("__pycache__"))
    return site


def run(*argv: str | Path, path: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "ROUTER_CHECKPOINT"}
    environment |= {"PYTHONPATH": path, "PYTHONSAFEPATH": "1", "PYTHONDONTWRITEBYTECODE": "1"} | variables
    command = [sys.executable, *map(str, argv)]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)


def make_wheel(checkpoint: Path, out: Path) -> Path:
    done = run(MAKE_WHEEL, checkpoint, "--out", out, path=str(REPOSITORY), cwd=out)
    assert done.returncode == 0, done.stderr
    (wheel,) = out.glob("*.whl")
    assert done.stdout.startswith(f"{wheel} (")
    return wheel


def test_the_wheel_of_a_checkpoint_is_what_is_loaded_where_none_is_named(
    tiny_router: Path, code: Path, tmp_path: Path
) -> None:
    (tiny_router / "index").mkdir()
    (tiny_router / "index" / "big.safetensors").touch()
    (tmp_path / "dist").mkdir()
    wheel = make_wheel(tiny_router, tmp_path / "dist")
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as content:
        content.extractall(installed)  # all that installing does with a wheel that has no code
    assert wheel.name == "inferencedynamics_checkpoint-0.2.0-py3-none-any.whl"
    assert {"LICENSE", "NOTICE"} <= {each.name for each in installed.rglob("*")}
    assert not [*installed.rglob("big.safetensors")]
    found = run("-c", LOAD, path=f"{code}:{installed}", cwd=tmp_path)
    assert found.stdout.split() == ["both", str(installed / "inferencedynamics_checkpoint" / "checkpoint")], (
        found.stderr
    )
    named = run("-c", LOAD, path=f"{code}:{installed}", cwd=tmp_path, ROUTER_CHECKPOINT=str(tiny_router))
    assert named.stdout.split() == ["both", str(tiny_router)]
    routed = run("-m", "router.cli.main", "route", "prove it", path=f"{code}:{installed}", cwd=tmp_path)
    assert routed.returncode == 0 and "both" in routed.stdout, routed.stderr


def test_without_a_checkpoint_a_wheel_user_is_told_what_works_there(code: Path, tmp_path: Path) -> None:
    done = run("-m", "router.cli.main", "route", "prove it", path=str(code), cwd=tmp_path)
    assert done.returncode == 1
    assert re.fullmatch(
        r"router: error: no checkpoint is named, ROUTER_CHECKPOINT is not set, there is none at .*/routemix, and the "
        r"package inferencedynamics-checkpoint is not installed: give a router's folder or hub:owner/name with "
        r"--checkpoint or ROUTER_CHECKPOINT; a clone of the repository has one in checkpoints/routemix, and there "
        r"`python scripts/checkpoint_wheel/make_wheel\.py` makes a wheel of it, to be installed here\n",
        done.stderr,
    )
    assert MAKE_WHEEL.is_file()


def test_a_broken_checkpoint_is_not_packed(tiny_router: Path, tmp_path: Path) -> None:
    (tiny_router / "heads.safetensors").write_bytes(b"")
    done = run(MAKE_WHEEL, tiny_router, "--out", tmp_path, path=str(REPOSITORY), cwd=tmp_path)
    assert done.returncode == 1 and "heads.safetensors was altered or cut short" in done.stderr
    assert not [*tmp_path.glob("*.whl")]


@pytest.mark.full
def test_the_shipped_checkpoint_makes_a_wheel_under_60_mb(code: Path, tmp_path: Path) -> None:
    (tmp_path / "dist").mkdir()
    wheel = make_wheel(installation.SHIPPED_CHECKPOINT, tmp_path / "dist")
    assert wheel.stat().st_size < 60_000_000
    with zipfile.ZipFile(wheel) as content:
        content.extractall(tmp_path / "installed")
    found = run("-c", LOAD, path=f"{code}:{tmp_path / 'installed'}", cwd=tmp_path)
    assert found.stdout.split()[:1] == ["today"], found.stderr


# Messages


def test_in_a_clone_extras_are_installed_from_it_and_elsewhere_from_a_clone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert installation.how_to_install("serve") == f"pip install -e '.[serve]' in {REPOSITORY}"
    monkeypatch.setattr(installation, "ROOT", Path("/usr/lib/python3/site-packages"))
    assert installation.how_to_install("serve") == "pip install '.[serve]' in a clone of the repository"


def test_a_wheel_user_is_told_to_install_extras_from_a_clone(code: Path, tmp_path: Path) -> None:
    serve = (
        "import sys; sys.modules['uvicorn'] = None; from router.cli.main import main; sys.exit(main(['serve', 'p']))"
    )
    done = run("-c", serve, path=str(code), cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        "router: error: `router serve` needs uvicorn: pip install '.[serve]' in a clone of the repository installs it\n"
    )


def test_no_text_names_a_package_that_no_index_has() -> None:
    files = [each for folder in ("router", "train", "docs", "examples") for each in (REPOSITORY / folder).rglob("*")]
    texts = [each for each in files if each.suffix in (".py", ".md")]
    assert len(texts) > 100
    assert not [each for each in texts if re.search(r"pip install [^\n]*inferencedynamics", each.read_text())]
