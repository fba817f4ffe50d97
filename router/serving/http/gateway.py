"""OpenAI-compatible gateway: chat completions and responses are routed for model `auto`, other requests passed on.

In the body of a request only the value of `model` changes; the response is passed on unchanged. This module joins
reading, deciding, forwarding and logging, each of which is a module of its own.
"""

import time
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

from starlette.requests import Request

from router.errors import RouterError, known_names
from router.serving.http.access import request_error
from router.serving.http.decide import check_log, decide, finish_decision, note_decision
from router.serving.http.response import PassThroughResponse, Record, unless_left
from router.serving.protocol.conversation import READERS, Conversation
from router.serving.protocol.errors import RequestError
from router.serving.protocol.json_body import JsonBody, read_body
from router.serving.service import GatewayState, Snapshot
from router.serving.settings import AUTO, PASSED_PATHS
from router.serving.upstreams.client import PASSED_ON, Target, UpstreamRequest, UpstreamResponse, is_safe_path
from router.serving.upstreams.failover import forward

ROUTED = tuple(READERS)
READ_KEYS = ("model", "stream")  # keys of a body that this gateway reads
T = TypeVar("T")


async def routed_path(request: Request) -> PassThroughResponse:
    """The response to a chat completion or response request: routed for model `auto`, otherwise passed on."""
    started = time.monotonic()
    state: GatewayState = request.app.state.gateway
    raw = await request.body()
    snapshot = state.snapshot  # belongs to the engine's router: do not await before the engine has the query
    body = read_body(raw, snapshot.settings.max_depth)
    model = _model(body.values)
    found = AUTO.fullmatch(model)
    if found is None:
        return await _passed(request, state, snapshot, model, body, streams=body.values.get("stream") is True)
    dial = snapshot.settings.dial if found[1] is None else float(found[1])
    _check_forwards(snapshot)
    check_log(state)
    conversation: Conversation = READERS[_path(request)](body.values)
    deadline = started + snapshot.settings.deadline_s
    planned = await decide(request, snapshot, conversation, body.values, dial, deadline)
    record = Record(state, planned.id, planned.plan.order[0], session=planned.session)
    finish_decision(request, planned, started)
    sent = _upstream_request(request, checked=True, streams=conversation.stream, passed_on=False)

    async def send(target: Target, within_s: float) -> UpstreamResponse:
        return await snapshot.upstreams.send(target, sent, body.with_value("model", target.upstream.model), within_s)

    forwarding = forward(planned.plan, snapshot.upstreams, snapshot.settings, state.budget, send, record.note, deadline)
    forwarded = await _unless_left(request, forwarding, record)
    record.chosen, record.target, record.attempt = forwarded.chosen, forwarded.target, forwarded.attempts
    record.latency_s = forwarded.response.latency_s
    note_decision(request, planned.id, forwarded.chosen, dial)
    return PassThroughResponse(forwarded.response, record, _path(request), events=conversation.stream)


async def passed_path(request: Request) -> PassThroughResponse:
    """The response to any other path of the OpenAI protocol, from the model that the body names."""
    state: GatewayState = request.app.state.gateway
    snapshot = state.snapshot
    if request.method == "HEAD":  # Starlette takes it for a GET
        raise RequestError("method_not_allowed", f"{_path(request)[:200]} does not take HEAD")
    path = _path(request)
    within = [each for each in PASSED_PATHS if request.method == "POST"] + [*snapshot.settings.passed_paths]
    if not any(path == each or path.startswith(f"{each}/") for each in within):  # the upstream's key may do far more
        raise RequestError(
            "not_found",
            f"{request.method} {path[:200]} is not passed on; POST below {', '.join(PASSED_PATHS)} is, and what the "
            "operator names in serve.passed_paths",
        )
    raw = await request.body()
    if not raw:
        raise RequestError("not_routed", f"{path} needs a body that names a concrete model; {_routed_names()}")
    body = read_body(raw, snapshot.settings.max_depth)
    model = _model(body.values)
    if AUTO.fullmatch(model):
        raise RequestError("not_routed", f"model {model!r} is not routed on {path}; {_routed_names()}")
    return await _passed(request, state, snapshot, model, body, streams=False)


async def _passed(
    request: Request, state: GatewayState, snapshot: Snapshot, model: str, body: JsonBody, *, streams: bool
) -> PassThroughResponse:
    """The response of the model that the client named: one attempt, whatever the breaker says."""
    _check_forwards(snapshot)
    target = snapshot.upstreams.targets.get(model)
    if target is None:
        known = known_names(model[:200], snapshot.upstreams.targets)
        raise RequestError("model_not_found", f"no model {model[:80]!r} in pool {snapshot.pool.name}; {known}; or auto")
    if not is_safe_path(_path(request).removeprefix("/v1")):
        raise RequestError("not_found", "the path has signs that are not passed on")
    record = Record(state, target=target)
    sent = _upstream_request(request, checked=_path(request) in ROUTED, streams=streams, passed_on=True)
    raw = body.with_value("model", target.upstream.model)
    sending = snapshot.upstreams.send(target, sent, raw, snapshot.settings.deadline_s)
    response = await _unless_left(request, sending, record)
    record.latency_s = response.latency_s
    kind = response.outcome.kind
    if kind == "misconfigured" and response.outcome.status in (401, 403):
        raise RequestError("upstream_failed", f"the upstream of {model} did not accept the gateway's key")
    if kind == "timeout" and response.outcome.status is None:
        raise RequestError("upstream_timeout", f"{model} did not answer in time")
    if response.outcome.status is None or kind == "broken":
        raise RequestError("upstream_failed", f"{model} did not answer as it should: {kind}")
    return PassThroughResponse(response, record, _path(request), events=streams)


def _upstream_request(request: Request, *, checked: bool, streams: bool, passed_on: bool) -> UpstreamRequest:
    headers = {name: request.headers[name] for name in PASSED_ON if name in request.headers}
    query = request.scope["query_string"].decode("latin-1")
    for name, value in [*headers.items(), ("query", query)]:
        if not (value.isascii() and value.isprintable()):
            message = f"{name} has signs that are not passed on; allowed is printable ASCII"
            raise RequestError("invalid_request", message)
    path = _path(request).removeprefix("/v1")
    return UpstreamRequest(request.method, path, query, headers, checked, streams, passed_on)


def _path(request: Request) -> str:
    """The path of the request. Not from `request.url`, which contains the Host that the client wrote."""
    return str(request.scope["path"])


def _model(values: Mapping[str, Any]) -> str:
    for key in values:
        if key not in READ_KEYS and key.casefold() in READ_KEYS:  # some upstreams ignore the case of keys
            raise RequestError("invalid_request", f"the body has {key!r} for {key.casefold()}: write it in lower case")
    model = values.get("model")
    if not isinstance(model, str) or not model:
        raise RequestError("invalid_request", "model is missing: name one of GET /v1/models, or auto to have it chosen")
    if model.startswith("auto:") and not AUTO.fullmatch(model):
        raise RequestError("model_not_found", f"no model {model[:80]!r}: the dial is a whole number, auto:0 to auto:10")
    return model


def _check_forwards(snapshot: Snapshot) -> None:
    if not snapshot.forwards:
        raise RequestError("not_routed", "this server only decides, its pool has no upstreams: ask POST /v1/route")


def _routed_names() -> str:
    return f"auto, auto:0 to auto:10 are routed on {' and '.join(ROUTED)}"


async def _unless_left(request: Request, work: Coroutine[Any, Any, T], record: Record) -> T:
    """The result of `work`, cancelled when the client disconnects. A RequestError carries the decision's id."""
    try:
        return await unless_left(request.receive, work)
    except RouterError as error:
        failure = request_error(error)
        failure.headers |= {name.decode(): value.decode() for name, value in record.headers() if b"decision" in name}
        raise failure from error
