"""Hugging Face Hub: download of a repository to a local folder, upload of a folder as a repository.

An id reads `hub:owner/name` or `hub:owner/name@revision`; any other text is a path and is never sent to the Hub.
huggingface_hub is imported only when the Hub is needed; its errors become CheckpointError. Its token, its cache and
HF_HUB_OFFLINE apply. Knows nothing of what the folders hold.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from router.errors import CheckpointError, UsageError

# The files of a router or an encoder: no pickles, no weights in other formats.
PATTERNS = ("*.json", "*.safetensors", "*.onnx", "*.txt", "*.model", "README.md")
IGNORED = ("onnx/*", "openvino/*")
PREFIX = "hub:"
_REPOSITORY = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)


@dataclass(frozen=True)
class HubId:
    """A repository of the Hub."""

    repository: str  # owner/name
    revision: str | None = None  # branch, tag or commit; None: the main branch as it is now

    def __str__(self) -> str:
        return f"{PREFIX}{self.repository}" + (f"@{self.revision}" if self.revision else "")


def read_hub_id(name: str | Path, revision: str | None = None) -> HubId | None:
    """The Hub id in `name`; None for a path.

    >>> read_hub_id("hub:owner/name@v1"), read_hub_id("owner/name")
    (HubId(repository='owner/name', revision='v1'), None)

    Raises CheckpointError for a malformed id, UsageError for a revision of a path or a second revision.
    """
    if not str(name).startswith(PREFIX):
        if revision is not None:
            raise UsageError(f"a revision is of an id such as hub:owner/name, got {revision!r} for the path {name}")
        return None
    repository, separator, own = str(name).removeprefix(PREFIX).partition("@")
    if not _REPOSITORY.fullmatch(repository) or (separator and not own):
        raise CheckpointError(f"{str(name)!r} is no id of the Hub: write hub:owner/name or hub:owner/name@revision")
    if own and revision is not None:
        raise UsageError(f"{name} names a revision and {revision!r} is another: give one")
    return HubId(repository, own or revision)


def spelling_hint(name: str | Path) -> str:
    """The Hub id that a missing path may have meant, for the end of a message; empty where it cannot be one."""
    return f" (what is on the Hub is spelt {PREFIX}{name})" if _REPOSITORY.fullmatch(str(name)) else ""


def download(hub_id: HubId, local_files_only: bool = False) -> Path:
    """The local copy of a Hub repository, downloaded or from the cache. Raises CheckpointError where that fails.

    `local_files_only` reads the cache alone, as HF_HUB_OFFLINE=1 does.
    """
    from huggingface_hub import snapshot_download

    try:
        found = snapshot_download(
            hub_id.repository,
            revision=hub_id.revision,
            allow_patterns=list(PATTERNS),
            ignore_patterns=list(IGNORED),
            local_files_only=local_files_only,
        )
    except _failures() as error:
        raise CheckpointError(
            f"{hub_id} could not be downloaded: {_first_line(error)}. Check the spelling, the network "
            "(HF_HUB_OFFLINE) and, for a private repository, `hf auth login`"
        ) from error
    return Path(found)


def upload(folder: Path, repo_id: str, private: bool = True) -> str:
    """The address of the model repository `repo_id`, made if needed, with `folder` uploaded. Raises CheckpointError."""
    from huggingface_hub import HfApi

    try:
        api = HfApi()
        address = api.create_repo(repo_id, private=private, exist_ok=True)
        api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message="Upload router")
    except _failures() as error:
        raise CheckpointError(
            f"could not upload {folder} to {repo_id!r}: {_first_line(error)}. The id must read owner/name and you "
            "must be logged in with write access: `hf auth login`"
        ) from error
    return str(address)


def _failures() -> tuple[type[Exception], ...]:
    """The errors of huggingface_hub and of its HTTP client: httpx, or httpx2 from release 2 on."""
    from huggingface_hub.errors import HfHubHTTPError

    client = tuple(base for base in HfHubHTTPError.__bases__ if issubclass(base, Exception))
    return (*client, OSError, ValueError, RuntimeError)  # the last: of hf_xet, and of a closed client


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
