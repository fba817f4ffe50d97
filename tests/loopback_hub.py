"""A hub on this machine that speaks as much of the Hugging Face Hub's API as huggingface_hub needs of it.

Repositories are folders of bytes by name and revision. What was asked, and by which token, is kept.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_of_the_test"


@dataclass
class LoopbackHub:
    """Repositories by `owner/name`; each a mapping of revisions to files."""

    repositories: dict[str, dict[str, dict[str, bytes]]] = field(default_factory=dict)
    private: set[str] = field(default_factory=set)
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)  # method, path, token
    url: str = ""

    def add(self, repo: str, folder: Path, revision: str = "main") -> str:
        """Put the folder's files into a repository; the commit's id."""
        files = {each.relative_to(folder).as_posix(): each.read_bytes() for each in folder.rglob("*") if each.is_file()}
        return self.put(repo, files, revision)

    def put(self, repo: str, files: dict[str, bytes], revision: str = "main") -> str:
        """As `add`, of bytes by name. A commit is found under its branch and its id."""
        commit = hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()
        self.repositories.setdefault(repo, {}).update({revision: files, commit: files})
        return commit

    def answer(self, method: str, path: str, body: bytes, token: str | None) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body."""
        self.asked.append((method, path, token))
        parts = [unquote(part) for part in path.strip("/").split("/")]
        if method == "POST":
            return self._post(parts, body, token)
        is_api = parts[:2] == ["api", "models"]
        if len(parts) < 4:
            return self._error(404, None)
        repo, (what, revision, *rest) = "/".join(parts[2:4] if is_api else parts[:2]), parts[4 if is_api else 2 :]
        if repo not in self.repositories or (repo in self.private and token != TOKEN):
            return self._error(401, "RepoNotFound")
        files = self.repositories[repo].get(revision)
        if files is None:
            return self._error(404, "RevisionNotFound")
        commit = next(c for c, found in self.repositories[repo].items() if len(c) == 40 and found == files)
        if what == "resolve":
            return self._file(files, "/".join(rest), commit)
        if what == "tree":
            entries = [{"type": "file", "path": n, "size": len(c), "oid": _oid(c)} for n, c in files.items()]
            return _json(entries)
        return _json({"id": repo, "modelId": repo, "sha": commit, "siblings": [{"rfilename": n} for n in files]})

    def _file(self, files: dict[str, bytes], name: str, commit: str) -> tuple[int, dict[str, str], bytes]:
        if name not in files:
            return self._error(404, "EntryNotFound")
        return 200, {"ETag": f'"{_oid(files[name])}"', "X-Repo-Commit": commit}, files[name]

    def _post(self, parts: list[str], body: bytes, token: str | None) -> tuple[int, dict[str, str], bytes]:
        if parts == ["api", "validate-yaml"]:
            return _json({"errors": [], "warnings": []})
        if token != TOKEN:
            return self._error(401, None)
        if parts == ["api", "repos", "create"]:
            asked = json.loads(body)
            name = f"{asked.get('organization') or 'me'}/{asked['name']}"
            self.repositories.setdefault(name, {})
            if asked.get("private") or asked.get("visibility") == "private":
                self.private.add(name)
            return _json({"url": f"{self.url}/{name}", "id": name})
        repo, what, revision = "/".join(parts[2:4]), parts[4], parts[5]
        if what == "preupload":
            files = [each["path"] for each in json.loads(body)["files"]]
            return _json({"files": [{"path": n, "uploadMode": "regular", "shouldIgnore": False} for n in files]})
        lines = [json.loads(line) for line in body.splitlines()]
        files = {
            line["value"]["path"]: base64.b64decode(line["value"]["content"]) for line in lines if line["key"] == "file"
        }
        commit = self.put(repo, files, revision)
        return _json({"success": True, "commitOid": commit, "commitUrl": f"{self.url}/{repo}/commit/{commit}"})

    @staticmethod
    def _error(status: int, code: str | None) -> tuple[int, dict[str, str], bytes]:
        headers = {"X-Error-Code": code, "X-Error-Message": code} if code else {}
        return status, headers, b'{"error": "refused"}'


def _oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _json(content: object) -> tuple[int, dict[str, str], bytes]:
    return 200, {"Content-Type": "application/json"}, json.dumps(content).encode()


@contextmanager
def serving() -> Iterator[LoopbackHub]:
    """A hub that runs, in a thread, at its `url`."""
    hub = LoopbackHub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
            status, headers, content = hub.answer(self.command, urlsplit(self.path).path, body, token)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_HEAD = do_POST = _do

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
