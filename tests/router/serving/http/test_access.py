"""Access control: hosts, origins, client keys, rate limits, bodies; and settings, with all problems in one error."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fixtures.fault_upstream import FaultUpstream
from fixtures.served import Served, pool_file, serving

from router.checkpoint.checkpoint import Checkpoint
from router.errors import NoCandidateError, PoolError, QueueFullError
from router.routing.router import Router
from router.serving.client_keys import KeyRing, RateLimits
from router.serving.http.access import request_error
from router.serving.protocol.errors import FAILURES, RequestError
from router.serving.service import ConfigLoader
from router.serving.settings import ServeSettings, check_bind, read_settings

SMALL = {"max_body_bytes": 2000, "max_depth": 8, "body_timeout_s": 0.3, "origins": ["https://chat.example.com"]}


@pytest.fixture(scope="module")
def served(tiny_checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tiny_checkpoint, tmp_path_factory.mktemp("access"), serve=SMALL) as found:
        yield found


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:80", "[::1]:8080", "LOCALHOST:1"])
def test_a_loopback_server_is_asked_by_its_names(served: Served, host: str) -> None:
    assert served.client.get("/v1/models", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example.com", "127.0.0.1.evil.com", "localhost.evil.com:80", "", "0.0.0.0"])
def test_a_name_that_points_here_but_is_not_ours_is_refused(served: Served, host: str) -> None:
    assert code(served.client.get("/v1/models", headers={"host": host})) == (403, "forbidden_host")


def test_web_pages_ask_only_from_origins_that_are_named(served: Served) -> None:
    good, bad = {"origin": "https://chat.example.com"}, {"origin": "https://evil.example.com"}
    assert code(served.client.get("/v1/models", headers=bad)) == (403, "forbidden_origin")
    assert code(served.client.post("/v1/route", json={"query": "x"}, headers={"origin": "null"})) == (
        403,
        "forbidden_origin",
    )
    answer = served.client.get("/v1/models", headers=good)
    assert answer.headers["access-control-allow-origin"] == good["origin"]
    flight = served.client.options("/v1/chat/completions", headers=good | {"access-control-request-method": "POST"})
    assert flight.status_code == 204
    assert "authorization" in flight.headers["access-control-allow-headers"]


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"x" * 2001, {}, 413),
        (b"[" * 1000, {}, 400),
        (b'{"query": ' + b"[" * 9 + b"]" * 9 + b"}", {}, 400),
        (b"{}", {"content-encoding": "gzip"}, 415),
        (b"{}", {"content-type": "text/plain"}, 415),
        (b"", {}, 400),
    ],
)
def test_bodies_have_limits(served: Served, content: bytes, headers: dict[str, str], status: int) -> None:
    headers = {"content-type": "application/json"} | headers
    assert code(served.client.post("/v1/route", content=content, headers=headers))[0] == status


def test_a_body_in_pieces_is_measured_as_it_comes(served: Served) -> None:
    pieces = (b"x" * 500 for _ in range(10))
    answer = served.client.post("/v1/route", content=pieces, headers={"content-type": "application/json"})
    assert code(answer) == (413, "body_too_large")


def test_a_body_that_does_not_come_is_waited_for_as_long_as_the_setting_says(
    served: Served, tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    half = (
        b"POST /v1/route HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n{"
    )
    with (
        serving(tiny_checkpoint, tmp_path, serve={"body_timeout_s": 3600}) as patient,
        socket.create_connection(("127.0.0.1", patient.port), timeout=60) as waiting,
        socket.create_connection(("127.0.0.1", served.port), timeout=60) as raw,
    ):
        waiting.sendall(half)
        raw.sendall(half)
        assert raw.recv(100).startswith(b"HTTP/1.1 408 ")
        waiting.setblocking(False)
        with pytest.raises(BlockingIOError):  # neither answered nor closed, though its body was due first
            waiting.recv(1)


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nothing", 404), ("GET", "/v1/route", 405), ("PUT", "/v1/x", 405)]
)
def test_unknown_paths_and_methods_are_told_in_openais_shape(
    served: Served, method: str, path: str, status: int
) -> None:
    assert code(served.client.request(method, path))[0] == status


def test_keys_guard_all_but_health(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    ring = KeyRing(tmp_path / "keys.json")
    secret, slow = ring.create("one"), ring.create("two", 2)
    settings = {"keys": str(ring.file), "decision_log": str(tmp_path / "log.sqlite")}
    with serving(tiny_checkpoint, tmp_path, serve=settings) as served:
        ask = served.client
        assert ask.get("/health").status_code == 200
        for path in ("/v1/models", "/metrics", "/openapi.json", "/v1/decisions/x", "/nothing"):
            answer = ask.get(path)
            assert code(answer) == (401, "invalid_api_key")
            assert answer.headers["www-authenticate"] == "Bearer"
        for wrong in ("Bearer " + secret[:-1], "Bearer", "Basic " + secret, "Bearer é", secret):
            assert ask.get("/v1/models", headers={"authorization": wrong.encode()}).status_code == 401
        mine = {"authorization": f"Bearer {secret}"}
        answer = ask.post("/v1/route", json={"query": "x"}, headers=mine)
        assert answer.status_code == 200
        name = answer.json()["id"]
        assert ask.get(f"/v1/decisions/{name}", headers=mine).status_code == 200
        theirs = {"authorization": f"bearer {slow}"}
        assert ask.get(f"/v1/decisions/{name}", headers=theirs).status_code == 404  # another key's
        assert ask.get("/v1/models", headers=theirs).status_code == 200
        limited = ask.get("/v1/models", headers=theirs)
        assert code(limited) == (429, "rate_limit_exceeded")
        assert 1 <= int(limited.headers["retry-after"]) <= 60
        chat = {"model": "a", "messages": [{"role": "user", "content": "x"}]}
        assert ask.post("/v1/chat/completions", json=chat, headers=mine).status_code == 200
        [seen] = served.upstreams["a"].requests
        assert "authorization" not in seen.headers  # ours is no business of the upstream
        ring.revoke(secret.split("-")[1])
        assert ask.get("/v1/models", headers=mine).status_code == 401


def test_a_batch_counts_its_queries_in_the_rate_limit(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    ring = KeyRing(tmp_path / "keys.json")
    secret = ring.create("lab", 20)
    with serving(tiny_checkpoint, tmp_path, serve={"keys": str(ring.file)}) as served:
        served.state.limits = RateLimits(lambda: 1000.0)

        def batch(queries: int) -> httpx.Response:
            headers = {"authorization": f"Bearer {secret}"}
            return served.client.post("/v1/route/batch", json={"queries": ["prime"] * queries}, headers=headers)

        too_many = batch(21)
        assert code(too_many) == (400, "invalid_request")
        assert too_many.json()["error"]["message"] == (
            f"each of the 21 queries counts as a request, and key {secret.split('-')[1]} has 20 requests a minute: "
            "send at most 20 queries at a time"
        )
        assert batch(15).status_code == 200
        refused = batch(15)  # 16 are spent, the batch of 21 as one; of 11 that lack each third second brings one
        assert code(refused) == (429, "rate_limit_exceeded")
        assert refused.headers["retry-after"] == "33"
        assert batch(4).status_code == 200, "what was refused costs nothing"


def test_the_upstreams_key_goes_there_and_nowhere_else(
    tiny_checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("UP_KEY", "sk-hush")
    entry: dict[str, Any] = {name: {"upstream": {"key_env": "UP_KEY"}} for name in "abc"}
    with serving(tiny_checkpoint, tmp_path, serve={"decision_log": str(tmp_path / "log.sqlite")}, **entry) as served:
        caplog.set_level("DEBUG", logger="router")
        told = ""
        for fault in ("", "401", "500", "reset"):
            served.fail(fault)
            for model in ("auto", "a"):
                answer = served.chat(model=model)
                told += answer.text + str(answer.headers)
        told += served.client.get("/metrics").text + served.client.get("/openapi.json").text + caplog.text
        told += repr(served.state.snapshot) + repr(list(served.state.snapshot.upstreams.targets.values()))
        seen = [each.headers["authorization"] for up in served.upstreams.values() for each in up.requests]
        assert set(seen) == {"Bearer sk-hush"}
        assert "hush" not in told
    assert b"hush" not in (tmp_path / "log.sqlite").read_bytes()


def test_no_header_or_field_changes_where_we_connect(served: Served) -> None:
    body = {"model": "a", "messages": [{"role": "user", "content": "x"}], "api_base": "http://192.0.2.1/",
            "extra_body": {"api_base": "http://192.0.2.1/"}, "user": "http://192.0.2.1"}  # fmt: skip
    headers = {"x-forwarded-host": "192.0.2.1", "forwarded": "host=192.0.2.1", "proxy": "http://192.0.2.1"}
    answer = served.client.post("/v1/chat/completions", json=body, headers=headers)  # the suite blocks other addresses
    assert answer.status_code == 200
    absolute = http.client.HTTPConnection("127.0.0.1", served.port)
    absolute.putrequest("GET", "http://192.0.2.1/v1/models", skip_host=True)
    absolute.putheader("host", "192.0.2.1")
    absolute.endheaders()
    assert absolute.getresponse().status == 403
    absolute.close()


def test_every_problem_of_the_configuration_is_told_at_once(
    tiny_checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    entry = {
        "id": "auto", "profile": "large@chat", "input_usd_per_mtok": 1, "output_usd_per_mtok": 1,
        "upstream": {"api_base": "http://127.0.0.1:1/v1", "key_env": "NO_SUCH_KEY", "limits": {"rpm": 3}},
    }  # fmt: skip
    other = {"id": "b", "profile": "small@chat", "input_usd_per_mtok": 1, "output_usd_per_mtok": 1}
    third = other | {"id": "c", "upstream": {"provider": "novel", "model": "m"}}
    serve = {"decision_log": str(tmp_path / "no" / "log"), "keys": str(tmp_path / "none.json")}
    path = tmp_path / "pool.json"
    path.write_text(json.dumps({"name": "p", "models": [entry, other, third], "serve": serve}))
    loader = ConfigLoader(path, lambda: Router(tiny_checkpoint), {})
    with pytest.raises(PoolError) as raised:
        loader.load()
    told = str(raised.value).split("\n  ")
    assert told[0] == f"{path}: 7 problems"
    for part in (
        "auto: the name is taken for what is routed",
        "the environment variable NO_SUCH_KEY is not set",
        "unknown limit 'rpm'; known: ",
        "b: upstream: missing; give every model one, or none",
        "'novel' is asked by LiteLLM, which is not installed",
        "serve.keys: ",
        "serve.decision_log: there is no folder",
    ):
        assert sum(part in line for line in told) == 1, part


def test_wrong_settings_are_told_with_those_of_the_pool(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "pool.json"
    serve = {"prot": 3, "port": 70000, "when_log_full": "panic", "origins": ["chat.example.com"], "dial": 11,
             "load_weight": 2, "passed_paths": ["files"]}  # fmt: skip
    path.write_text(json.dumps({"name": "p", "models": [], "serve": serve}))
    with pytest.raises(PoolError) as raised:
        ConfigLoader(path, lambda: Router(tiny_checkpoint), {}).load()
    told = str(raised.value)
    for part in (
        "8 problems", "models: got []", "serve.'prot': unknown key; did you mean port?", "serve.port: got 70000",
        "serve.when_log_full: got 'panic'", "serve.origins: got 'chat.example.com'", "serve.dial: got 11",
        "serve.load_weight: got 2", "serve.passed_paths: got 'files' (text); write paths such as /v1/files",
    ):  # fmt: skip
        assert part in told


def test_a_bind_that_others_reach_needs_keys() -> None:
    assert check_bind(ServeSettings(), 0) == []
    assert check_bind(ServeSettings(host="0.0.0.0"), 1) == []
    for host in ("0.0.0.0", "::", "10.0.0.1", "example.com"):
        [problem] = check_bind(ServeSettings(host=host), 0)
        assert "router keys create" in problem
    assert "holds no valid key" in check_bind(ServeSettings(keys="f"), 0)[0]


def test_flags_win_over_the_file(tmp_path: Path) -> None:
    path = pool_file(tmp_path, [], {"port": 1, "dial": 2.5})
    problems: list[str] = []
    settings = read_settings(path, {"port": 2, "host": None}, problems)
    assert (settings.port, settings.dial, settings.host, problems) == (2, 2.5, "127.0.0.1", [])


def test_a_pool_without_upstreams_only_decides(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    from fixtures.served import run_gateway

    from router.serving.service import GatewayState

    path = tmp_path / "pool.json"
    entry = {"id": "m", "profile": "large@chat", "input_usd_per_mtok": 1, "output_usd_per_mtok": 1}
    path.write_text(json.dumps({"name": "p", "models": [entry]}))
    loader = ConfigLoader(path, lambda: Router(tiny_checkpoint), {"port": 0})
    with (
        run_gateway(GatewayState(loader, *loader.load())) as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}") as ask,
    ):
        assert ask.post("/v1/route", json={"query": "x"}).json()["model"] == "m"
        assert [each["id"] for each in ask.get("/v1/models").json()["data"]] == ["m"]
        chat = {"model": "auto", "messages": [{"role": "user", "content": "x"}]}
        for body in (chat, chat | {"model": "m"}):
            refused = ask.post("/v1/chat/completions", json=body)
            assert refused.status_code == 400
            assert "POST /v1/route" in refused.json()["error"]["message"]


def test_the_documentation_lists_every_setting_with_its_default() -> None:
    text = (Path(__file__).resolve().parents[4] / "docs" / "serving.md").read_text()
    table = text.partition("settings: begin")[2].partition("settings: end")[0]
    words = {"()": "none", "None": "none", "False": "false"}
    for name, field in ServeSettings.model_fields.items():
        default = words.get(str(field.default), str(field.default)).removesuffix(".0")
        default = f"{int(default):,}" if default.isdigit() and len(default) > 4 else default
        assert f"| `{name}` | {default} | " in table
    assert table.count("\n| `") == len(ServeSettings.model_fields)


def test_a_reload_neither_moves_the_socket_nor_opens_it_to_all(
    tiny_checkpoint: Checkpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ring = KeyRing(tmp_path / "keys.json")
    ring.create("one")
    entry: dict[str, Any] = {"a": {"upstream": {"api_base": "http://127.0.0.1:9/v1"}}}
    path = pool_file(tmp_path, [FaultUpstream("a")], {"host": "0.0.0.0", "keys": str(ring.file)}, **entry)
    loader = ConfigLoader(path, lambda: Router(tiny_checkpoint), {})
    _, before = loader.load()
    pool_file(tmp_path, [FaultUpstream("a")], {"attempts": 5, "keys": str(ring.file)}, **entry)
    _, after = loader.load(before)
    assert (after.settings.host, after.settings.attempts) == ("0.0.0.0", 5)
    assert "serve.host changes with a restart only" in caplog.text
    ring.revoke(ring.list()[0].id)
    with pytest.raises(PoolError, match=r"0\.0\.0\.0 can be reached from other machines"):
        loader.load(before)


def test_errors_of_the_project_become_those_of_the_protocol() -> None:
    assert request_error(QueueFullError("full")).status == 503
    assert request_error(QueueFullError("full")).headers == {"retry-after": "1"}
    assert request_error(NoCandidateError("none")).code == "no_candidate"
    assert request_error(PoolError("x")).code == "invalid_request"
    kept = RequestError("not_found", "gone")
    assert request_error(kept) is kept
    assert json.loads(kept.body)["error"] == {
        "message": "gone", "type": "invalid_request_error", "param": None, "code": "not_found"
    }  # fmt: skip
    assert all(400 <= status < 600 for status, _ in FAILURES.values())
