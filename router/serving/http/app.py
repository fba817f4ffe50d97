"""ASGI application: the table of paths and the small endpoints (health, metrics, models, OpenAPI).

Sockets and signals are in `router.serving.http.server`.
"""

from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from router.serving.http import decisions_api, gateway
from router.serving.http.access import Access
from router.serving.http.openapi import document
from router.serving.protocol.errors import RequestError
from router.serving.service import GatewayState

OTHERS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


def make_app(state: GatewayState) -> Starlette:
    """The ASGI application of a gateway; the caller warms and closes `state`."""
    routes = [
        Route("/health", health, methods=["GET"]),
        Route("/metrics", metrics, methods=["GET"]),
        Route("/openapi.json", openapi, methods=["GET"]),
        Route("/v1/models", models, methods=["GET"]),
        Route("/v1/models/{id:path}", model, methods=["GET"]),
        Route("/v1/route", decisions_api.route, methods=["POST"]),
        Route("/v1/route/batch", decisions_api.route_batch, methods=["POST"]),
        Route("/v1/decisions/{id}", decisions_api.decision, methods=["GET"]),
        Route("/v1/feedback", decisions_api.feedback, methods=["POST"]),
        *(Route(path, gateway.routed_path, methods=["POST"]) for path in gateway.ROUTED),
    ]
    routes += [Route(each.path, other_method, methods=OTHERS - (each.methods or set())) for each in routes]
    routes += [Route("/v1/{path:path}", gateway.passed_path, methods=["GET", "POST", "DELETE"])]
    handlers: dict[Any, Any] = {HTTPException: _http_error}
    app = Starlette(routes=routes, middleware=[Middleware(Access)], exception_handlers=handlers)
    app.router.redirect_slashes = False
    app.state.gateway = state
    return app


async def other_method(request: Request) -> Response:
    """Raise 405: the path exists with other methods."""
    raise RequestError("method_not_allowed", f"{request.url.path[:200]} does not take {request.method}")


async def _http_error(request: Request, error: HTTPException) -> Response:
    """Raise an error of Starlette, for an unknown path or method, as ours."""
    code, kind = ("method_not_allowed", "method") if error.status_code == 405 else ("not_found", "path")
    message = f"no such {kind}: {request.method} {request.url.path[:200]}; GET /openapi.json lists all"
    raise RequestError(code, message, dict(error.headers or {}))


async def health(request: Request) -> JSONResponse:
    """200 if requests are answered, otherwise 503."""
    state: GatewayState = request.app.state.gateway
    ready = state.ready and not state.stopping
    status = "ok" if ready else "stopping" if state.stopping else "loading"
    return JSONResponse({"status": status}, 200 if ready else 503)


async def metrics(request: Request) -> Response:
    """Metrics in the format of Prometheus."""
    content, kind = request.app.state.gateway.metrics.render()
    return Response(content, headers={"content-type": kind})


async def openapi(request: Request) -> JSONResponse:
    """The OpenAPI document."""
    return JSONResponse(document())


async def models(request: Request) -> JSONResponse:
    """A list of `auto`, `auto:0` to `auto:10` and the pool's models."""
    return JSONResponse({"object": "list", "data": [_model(name) for name in _names(request.app.state.gateway)]})


async def model(request: Request) -> JSONResponse:
    """One entry of that list."""
    name = request.path_params["id"]
    if name not in _names(request.app.state.gateway):
        raise RequestError("model_not_found", f"no model {name[:80]!r}; GET /v1/models lists all")
    return JSONResponse(_model(name))


def _names(state: GatewayState) -> list[str]:
    snapshot = state.snapshot
    return [*(["auto", *(f"auto:{dial}" for dial in range(11))] if snapshot.forwards else []), *snapshot.pool.ids]


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "router"}
