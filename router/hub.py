"""The Hugging Face Hub as an edge: a name becomes a local folder, a folder becomes a repository.

huggingface_hub is imported only when the Hub is needed; whatever it raises leaves as CheckpointError. Knows nothing
of what the folders hold.
"""

from __future__ import annotations

import re
from pathlib import Path

from router.errors import CheckpointError

# What a router or an encoder is made of: no pickles, no weights in other formats.
PATTERNS = ("*.json", "*.safetensors", "*.txt", "*.model", "README.md")
IGNORED = ("onnx/*", "openvino/*")
_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)


def is_hub_id(name: str) -> bool:
    """Whether `name` can be an `owner/name` of the Hub: not when the folder that would hold it exists here.

    >>> is_hub_id("owner/name"), is_hub_id("name"), is_hub_id("./owner/name"), is_hub_id("a/b/c")
    (True, False, False, False)
    """
    return bool(_HUB_ID.fullmatch(name)) and len(name) <= 96 and not Path(name).parent.is_dir()


def download(hub_id: str) -> Path:
    """The local copy of a Hub repository, downloaded or from the cache. Raises CheckpointError where that fails."""
    from httpx import HTTPError
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        return Path(snapshot_download(hub_id, allow_patterns=list(PATTERNS), ignore_patterns=list(IGNORED)))
    except (HfHubHTTPError, HFValidationError, HTTPError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{hub_id!r} is no folder here, and as a Hub id it could not be downloaded: {_first_line(error)}. "
            "Check the spelling, the network (HF_HUB_OFFLINE) and, for a private repository, `hf auth login`"
        ) from error


def upload(folder: Path, repo_id: str, private: bool = True) -> str:
    """Upload `folder` as the model repository `repo_id`, made if needed; its address. Raises CheckpointError."""
    from httpx import HTTPError
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        api = HfApi()
        address = api.create_repo(repo_id, private=private, exist_ok=True)
        api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message="Upload router")
    except (HfHubHTTPError, HFValidationError, HTTPError, OSError, ValueError) as error:
        raise CheckpointError(
            f"could not upload {folder} to {repo_id!r}: {_first_line(error)}. The id must read owner/name and you "
            "must be logged in with write access: `hf auth login`"
        ) from error
    return str(address)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
