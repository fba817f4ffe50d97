from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from router.checkpoint import Checkpoint, load_checkpoint, push_checkpoint
from router.checkpoint_folder import list_files
from router.errors import CheckpointError

HOW = r"--checkpoint or ROUTER_CHECKPOINT, or train one with `python -m train fit --config configs/demo\.yaml`"


def test_a_hub_id_is_downloaded_and_verified(tiny_router: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def snapshot_download(repo_id: str, **options: Any) -> str:
        asked.append((repo_id, options))
        return str(tiny_router)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    assert load_checkpoint("owner/router").default_pool == "both"
    ((repo_id, options),) = asked
    assert repo_id == "owner/router"
    assert "*.safetensors" in options["allow_patterns"] and "*.bin" not in options["allow_patterns"]
    (tiny_router / "taxonomy.json").unlink()
    with pytest.raises(CheckpointError, match=r"taxonomy\.json is missing"):
        load_checkpoint("owner/router")


def test_a_download_that_fails_is_a_checkpoint_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def snapshot_download(repo_id: str, **options: object) -> str:
        raise LocalEntryNotFoundError("no network\nand many more lines")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    message = (
        f"'owner/router' is no folder here, and as a Hub id it could not be .*no network. Check .* Otherwise .*{HOW}"
    )
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint("owner/router")
    assert "many more lines" not in str(caught.value)


# Pushing


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
