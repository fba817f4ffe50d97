"""Prometheus metrics of the gateway, in a registry of their own, so that two servers in a process do not clash.

Labels have few values by construction (models and upstreams of the pool, the endpoints below), so that no client can
make the series grow. Money is in US dollars.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

BREAKER_STATES = {"closed": 0, "half_open": 1, "open": 2}
OVERHEAD_BUCKETS_S = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
ENDPOINTS = (
    "/v1/chat/completions /v1/responses /v1/models /v1/route /v1/route/batch /v1/decisions/{id} /v1/feedback /health "
    "/metrics"
).split()
OTHER = "other"  # paths that are passed on, and unknown ones


class Metrics:
    """The metrics of one server. Thread-safe."""

    def __init__(
        self,
        queue: Callable[[], float],
        breakers: Callable[[], Mapping[str, str]],
        dropped: Callable[[], int],
        deleted: Callable[[], int],
    ) -> None:
        """The arguments are called at each scrape.

        `queue`: requests that wait for their decision; `breakers`: state of the breaker by upstream, in BREAKER_STATES;
        `dropped`: rows that the decision log dropped; `deleted`: decisions that it deleted for age or size.
        """
        self._breakers, self._dropped, self._deleted = breakers, dropped, deleted
        registry = self._registry = CollectorRegistry()
        counter, gauge = partial(Counter, registry=registry), partial(Gauge, registry=registry)
        self._decisions = counter("router_decisions", "Decisions by the model chosen", ["model"])
        self._predicted = counter("router_predicted_cost_usd", "Expected cost of the decisions", ["model"])
        self._cost = counter("router_cost_usd", "Cost by the tokens that upstreams reported", ["model"])
        self._best = counter(
            "router_always_best_cost_usd",
            "Expected cost had the model of the greatest predicted quality answered each of these requests",
        )
        self._saving = gauge(  # no counter: a request can cost more than the best model would have
            "router_saving_usd", "router_always_best_cost_usd less router_predicted_cost_usd"
        )
        overhead = "Time that a request spent here before it was sent on"
        self._overhead = Histogram("router_overhead_seconds", overhead, buckets=OVERHEAD_BUCKETS_S, registry=registry)
        self._requests = counter("router_requests", "Requests by endpoint and status", ["endpoint", "status"])
        gauge("router_queue", "Requests that wait for their decision").set_function(queue)
        registry.register(self)

    def decided(self, model: str, cost_usd: float, always_best_cost_usd: float) -> None:
        """Count a decision for `model` with its expected cost, and the cost of the model of the greatest quality."""
        self._decisions.labels(model).inc()
        self._predicted.labels(model).inc(cost_usd)
        self._best.inc(always_best_cost_usd)
        self._saving.inc(always_best_cost_usd - cost_usd)

    def billed(self, model: str, cost_usd: float) -> None:
        """Count the cost of a response of `model` by its reported tokens."""
        self._cost.labels(model).inc(cost_usd)

    def overhead(self, seconds: float) -> None:
        """Count the time from the arrival of a request to its first attempt, or to its decision without one."""
        self._overhead.observe(seconds)

    def answered(self, endpoint: str, status: int) -> None:
        """Count a request that got its response; an endpoint that is not in ENDPOINTS counts as `other`."""
        self._requests.labels(endpoint if endpoint in ENDPOINTS else OTHER, str(status)).inc()

    def render(self) -> tuple[bytes, str]:
        """The metrics as text, and the content type of the text."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST

    def collect(self) -> Iterable[Metric]:
        """The metrics that are read at each scrape; prometheus_client calls this."""
        states = GaugeMetricFamily(
            "router_breaker_state", "0 closed, 1 half open, 2 open: no request is sent there", labels=["upstream"]
        )
        for upstream, state in self._breakers().items():
            states.add_metric([upstream], BREAKER_STATES[state])
        yield states
        yield CounterMetricFamily("router_log_rows_dropped", "Rows the decision log left out", value=self._dropped())
        yield CounterMetricFamily(
            "router_log_decisions_deleted", "Decisions deleted for their age or the log's size", value=self._deleted()
        )
