"""The metrics that Prometheus reads from a server."""

from __future__ import annotations

import pytest

from router.serving.telemetry.metrics import ENDPOINTS, Metrics


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(lambda: 3, lambda: {"one": "closed", "two": "half_open", "three": "open"}, lambda: 7, lambda: 8)


def figures(metrics: Metrics) -> dict[str, float]:
    """Values by name with labels."""
    text, content_type = metrics.render()
    assert content_type.startswith("text/plain")
    lines = [line for line in text.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_decisions_and_money_add_up(metrics: Metrics) -> None:
    metrics.decided("small", 0.1, 0.5)
    metrics.decided("small", 0.1, 0.5)
    metrics.decided("large", 0.75, 0.5)
    metrics.billed("small", 0.125)
    seen = figures(metrics)
    assert seen['router_decisions_total{model="small"}'] == 2
    assert seen['router_decisions_total{model="large"}'] == 1
    assert seen['router_predicted_cost_usd_total{model="small"}'] == pytest.approx(0.2)
    assert seen['router_cost_usd_total{model="small"}'] == 0.125
    assert seen["router_always_best_cost_usd_total"] == 1.5
    assert seen["router_saving_usd"] == pytest.approx(1.5 - 0.95)


def test_a_saving_may_be_negative(metrics: Metrics) -> None:
    metrics.decided("large", 0.75, 0.5)
    assert figures(metrics)["router_saving_usd"] == -0.25


def test_what_others_count_is_asked_for_when_it_is_read(metrics: Metrics) -> None:
    seen = figures(metrics)
    assert seen["router_queue"] == 3
    assert [seen[f'router_breaker_state{{upstream="{name}"}}'] for name in ("one", "two", "three")] == [0, 1, 2]
    assert seen["router_log_rows_dropped_total"] == 7
    assert seen["router_log_decisions_deleted_total"] == 8


def test_the_overhead_is_a_histogram_in_seconds(metrics: Metrics) -> None:
    for seconds in (0.0004, 0.004, 9.0):
        metrics.overhead(seconds)
    seen = figures(metrics)
    assert seen['router_overhead_seconds_bucket{le="0.0005"}'] == 1
    assert seen['router_overhead_seconds_bucket{le="0.005"}'] == 2
    assert seen['router_overhead_seconds_bucket{le="+Inf"}'] == 3
    assert seen["router_overhead_seconds_sum"] == pytest.approx(9.0044)


def test_paths_that_clients_make_up_do_not_become_series(metrics: Metrics) -> None:
    metrics.answered("/v1/chat/completions", 200)
    before = len(figures(metrics))
    for number in range(100):
        metrics.answered(f"/v1/{number}", 404)
    seen = figures(metrics)
    assert seen['router_requests_total{endpoint="other",status="404"}'] == 100
    assert seen['router_requests_total{endpoint="/v1/chat/completions",status="200"}'] == 1
    assert len(seen) == before + 2  # the counter and when it was made
    assert "/v1/route" in ENDPOINTS


def test_two_servers_in_one_process_count_apart(metrics: Metrics) -> None:
    other = Metrics(lambda: 0, dict, lambda: 0, lambda: 0)
    other.decided("small", 1.0, 1.0)
    assert 'router_decisions_total{model="small"}' not in figures(metrics)
