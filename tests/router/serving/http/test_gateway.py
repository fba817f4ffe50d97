"""The gateway with upstreams on loopback, used by the official OpenAI client."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from fixtures.served import Served, serving

from router.checkpoint.checkpoint import Checkpoint
from router.pools.price_file import table_text
from router.pools.prices import ModelPrice


@pytest.fixture(scope="module")
def served(tiny_checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("gateway")
    with serving(tiny_checkpoint, folder, serve={"decision_log": str(folder / "log.sqlite")}) as found:
        yield found


@pytest.fixture(autouse=True)
def _whole(served: Served) -> Iterator[None]:
    served.fail("")
    for each in served.upstreams.values():
        each.requests.clear()
    yield


@pytest.fixture
def client(served: Served) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0)


def test_the_official_client_gets_a_routed_answer(served: Served, client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="auto", messages=[{"role": "user", "content": "prove it"}], temperature=0.25
    )
    answer = raw.parse()
    model = raw.headers["x-router-model"]
    assert answer.choices[0].message.content == f"{model}: prove it"
    [seen] = served.upstreams[model].requests
    assert seen.json == {
        "model": f"{model}-upstream",
        "messages": [{"role": "user", "content": "prove it"}],
        "temperature": 0.25,
    }
    assert 0 <= float(raw.headers["x-router-quality"]) <= 1
    assert float(raw.headers["x-router-expected-cost-usd"]) > 0
    assert raw.headers["x-router-decision-id"].startswith("dec_")


def test_of_a_body_only_the_model_changes_and_answers_come_back_to_the_byte(served: Served) -> None:
    raw = b'{"n": 1.0, "model" : "b","messages":[{"role":"user", "content":"h\\u00e9"}],"x":{"model":"auto"}}'
    answer = served.client.post("/v1/chat/completions", content=raw, headers={"content-type": "application/json"})
    [seen] = served.upstreams["b"].requests
    assert seen.body == raw.replace(b'"b"', b'"b-upstream"')
    assert answer.content.startswith(b'{"id": "chatcmpl-1"')
    assert answer.headers["x-request-id"] == "req-1"
    assert answer.headers["x-router-model"] == "b"
    assert "x-router-decision-id" not in answer.headers


def test_a_stream_arrives_as_the_upstream_sends_it(served: Served, client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="auto:0",
        messages=[{"role": "user", "content": "write code"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    parts = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
    assert "".join(parts)[1:] == ": write code"
    assert len(parts) > 3
    raw = served.chat("write code", model="a", stream=True)
    asked = served.upstreams["a"].requests[-1].json
    assert raw.content == b"".join(served.upstreams["a"].events(asked, "/v1/chat/completions"))


def test_responses_are_routed_streamed_and_continued_by_the_model_that_began(
    served: Served, client: openai.OpenAI
) -> None:
    raw = client.responses.with_raw_response.create(model="auto", input="prove it")
    first, model = raw.parse(), raw.headers["x-router-model"]
    assert first.output_text == f"{model}: prove it"
    again = client.responses.with_raw_response.create(model="auto", input="and then", previous_response_id=first.id)
    assert again.headers["x-router-model"] == model
    events = list(client.responses.create(model="auto", input="prove it", stream=True))
    assert events[-1].type == "response.completed"
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta").endswith(": prove it")


def test_the_dial_is_part_of_the_models_name(served: Served) -> None:
    models = {dial: served.chat("where is the root", model=f"auto:{dial}").headers for dial in (0, 10)}
    assert models[10]["x-router-model"] == "b"  # the cheapest
    cost = {dial: float(headers["x-router-expected-cost-usd"]) for dial, headers in models.items()}
    assert cost[10] <= cost[0]


@pytest.mark.parametrize(
    ("model", "status", "code", "told"),
    [
        ("auto:11", 404, "model_not_found", "auto:0 to auto:10"),
        ("auto:x", 404, "model_not_found", "auto:0 to auto:10"),
        ("gpt-9", 404, "model_not_found", "known: "),
        ("", 400, "invalid_request", "GET /v1/models"),
        (None, 400, "invalid_request", "GET /v1/models"),
        (3, 400, "invalid_request", "GET /v1/models"),
    ],
)
def test_a_model_that_is_none_is_told_in_openais_shape(
    served: Served, model: Any, status: int, code: str, told: str
) -> None:
    answer = served.chat(model=model)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert told in answer.json()["error"]["message"]


def test_the_official_client_raises_its_own_errors(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="no model 'gpt-9' in pool three"):
        client.chat.completions.create(model="gpt-9", messages=[{"role": "user", "content": "x"}])
    with pytest.raises(openai.BadRequestError, match="messages must be a list"):
        client.chat.completions.create(model="auto", messages=[])


def test_models_are_listed_and_found(client: openai.OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert names == ["auto", *(f"auto:{dial}" for dial in range(11)), "a", "b", "c"]
    assert client.models.retrieve("b").id == "b"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("d")


def test_other_paths_pass_with_a_concrete_model_and_refuse_auto(served: Served, client: openai.OpenAI) -> None:
    answer = served.client.post("/v1/embeddings?x=1", json={"model": "c", "input": "text"})
    assert answer.json() == {"path": "/v1/embeddings?x=1", "by": "c"}
    assert served.upstreams["c"].requests[-1].json == {"model": "c-upstream", "input": "text"}
    with pytest.raises(
        openai.BadRequestError, match=r"not routed on /v1/embeddings; auto, auto:0 to auto:10 are routed on"
    ):
        client.embeddings.create(model="auto", input="text")
    assert client.audio.speech.create(model="b", input="text", voice="x").read()
    assert served.upstreams["b"].requests[-1].json["model"] == "b-upstream"
    assert served.client.post("/v1/embeddings").json()["error"]["code"] == "not_routed"


def test_a_form_is_refused_with_the_way_out(served: Served, client: openai.OpenAI) -> None:
    with pytest.raises(openai.APIStatusError, match="JSON bodies only") as raised:
        client.audio.transcriptions.create(model="b", file=("a.wav", b"RIFF"))
    assert (raised.value.status_code, raised.value.code) == (415, "unsupported_media_type")
    assert raised.value.body["message"] == (  # type: ignore[index]
        "the content type is 'multipart/form-data', but the gateway reads and passes on JSON bodies only: send "
        "application/json, and a form (to upload a file, say) to the upstream directly"
    )
    assert not any(each.requests for each in served.upstreams.values())


@pytest.mark.parametrize("path", ["/v1/../admin", "/v1/%2e%2e/admin", "/v1//host/x", "/v1/a%0d%0ab", "/v1/x@y",
                                  "/v1/images/../files", "/v1/images/%2e%2e/files", "/v1/images//x",
                                  "/v1/images/a%0ab"])  # fmt: skip
def test_no_path_leads_elsewhere(served: Served, path: str) -> None:
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", served.port)
    connection.request("POST", path, b'{"model": "a"}', {"content-type": "application/json"})
    assert connection.getresponse().status in (400, 404)
    connection.close()
    assert not any(each.requests for each in served.upstreams.values())


def test_a_schema_goes_to_a_model_that_the_price_table_says_can_and_the_decision_says_the_date(
    tiny_checkpoint: Checkpoint, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = ModelPrice("openai/gpt-7", 1.0, 2.0, json_schema=True)
    (tmp_path / "prices.csv").write_text(table_text("2026-11-20", "a test", [row]))
    monkeypatch.setenv("ROUTER_PRICES", str(tmp_path / "prices.csv"))
    unpriced = {"input_usd_per_mtok": None, "output_usd_per_mtok": None, "upstream": {"model": "gpt-7"}}
    schema = {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}
    with serving(tiny_checkpoint, tmp_path, b=unpriced) as served:
        for dial in range(0, 11, 5):
            answer = served.chat(response_format=schema, model=f"auto:{dial}")
            assert answer.status_code == 200 and answer.headers["x-router-model"] == "b"
        decided = served.client.post("/v1/route", json={"query": "prove it", "allow": ["b"]}).json()
        assert decided["price_date"] == "2026-11-20"


def test_demands_filter_who_is_asked(tiny_checkpoint: Checkpoint, tmp_path: Any) -> None:
    entries: dict[str, Any] = {
        "a": {"tools": False, "context_window": 100_000},
        "b": {"modalities": ["text"], "context_window": 2000, "upstream": {"json_schema": True}},
        "c": {"context_window": 2000, "upstream": {"max_output_tokens": 50}},
    }
    with serving(tiny_checkpoint, tmp_path, **entries) as served:
        tools = [{"type": "function", "function": {"name": "f"}}]
        schema = {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}
        picture = [{"type": "text", "text": "what"}, {"type": "image_url", "image_url": {"url": "data:,"}}]
        body = {"messages": [{"role": "user", "content": picture}]}
        for dial in range(0, 11, 5):
            model = f"auto:{dial}"
            assert served.chat(tools=tools, model=model).headers["x-router-model"] in "bc"
            assert served.chat(tools=tools, max_tokens=51, model=model).headers["x-router-model"] == "b"
            assert served.chat(response_format=schema, model=model).headers["x-router-model"] == "b"
            assert served.chat("word " * 3000, model=model).headers["x-router-model"] == "a"
            assert served.chat(max_tokens=1999, model=model).headers["x-router-model"] == "a"
            answer = served.client.post("/v1/chat/completions", json=body | {"model": model, "tools": tools})
            assert answer.headers["x-router-model"] == "c"
        refused = served.chat("word " * 3000, tools=tools)
        assert refused.status_code == 400
        assert refused.json()["error"]["code"] == "no_candidate"
        assert "context window" in refused.json()["error"]["message"]
        refused = served.chat(response_format=schema, max_tokens=10**6)
        assert "context window (the query needs" in refused.json()["error"]["message"]


def test_a_decision_is_explained_scored_and_costed(served: Served) -> None:
    answer = served.chat("where is the root of two")
    name, model = answer.headers["x-router-decision-id"], answer.headers["x-router-model"]
    found = served.client.get(f"/v1/decisions/{name}").json()
    assert found["route"]["model"] == model
    assert found["route"]["order"][0] == model
    assert set(found["route"]["order"]) == {"a", "b", "c"}
    assert found["prompt"] is None
    [outcome] = found["outcomes"]
    assert (outcome["upstream"], outcome["status"], outcome["input_tokens"]) == (model, 200, 7)
    assert outcome["cost_usd"] > 0
    assert not outcome["possibly_billed"]
    said = served.client.post("/v1/feedback", json={"decision_id": name, "score": 0.75, "comment": "good"})
    assert said.status_code == 200
    assert served.client.get(f"/v1/decisions/{name}").json()["feedback"]["score"] == 0.75
    assert served.client.get("/v1/decisions/dec_none").status_code == 404
    assert served.client.post("/v1/feedback", json={"decision_id": "dec_none", "score": 1}).status_code == 404
    assert served.client.post("/v1/feedback", json={"decision_id": name, "score": 2}).status_code == 400


def test_a_conversation_stays_with_its_model_and_the_decision_says_why(served: Served) -> None:
    headers = {"x-session-id": "s1"}
    body = {"model": "auto", "messages": [{"role": "user", "content": "prove that two is prime"}]}
    first = served.client.post("/v1/chat/completions", json=body, headers=headers)
    body["messages"] += [{"role": "assistant", "content": "done"}, {"role": "user", "content": "write it"}]
    second = served.client.post("/v1/chat/completions", json=body, headers=headers)
    why = [
        served.client.get(f"/v1/decisions/{each.headers['x-router-decision-id']}").json()["route"]["why"]
        for each in (first, second)
    ]
    assert why[0].startswith("the best; no earlier turn")
    assert why[1].startswith(("kept", "switched"))


def test_route_tells_the_decision_and_sends_nothing(served: Served) -> None:
    found = served.client.post("/v1/route", json={"query": "prove it", "dial": 2, "top": 2}).json()
    assert found["model"] == found["alternatives"][0]["model"]
    assert len(found["alternatives"]) == 2
    assert found["reasons_text"][0].startswith("ahead of ")
    chat = served.client.post(
        "/v1/route", json={"messages": [{"role": "user", "content": "prove it"}], "dial": 2}
    ).json()
    assert chat["quality"] == pytest.approx(found["quality"], abs=1e-4)
    batch = served.client.post("/v1/route/batch", json={"queries": ["a", "b"], "dial": [0, 10]}).json()["decisions"]
    assert [each["dial"] for each in batch] == [0, 10]
    many = served.client.post("/v1/route/batch", json={"queries": [f"a {n}" for n in range(20)]}).json()["decisions"]
    assert len({each["id"] for each in many}) == 20 and served.client.get(f"/v1/decisions/{many[19]['id']}").is_success
    goal = served.client.post("/v1/route/batch", json={"queries": ["a", "b"], "budget_usd_per_1k": 1000}).json()
    assert goal["decisions"][0]["goal"]["budget_usd_per_1k"] == 1000
    assert served.client.get(f"/v1/decisions/{found['id']}").json()["route"]["model"] == found["model"]
    assert not any(each.requests for each in served.upstreams.values())


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("/v1/route", {}, "query: missing"),
        ("/v1/route", {"query": 3}, "query: got 3 (a number); write text"),
        ("/v1/route", {"query": " "}, "the query is empty"),
        ("/v1/route", {"query": "x", "dail": 3}, "'dail': unknown key; did you mean dial?"),
        ("/v1/route", {"query": "x", "dial": 11}, "dial: got 11"),
        ("/v1/route", {"query": "x", "dial": 1, "budget_usd_per_1k": 1}, "one of"),
        ("/v1/route", {"query": "x", "top": 0}, "top: got 0"),
        ("/v1/route", {"query": "x", "allow": ["nobody"]}, "no model of pool three matches 'nobody'"),
        ("/v1/route", {"messages": []}, "messages must be a list"),
        ("/v1/route/batch", {"queries": ["x"] * 1001}, "at most 1,000"),
        ("/v1/route/batch", {"queries": ["x"], "dial": [1, 2]}, "2 dials for 1"),
        ("/v1/route/batch", {"queries": ["x", ""]}, "the query is empty"),
        ("/v1/feedback", {"decision_id": "x"}, "score: missing"),
    ],
)
def test_a_wrong_request_for_a_decision_is_told_what_is_wrong(served: Served, path: str, body: Any, told: str) -> None:
    answer = served.client.post(path, json=body)
    assert answer.status_code == 400
    assert told in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("path", "asked"), [("/v1/route", {"query": "who"}), ("/v1/route/batch", {"queries": ["who"]})]
)
def test_names_that_a_client_denies_are_not_written_to_the_operators_log(
    served: Served, caplog: pytest.LogCaptureFixture, path: str, asked: dict[str, Any]
) -> None:
    answer = served.client.post(path, json={**asked, "deny": [f"nobody{path}\nrouter: forged"]})
    assert answer.status_code == 200
    assert not [record for record in caplog.records if "nobody" in record.getMessage()]


def test_metrics_and_the_document_can_be_read(served: Served) -> None:
    served.chat()
    text = served.client.get("/metrics").text
    assert 'router_decisions_total{model="' in text
    assert 'router_breaker_state{upstream="a"} 0.0' in text
    assert 'router_requests_total{endpoint="/v1/chat/completions",status="200"}' in text
    document = served.client.get("/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    assert "/v1/chat/completions" in document["paths"]


def test_a_client_that_leaves_frees_the_upstream_and_counts_against_nobody(
    tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    entry = {name: {"upstream": {"timeout_s": 3600}} for name in "abc"}  # nothing else would free them
    with serving(tiny_checkpoint, tmp_path, serve={"deadline_s": 3600}, **entry) as served:
        served.fail("hang")
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(
                f"{served.url}/v1/chat/completions",
                json={"model": "auto", "messages": [{"role": "user", "content": "leave"}]},
                timeout=0.3,
                trust_env=False,
            )
        targets = served.state.snapshot.upstreams.targets.values()
        until = time.monotonic() + 60
        while any(each.load.in_flight for each in targets) and time.monotonic() < until:
            time.sleep(0.01)
        assert not any(each.load.in_flight for each in targets)
        assert served.state.snapshot.upstreams.breaker_states() == {"a": "closed", "b": "closed", "c": "closed"}
