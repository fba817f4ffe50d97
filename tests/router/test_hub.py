"""The Hub, spoken to by the real client: a loopback endpoint stands for it, in a process that has no httpx.

huggingface_hub reads its settings when it is imported, so every test of it runs a Python of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from fixtures.loopback_hub import TOKEN, LoopbackHub, serving

from router.checkpoint.checkpoint import Checkpoint
from router.checkpoint.layout import list_files
from router.checkpoint.storage import load_checkpoint, push_checkpoint
from router.errors import CheckpointError, UsageError
from router.hub import HubId, read_hub_id
from router.routing.router import Router

pytestmark = pytest.mark.end_to_end

REPOSITORY = Path(__file__).parents[2]
HOW = r"--checkpoint or ROUTER_CHECKPOINT, or train one with `python -m train fit --config configs/demo\.yaml`"
BASE = """
import json, sys
for name in ("httpx", "torch", "transformers", "pandas"):  # what the base install lacks
    sys.modules[name] = None
from router import Router, RouterError
from router.checkpoint.storage import push_checkpoint

def tried(function, *args, **options):
    try:
        return function(*args, **options)
    except RouterError as error:
        return f"{type(error).__name__}: {error}"

def pool(*args, **options):
    found = tried(Router.from_pretrained, *args, backend="onnx", **options)
    return found if isinstance(found, str) else found.default_pool
"""
Ask = Callable[..., Any]


@pytest.fixture
def hub() -> Iterator[LoopbackHub]:
    with serving() as found:
        yield found


@pytest.fixture
def ask(hub: LoopbackHub, tmp_path: Path) -> Ask:
    """Runs Python with a base install's packages and this hub; what the lines put into `found`."""

    def run(lines: str, python: str = sys.executable, **variables: str) -> Any:
        code = BASE + lines + "\nprint(json.dumps(found))"
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
        environment = ours | {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "HF_XET_HIGH_PERFORMANCE": "0"}
        environment |= {"PYTHONPATH": str(REPOSITORY)} | variables
        done = subprocess.run(
            [python, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


def asked(hub: LoopbackHub) -> list[str]:
    """The paths of repositories that were asked for, and empties the record."""
    paths = [path for _, path, _ in hub.asked if "agent-harnesses" not in path]
    hub.asked.clear()
    return paths


def other_default(folder: Path) -> None:
    raw = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(raw | {"default_pool": "odd"}))


# Fetching


def test_an_id_is_downloaded_at_its_revision_verified_and_then_found_offline(
    hub: LoopbackHub, ask: Ask, tiny_router: Path
) -> None:
    (tiny_router / "evil.bin").write_bytes(b"a pickle")
    first = hub.add("owner/router", tiny_router)
    other_default(tiny_router)
    hub.add("owner/router", tiny_router)
    hub.add("owner/router", tiny_router, "v2/next")
    lines = f"""
found = [pool("hub:owner/router"), pool("hub:owner/router@{first}"), pool("hub:owner/router", revision="v2/next")]
"""
    assert ask(lines) == ["odd", "both", "odd"]
    paths = asked(hub)
    assert any(path.endswith("/encoder/model.safetensors") for path in paths)
    assert not [path for path in paths if "evil" in path]
    offline = 'found = [pool("hub:owner/router"), pool("hub:owner/router@v3"), pool("hub:owner/none")]'
    fetched, *missing = ask(offline, HF_HUB_OFFLINE="1")
    assert fetched == "odd" and all("could not be downloaded" in message for message in missing)
    local = 'found = [pool("hub:owner/router", local_files_only=True), pool("hub:owner/none", local_files_only=True)]'
    fetched, missing = ask(local)
    assert fetched == "odd" and missing.startswith("CheckpointError: hub:owner/none could not be downloaded")
    assert asked(hub) == []


def test_a_broken_repository_a_missing_one_and_a_hub_that_is_down_are_one_clear_line(
    hub: LoopbackHub, ask: Ask, tiny_router: Path
) -> None:
    (tiny_router / "taxonomy.json").unlink()
    hub.add("owner/router", tiny_router)
    broken, missing, strange = ask(
        'found = [pool("hub:owner/router"), pool("hub:owner/none"), pool("hub:owner/router@v9")]'
    )
    assert "taxonomy.json is missing" in broken
    assert missing.startswith("CheckpointError: hub:owner/none could not be downloaded: RepositoryNotFoundError: 401")
    assert strange.startswith("CheckpointError: hub:owner/router@v9 could not be downloaded: RevisionNotFoundError")
    down = ask('found = pool("hub:owner/router@v8")', HF_ENDPOINT="http://127.0.0.1:9")
    assert down.startswith("CheckpointError: hub:owner/router@v8 could not be downloaded: ")
    assert all("`hf auth login`" in message and "\n" not in message for message in (missing, strange, down))


def test_the_token_of_huggingface_hub_is_sent(hub: LoopbackHub, ask: Ask, tiny_router: Path) -> None:
    hub.add("owner/router", tiny_router)
    hub.private.add("owner/router")
    lines = 'found = pool("hub:owner/router")'
    assert "could not be downloaded: RepositoryNotFoundError" in ask(lines)
    assert ask(lines, HF_TOKEN=TOKEN) == "both"


def test_a_path_is_never_asked_of_the_hub(hub: LoopbackHub, ask: Ask, tiny_router: Path, tmp_path: Path) -> None:
    hub.add("checkpoints/routemix", tiny_router)
    missing, folder = ask(
        'import os; first = pool("checkpoints/routemix"); os.makedirs("checkpoints/routemix");'
        'found = [first, pool("checkpoints/routemix")]'
    )
    assert "there is no checkpoint folder 'checkpoints/routemix'" in missing
    assert "what is on the Hub is spelt hub:checkpoints/routemix" in missing
    assert "is no router checkpoint" in folder
    assert asked(hub) == []


@pytest.mark.parametrize("name", ["hub:", "hub:name", "hub:a/b/c", "hub:./b", "hub:a/b@", "hub:https://h/a/b"])
def test_what_is_no_id_says_how_one_is_spelt(name: str) -> None:
    with pytest.raises(CheckpointError, match=r"is no id of the Hub: write hub:owner/name or hub:owner/name@revision"):
        load_checkpoint(name)


def test_a_revision_is_of_an_id_and_given_once(tiny_router: Path) -> None:
    assert read_hub_id("hub:a/b@refs/pr/1") == read_hub_id("hub:a/b", "refs/pr/1") == HubId("a/b", "refs/pr/1")
    with pytest.raises(UsageError, match=r"a revision is of an id such as hub:owner/name, got 'v1' for the path"):
        Router.from_pretrained(tiny_router, revision="v1")
    with pytest.raises(UsageError, match="hub:a/b@v1 names a revision and 'v2' is another: give one"):
        Router.from_pretrained("hub:a/b@v1", revision="v2")


@pytest.mark.full
def test_an_environment_of_the_base_dependencies_alone_loads_from_the_hub_and_pushes(
    hub: LoopbackHub, ask: Ask, tiny_router: Path, tmp_path: Path
) -> None:
    hub.add("owner/router", tiny_router)
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    base = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    install = [python, "-m", "pip", "install", "--quiet", "--constraint", REPOSITORY / "constraints.txt", *base]
    subprocess.run(install, check=True)
    lines = f"""
import importlib.metadata
names = {{each.metadata["Name"].lower() for each in importlib.metadata.distributions()}}
found = [pool("hub:owner/router"), tried(push_checkpoint, {str(tiny_router)!r}, "me/new"), sorted(names)]
"""
    pool, address, names = ask(lines, python, HF_TOKEN=TOKEN)
    assert (pool, address) == ("both", f"{hub.url}/me/new")
    assert not {"httpx", "torch", "starlette", "pandas"} & set(names)


# Pushing


def test_a_folder_is_pushed_to_a_private_repository_and_found_there(
    hub: LoopbackHub, ask: Ask, tiny_router: Path
) -> None:
    lines = f"""
where = {str(tiny_router)!r}
found = [tried(push_checkpoint, where, "me/router"), pool("hub:me/router"), tried(push_checkpoint, where, "a/b/c")]
"""
    address, pool, strange = ask(lines, HF_TOKEN=TOKEN)
    assert (address, pool) == (f"{hub.url}/me/router", "both")
    assert "me/router" in hub.private and sorted(hub.repositories["me/router"]["main"]) == list_files(tiny_router)
    assert strange.startswith("CheckpointError: could not upload") and "The id must read owner/name" in strange
    [refused, down] = [
        ask(f'found = tried(push_checkpoint, {str(tiny_router)!r}, "me/x")', **variables)
        for variables in ({}, {"HF_ENDPOINT": "http://127.0.0.1:9"})
    ]
    assert refused.startswith("CheckpointError: could not upload") and "`hf auth login`" in refused
    assert down.startswith("CheckpointError: could not upload") and "\n" not in down


class FakeApi:
    """Records what would be uploaded."""

    calls: list[tuple[str, str, bool]]
    files: list[str]

    def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> str:
        type(self).calls = [("create", repo_id, private and exist_ok)]
        return f"https://hub.example/{repo_id}"

    def upload_folder(self, *, repo_id: str, folder_path: Path, commit_message: str) -> None:
        if "/" not in repo_id:
            raise ValueError("not an id")
        type(self).files = list_files(folder_path)
        digest = hashlib.sha256((folder_path / "heads.safetensors").read_bytes()).hexdigest()
        type(self).calls.append((digest, repo_id, commit_message != ""))


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> type[FakeApi]:
    monkeypatch.setattr(huggingface_hub, "HfApi", FakeApi)
    return FakeApi


def test_a_checkpoint_or_its_folder_is_pushed_whole(
    tiny_checkpoint: Checkpoint, tiny_router: Path, api: type[FakeApi]
) -> None:
    digest = hashlib.sha256((tiny_router / "heads.safetensors").read_bytes()).hexdigest()
    for what in (tiny_checkpoint, tiny_router, str(tiny_router)):
        assert push_checkpoint(what, "owner/router") == "https://hub.example/owner/router"
        assert api.calls == [("create", "owner/router", True), (digest, "owner/router", True)]
        assert api.files == list_files(tiny_router)
    push_checkpoint(tiny_router, "owner/router", private=False)
    assert api.calls[0] == ("create", "owner/router", False)


def test_a_broken_folder_is_not_pushed(tiny_router: Path, api: type[FakeApi]) -> None:
    (tiny_router / "heads.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"heads\.safetensors is missing"):
        push_checkpoint(tiny_router, "owner/router")


def test_an_upload_that_fails_is_a_checkpoint_error(tiny_checkpoint: Checkpoint, api: type[FakeApi]) -> None:
    with pytest.raises(
        CheckpointError, match=r"could not upload .* to 'router': ValueError: not an id\. .*`hf auth login`"
    ):
        push_checkpoint(tiny_checkpoint, "router")
