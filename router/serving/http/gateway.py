"""`/v1/chat/completions`, `/v1/responses` and the other OpenAI paths: routed for `auto`, else passed on.

Of a request's body only the value of `model` changes; what comes back is passed on as it is. Ties reading, deciding,
forwarding and the log together; each of these is a module of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Mapping
from typing import Any, TypeVar

from starlette.requests import Request

from router.errors import RouterError, known_names
from router.serving.http.access import ClientLeftError, request_error
from router.serving.http.decide import decide, log_decision
from router.serving.http.response import Record, Relayed, disconnected
from router.serving.protocol.conversation import READERS, Conversation
from router.serving.protocol.errors import RequestError, retry_after
from router.serving.protocol.json_body import JsonBody, read_body
from router.serving.protocol.multipart import FormModel, read_form
from router.serving.service import Service, Setup
from router.serving.settings import AUTO, PASSED_PATHS
from router.serving.upstreams.client import PASSED_ON, Answer, Ask, Target, is_safe_path
from router.serving.upstreams.failover import forward

ROUTED = tuple(READERS)
READ_KEYS = ("model", "stream")  # that decide whom a request runs on and how its answer is read
T = TypeVar("T")


async def routed_path(request: Request) -> Relayed:
    """A chat completion or a response: routed where its model is `auto`, else passed on to the model it names."""
    started = time.monotonic()
    service: Service = request.app.state.service
    raw = await request.body()
    setup = service.setup  # with the router that goes with it: nothing is awaited until the engine has the query
    body = read_body(raw, setup.settings.max_depth)
    model = _model(body.values)
    found = AUTO.fullmatch(model)
    if found is None:
        return await _passed(
            request, service, setup, model, body.with_value("model", _sent_name(setup, model)), body.values
        )
    dial = setup.settings.dial if found[1] is None else float(found[1])
    return await _routed(request, service, setup, body, dial, started)


async def _routed(
    request: Request, service: Service, setup: Setup, body: JsonBody, dial: float, started: float
) -> Relayed:
    _check_forwards(setup)
    if service.log is not None and service.log.full:
        raise RequestError(
            "log_full", "the decision log is full, and the server is told to refuse then", retry_after(60)
        )
    conversation: Conversation = READERS[_path(request)](body.values)
    headers = {name: request.headers[name] for name in ("x-session-id",) if name in request.headers}
    deadline = started + setup.settings.deadline_s
    decided = await decide(service, setup, conversation, dial, headers, body.values, _key_id(request), deadline)
    record = Record(service, decided.id, decided.plan.order[0], session=decided.session)
    log_decision(service, decided, _key_id(request))
    _log(request, record, dial)
    service.metrics.overhead(time.monotonic() - started)
    ask = _ask(request, checked=True, streams=conversation.stream, passed_on=False)

    async def send(target: Target, within_s: float) -> Answer:
        return await setup.upstreams.ask(target, ask, body.with_value("model", target.upstream.model), within_s)

    asked = forward(decided.plan, setup.upstreams, setup.settings, service.budget, send, record.note, deadline)
    answered = await _unless_left(request, asked, record)
    record.chosen, record.target, record.attempt = answered.chosen, answered.target, answered.attempts
    record.latency_s = answered.answer.latency_s
    _log(request, record, dial)
    return Relayed(answered.answer, record, _path(request), events=conversation.stream)


async def passed_path(request: Request) -> Relayed:
    """Any other path of the OpenAI protocol: passed on to the model that its body names."""
    service: Service = request.app.state.service
    setup = service.setup
    if request.method == "HEAD":  # which Starlette takes for a GET
        raise RequestError("method_not_allowed", f"{_path(request)[:200]} does not take HEAD")
    _check_passed(request, setup)
    path, raw, kind = _path(request), await request.body(), request.headers.get("content-type", "")
    body: JsonBody | None = None
    form: FormModel | None = None
    if kind.lower().startswith("multipart/"):
        form = read_form(raw, kind)
    elif raw:
        body = read_body(raw, setup.settings.max_depth)
    model = form.model if form else _model(body.values) if body else ""
    if not model:
        raise RequestError("not_routed", f"{path} needs a body that names a concrete model; {_routed_names()}")
    if model.startswith("auto") and AUTO.fullmatch(model):
        raise RequestError("not_routed", f"model {model!r} is not routed on {path}; {_routed_names()}")
    sent = _sent_name(setup, model)
    raw = form.with_model(sent) if form else body.with_value("model", sent) if body else raw
    return await _passed(request, service, setup, model, raw, {})


async def _passed(
    request: Request, service: Service, setup: Setup, model: str, raw: bytes, values: Mapping[str, Any]
) -> Relayed:
    """The answer of a concrete model: asked once, whatever its breaker says, since nobody else may answer."""
    if not is_safe_path(_path(request).removeprefix("/v1")):
        raise RequestError("not_found", "the path has signs that are not passed on")
    target = setup.upstreams.targets[model]
    record = Record(service, target=target)
    streams = values.get("stream") is True
    ask = _ask(request, checked=_path(request) in ROUTED, streams=streams, passed_on=True)
    answer = await _unless_left(request, setup.upstreams.ask(target, ask, raw, setup.settings.deadline_s), record)
    record.latency_s = answer.latency_s
    kind = answer.outcome.kind
    if kind == "misconfigured" and answer.outcome.status in (401, 403):
        raise RequestError("upstream_failed", f"the upstream of {model} did not accept the gateway's key")
    if kind == "timeout" and answer.outcome.status is None:
        raise RequestError("upstream_timeout", f"{model} did not answer in time")
    if answer.outcome.status is None or kind == "broken":
        raise RequestError("upstream_failed", f"{model} did not answer as it should: {kind}")
    return Relayed(answer, record, _path(request), events=streams)


def _check_passed(request: Request, setup: Setup) -> None:
    """404 for a path that is not passed on: what is acts with the upstream's key, which may do much else."""
    path = _path(request)
    within = [each for each in PASSED_PATHS if request.method == "POST"] + [*setup.settings.passed_paths]
    if not any(path == each or path.startswith(f"{each}/") for each in within):
        raise RequestError(
            "not_found",
            f"{request.method} {path[:200]} is not passed on; POST below {', '.join(PASSED_PATHS)} is, and what the "
            "operator names in serve.passed_paths",
        )


def _log(request: Request, record: Record, dial: float) -> None:
    """What the request's line in the log says of the decision."""
    assert record.chosen is not None
    request.scope["router.decided"] = {
        "decision": record.decision_id,
        "model": record.chosen.model,
        "dial": dial,
        "quality": round(record.chosen.quality, 4),
        "cost_usd": round(record.chosen.cost_usd, 8),
    }


def _ask(request: Request, *, checked: bool, streams: bool, passed_on: bool) -> Ask:
    headers = {name: request.headers[name] for name in PASSED_ON if name in request.headers}
    query = request.scope["query_string"].decode("latin-1")
    for name, value in [*headers.items(), ("query", query)]:
        if not (value.isascii() and value.isprintable()):
            raise RequestError(
                "invalid_request", f"{name} has signs that are not passed on; allowed is printable ASCII"
            )
    return Ask(request.method, _path(request).removeprefix("/v1"), query, headers, checked, streams, passed_on)


def _path(request: Request) -> str:
    """The path that was asked for. Not `request.url`, which is made of what the client wrote as Host."""
    return str(request.scope["path"])


def _model(values: Mapping[str, Any]) -> str:
    for key in values:
        if key not in READ_KEYS and key.casefold() in READ_KEYS:  # some upstreams read keys whatever their case
            raise RequestError("invalid_request", f"the body has {key!r} for {key.casefold()}: write it in lower case")
    model = values.get("model")
    if not isinstance(model, str) or not model:
        raise RequestError("invalid_request", "model is missing: name one of GET /v1/models, or auto to have it chosen")
    if model.startswith("auto:") and not AUTO.fullmatch(model):
        raise RequestError("model_not_found", f"no model {model[:80]!r}: the dial is a whole number, auto:0 to auto:10")
    return model


def _sent_name(setup: Setup, model: str) -> str:
    """What the upstream of a concrete model calls it."""
    _check_forwards(setup)
    target = setup.upstreams.targets.get(model)
    if target is None:
        known = known_names(model[:200], setup.upstreams.targets)
        raise RequestError("model_not_found", f"no model {model[:80]!r} in pool {setup.pool.name}; {known}; or auto")
    return target.upstream.model


def _check_forwards(setup: Setup) -> None:
    if not setup.forwards:
        raise RequestError("not_routed", "this server only decides, its pool has no upstreams: ask POST /v1/route")


def _routed_names() -> str:
    return f"auto, auto:0 to auto:10 are routed on {' and '.join(ROUTED)}"


def _key_id(request: Request) -> str | None:
    key = request.scope.get("router.key")
    return None if key is None else str(key.id)


async def _unless_left(request: Request, work: Awaitable[T], record: Record) -> T:
    """The result of `work`, given up when the client goes away. A RequestError carries the decision's headers."""
    task = asyncio.ensure_future(work)
    gone = asyncio.create_task(disconnected(request.receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
            raise ClientLeftError
        return task.result()
    except RouterError as error:
        failure = request_error(error)
        failure.headers |= {name.decode(): value.decode() for name, value in record.headers() if b"decision" in name}
        raise failure from error
    finally:
        for each in (task, gone):
            each.cancel()
