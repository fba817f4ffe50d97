"""The application: which path is answered by what. Knows nothing of sockets and signals
(`router.serving.http.server`)."""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from router.serving.http import decisions_api as decision_service
from router.serving.http import gateway
from router.serving.http.access import Access
from router.serving.http.openapi import document
from router.serving.protocol.errors import RequestError
from router.serving.service import Service

OTHERS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


def make_app(service: Service) -> Starlette:
    """The ASGI application of a service, which its caller warms and closes."""
    routes = [
        Route("/health", health, methods=["GET"]),
        Route("/metrics", metrics, methods=["GET"]),
        Route("/openapi.json", openapi, methods=["GET"]),
        Route("/v1/models", models, methods=["GET"]),
        Route("/v1/models/{id:path}", model, methods=["GET"]),
        Route("/v1/route", decision_service.route, methods=["POST"]),
        Route("/v1/route/batch", decision_service.route_batch, methods=["POST"]),
        Route("/v1/decisions/{id}", decision_service.decision, methods=["GET"]),
        Route("/v1/feedback", decision_service.feedback, methods=["POST"]),
        *(Route(path, gateway.routed_path, methods=["POST"]) for path in gateway.ROUTED),
    ]
    routes += [Route(each.path, other_method, methods=OTHERS - (each.methods or set())) for each in routes]
    routes += [
        Route("/v1/{path:path}", gateway.passed_path, methods=["GET", "POST", "DELETE"]),
    ]
    handlers: dict[Any, Any] = {HTTPException: _http_error}
    app = Starlette(routes=routes, middleware=[Middleware(Access)], exception_handlers=handlers)
    app.router.redirect_slashes = False
    app.state.service = service
    return app


async def other_method(request: Request) -> Response:
    """405: the path is ours, with other methods."""
    raise RequestError("method_not_allowed", f"{request.url.path[:200]} does not take {request.method}")


async def _http_error(request: Request, error: HTTPException) -> Response:
    """Starlette's own errors, of an unknown path or method, in OpenAI's shape."""
    code, told = ("method_not_allowed", "method") if error.status_code == 405 else ("not_found", "path")
    failure = RequestError(
        code, f"no such {told}: {request.method} {request.url.path[:200]}; GET /openapi.json lists all"
    )
    headers = dict(error.headers or {})
    return Response(failure.body, failure.status, headers=headers, media_type="application/json")


async def health(request: Request) -> JSONResponse:
    """200 once requests are answered, else 503."""
    service: Service = request.app.state.service
    ready = service.ready and not service.stopping
    status = "ok" if ready else "stopping" if service.stopping else "loading"
    return JSONResponse({"status": status}, 200 if ready else 503)


async def metrics(request: Request) -> Response:
    """Figures for Prometheus."""
    content, kind = request.app.state.service.metrics.render()
    return Response(content, headers={"content-type": kind})


async def openapi(request: Request) -> JSONResponse:
    """What can be asked, as an OpenAPI document."""
    return JSONResponse(document())


async def models(request: Request) -> JSONResponse:
    """`auto`, `auto:0` to `auto:10` and the pool's models."""
    return JSONResponse({"object": "list", "data": [_model(name) for name in _names(request.app.state.service)]})


async def model(request: Request) -> JSONResponse:
    """One of them."""
    name = request.path_params["id"]
    if name not in _names(request.app.state.service):
        raise RequestError("model_not_found", f"no model {name[:80]!r}; GET /v1/models lists all")
    return JSONResponse(_model(name))


def _names(service: Service) -> list[str]:
    setup = service.setup
    return [*(["auto", *(f"auto:{dial}" for dial in range(11))] if setup.forwards else []), *setup.pool.ids]


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "router"}
