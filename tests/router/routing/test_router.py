"""The facade on a random network over a tiny encoder: what a decision says must add up, whatever the weights."""

import itertools
import math
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fixtures.onboarding_world import TEXTS

from router.checkpoint.checkpoint import Checkpoint
from router.encoding.torch_encoder import QueryEncoder
from router.errors import CheckpointError, NoCandidateError, PoolError, QueryError, UsageError
from router.network.taxonomy import CAPABILITIES, Taxonomy
from router.network.torch_network import RouterNetwork
from router.network.vectors import Dimensions
from router.onboarding.add_model import onboard
from router.options import ATTITUDES
from router.policy.candidates import Candidates, gather_candidates
from router.policy.constraints import cost_weights
from router.policy.goals import Goal, measure_dials
from router.pools.models import ModelFacts, System
from router.pools.pool import Candidate, Pool
from router.routing.request import MAX_QUERY_CHARS
from router.routing.router import Router

SYSTEMS = (System("large", "chat"), System("small", "chat"), System("mid", "chat"), System("large", "exam"))
FACTS = {
    "large": ModelFacts("large", 10.0, 30.0, context_window=8000, tools=True),
    "mid": ModelFacts("mid", 1.0, 3.0, context_window=2000, modalities=("text", "image")),
    "small": ModelFacts("small", 0.1, 0.3, context_window=100),
}
QUERIES = ["write a proof", "what is the capital of the verb", "code in python please"]


@pytest.fixture(
    params=[(0, 0, 0), (2, 0, 0), (2, 3, 0), (0, 3, 4)],
    ids=["named axes", "with residual", "with prototypes", "with categories"],
)
def router(tiny_encoder, request):
    encoder = QueryEncoder.from_pretrained(tiny_encoder, max_tokens=16)
    taxonomy = Taxonomy(("Algebra", "Law", "other"))
    torch.manual_seed(3)
    residual, likeness, categories = request.param
    prototypes = 5 if likeness else 0
    size = Dimensions(encoder.dimension, len(CAPABILITIES), 3, 2, 4, residual, 8, prototypes, likeness, categories)
    network = RouterNetwork(size, torch.tensor([0, 0, 0, 1]))
    for tensor in [*network.parameters(), *(network.heads.prototypes.buffers())]:
        torch.nn.init.normal_(tensor)
    torch.nn.init.constant_(network.heads.gain, 0.1)
    if likeness:
        network.heads.prototypes.points.copy_(torch.eye(5, 8))
        network.heads.prototypes.familiar.copy_(torch.tensor([0.9, 0.1]))
        network.heads.prototypes.fading.copy_(torch.tensor([1.0, 0.25]))
    network.profiles.slope.uniform_(0.5, 1.5)
    members = tuple(Candidate(FACTS[s.model], s) for s in SYSTEMS[:3])
    exam = Pool("exam", (Candidate(FACTS["large"], SYSTEMS[3]), Candidate(FACTS["mid"], SYSTEMS[2])))
    pools = {"chat": Pool("chat", members, 0.001), "exam": exam}
    return Router(Checkpoint(encoder, network, taxonomy, SYSTEMS, ("chat", "exam"), FACTS, pools, "chat"))


def test_one_query_a_list_and_an_iterator_give_the_same_decisions(router):
    batch = router.route(QUERIES)
    assert [router.route(q).model for q in QUERIES] == [d.model for d in batch]
    assert [d.model for d in router.route(iter(QUERIES), batch_size=2)] == [d.model for d in batch]
    assert [d.query for d in batch] == QUERIES
    assert router.route([]) == []


def test_an_iterator_is_read_a_batch_at_a_time(router):
    read = []
    decisions = router.route((read.append(i) or "prove it" for i in range(100)), batch_size=4)
    next(decisions)
    assert len(read) == 4


@pytest.mark.parametrize("dial", [0.0, 4.0, 10.0])
@pytest.mark.parametrize("pool", ["chat", "exam"])
def test_reasons_add_up_to_the_lead(router, dial, pool):
    for decision in router.route(QUERIES, dial=dial, pool=pool):
        reasons = decision.reasons
        terms = sum(c.logit for c in reasons.axes) + reasons.bias + reasons.other + reasons.prototypes
        assert terms == pytest.approx(reasons.lead_logit, abs=1e-4)
        first, second = decision.alternatives[:2]

        def logit(p):
            return math.log(p / (1 - p))

        assert reasons.lead_logit == pytest.approx(logit(first.quality) - logit(second.quality), abs=1e-2)
        assert reasons.quality_term + reasons.cost_term == pytest.approx(reasons.lead_utility, abs=1e-6)
        assert reasons.lead_utility == pytest.approx(first.utility - second.utility, abs=1e-6)
        assert reasons.lead_utility >= 0
        assert (reasons.other != 0) == (router.network.size.residual > 0)
        assert (reasons.prototypes != 0) == (router.network.size.likeness > 0)


def test_dial_zero_takes_the_best_and_dial_ten_the_cheapest(router):
    for decision in router.route(QUERIES, dial=0):
        assert decision.quality == max(a.quality for a in decision.alternatives)
    for decision in router.route(QUERIES, dial=10):
        assert decision.cost_usd == min(a.cost_usd for a in decision.alternatives)


def test_a_dial_per_query_is_the_same_as_one_at_a_time(router):
    dials = [0, 5, 10]
    together = router.route(QUERIES, dial=dials)
    assert [d.dial for d in together] == dials
    assert [d.model for d in together] == [router.route(q, dial=x).model for q, x in zip(QUERIES, dials, strict=True)]


def test_a_higher_dial_never_costs_more(router):
    costs = [[d.cost_usd for d in router.route(QUERIES, dial=dial)] for dial in (0, 2, 4, 6, 8, 10)]
    for earlier, later in pairwise(costs):
        assert all(b <= a + 1e-12 for a, b in zip(earlier, later, strict=True))


def test_constraints_filter_before_the_choice(router):
    assert router.route(QUERIES[0], dial=10, tools=True).model == "large"
    assert router.route(QUERIES[0], images=True).model == "mid"
    assert {a.model for a in router.route(QUERIES[0], deny=["l*"]).alternatives} == {"small", "mid"}
    long = "word " * 500  # 625 tokens: beyond the small one's window
    assert "small" not in {a.model for a in router.route(long).alternatives}
    with pytest.raises(NoCandidateError, match="images removed large, small"):
        router.route(QUERIES[0], images=True, deny=["mid"])


def test_a_single_candidate_has_no_reasons(router):
    decision = router.route(QUERIES[0], allow=["mid"])
    assert decision.reasons is None and len(decision.alternatives) == 1
    assert decision.to_json()["reasons"] is None


def test_a_model_unknown_to_the_checkpoint_is_judged_by_its_price_class_and_flagged(router):
    newcomer = Candidate(ModelFacts("newcomer", 9.0, 29.0), None)
    pool = Pool("mixed", (Candidate(FACTS["small"], SYSTEMS[1]), newcomer))
    gathered = gather_candidates(pool, router.network.profiles, router.systems, FACTS)
    distance = (gathered.profile[1] - router.network.profiles.matrix()[:3]).norm(dim=1)
    assert int(distance.argmin()) == 0  # nearest to the large one, whose price it shares
    flags = {a.model: a.prior for a in router.route(QUERIES[0], pool=pool).alternatives}
    assert flags == {"newcomer": True, "small": False}


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("", "empty"),
        (" \n\t", "empty"),
        (7, "must be a string, got int"),
        ("x" * (MAX_QUERY_CHARS + 1), "500,001 characters"),
        ("broken \udcff", "not valid Unicode"),
    ],
)
def test_a_query_that_cannot_be_routed_is_one_clear_error(router, query, message):
    with pytest.raises(QueryError, match=message):
        router.route([query])


def test_unknown_pools_dials_and_lists_are_refused(router):
    with pytest.raises(PoolError, match="unknown pool 'chta'; known: chat, exam"):
        router.route(QUERIES[0], pool="chta")
    with pytest.raises(UsageError, match="dial must lie in 0"):
        router.route(QUERIES[0], dial=10.5)
    with pytest.raises(UsageError, match=r"write \['small'\]"):
        router.route(QUERIES[0], allow="small")
    with pytest.raises(UsageError, match="top must be a whole number of at least 1, got 0"):
        router.route(QUERIES[0], top=0)
    with pytest.raises(UsageError, match="one dial"):
        router.route(iter(QUERIES), dial=[1, 2, 3])


def test_profiles_are_readable_and_ambiguous_names_are_refused(router):
    profile = router.profile("mid")
    assert list(profile.axes.values()) == sorted(profile.axes.values(), reverse=True)
    assert set(profile.axes) == set(router.taxonomy.axes)
    with pytest.raises(PoolError, match="large@chat"):
        router.profile("large")
    assert router.profile("large@exam").system == SYSTEMS[3]


# Goals in place of a dial


def with_tables(router):
    """The router with the dial table of its default pool, measured on QUERIES."""
    seen, gathered = router.predict(QUERIES), router.candidates()
    quality, cost = seen.quality.double().numpy(), seen.cost_usd.double().numpy()
    table = measure_dials(quality, cost, quality, router.pool(), gathered.cost_range_usd)
    router.checkpoint.dial_tables["chat"] = table
    return router


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.9, 1.0])
def test_a_list_keeps_to_its_budget_and_every_choice_is_best_at_the_weight_it_names(router, share):
    texts = [f"{query} {i}" for i in range(4) for query in QUERIES]
    low, high = (sum(d.cost_usd for d in router.route(texts, dial=dial)) / len(texts) for dial in (10, 0))
    budget = 1000 * (low + share * (high - low)) * (1 + 1e-9)
    decisions = router.route(texts, budget_usd_per_1k=budget)
    assert 1000 * sum(d.cost_usd for d in decisions) / len(texts) <= budget
    for decision in decisions:
        assert decision.goal == Goal(budget, None, "batch", decision.goal.cost_weight)
        weight, best = decision.goal.cost_weight, decision.alternatives[0]
        assert best.model == decision.model
        assert best.utility == pytest.approx(best.quality - weight * best.cost_usd, abs=1e-6)
        assert best.utility >= max(other.utility for other in decision.alternatives) - 1e-9
        assert 0 <= decision.dial <= 10
    if share == 1.0:
        assert [d.model for d in decisions] == [d.model for d in router.route(texts, dial=0)]
        assert all(d.dial == 0 for d in decisions)


def test_a_list_reaches_its_quality_at_least_cost(router):
    low, high = (sum(d.quality for d in router.route(QUERIES, dial=dial)) / 3 for dial in (10, 0))
    wanted = (low + high) / 2
    decisions = router.route(QUERIES, quality_at_least=wanted)
    assert sum(d.quality for d in decisions) / 3 >= wanted - 1e-9
    assert sum(d.cost_usd for d in decisions) <= sum(d.cost_usd for d in router.route(QUERIES, dial=0))
    cheapest = router.route(QUERIES, quality_at_least=0.0)
    assert [d.model for d in cheapest] == [d.model for d in router.route(QUERIES, dial=10)]
    assert [(d.dial, d.goal.cost_weight) for d in cheapest] == [(10.0, None)] * 3


def test_one_query_and_an_iterator_take_the_dial_that_met_the_goal_on_validation(router):
    with_tables(router)
    table = router.checkpoint.dial_tables["chat"]
    budget = (table.cost_usd_per_1k[0] + table.cost_usd_per_1k[-1]) / 2
    point = router.dial_for(budget_usd_per_1k=budget)
    one = router.route(QUERIES[0], budget_usd_per_1k=budget)
    streamed = list(router.route(iter(QUERIES), budget_usd_per_1k=budget, batch_size=2))
    assert 0 <= point.dial <= 10 and point.cost_usd_per_1k <= budget
    assert (one.dial, one.goal.met_on, one.goal.budget_usd_per_1k) == (point.dial, "validation", budget)
    assert [d.model for d in streamed] == [d.model for d in router.route(QUERIES, dial=point.dial)]
    assert one.goal.cost_weight in (None, pytest.approx(float(cost_weights(point.dial, 1, 0.001)[1][0])))
    assert one.to_json()["goal"]["budget_usd_per_1k"] == budget
    assert router.route(QUERIES[0], quality_at_least=0.0).dial == 10
    assert router.route(QUERIES[0]).to_json()["goal"] is None


def test_a_goal_that_no_table_can_meet_is_one_clear_error(router):
    with pytest.raises(CheckpointError, match="no dial tables"):
        router.route(QUERIES[0], budget_usd_per_1k=1.0)
    with_tables(router)
    with pytest.raises(PoolError, match="pool 'exam' has no dial table"):
        router.route(QUERIES[0], budget_usd_per_1k=1.0, pool="exam")
    with pytest.raises(UsageError, match="allow, deny or a demand leaves some out: give a list"):
        router.route(QUERIES[0], quality_at_least=0.1, deny=["mid"])
    with pytest.raises(UsageError, match="the least possible is"):
        router.route(QUERIES[0], budget_usd_per_1k=0.0)
    with pytest.raises(UsageError, match="give budget_usd_per_1k or quality_at_least"):
        router.dial_for()


def test_a_list_with_constraints_meets_its_goal_among_those_admitted(router):
    decisions = router.route(QUERIES, budget_usd_per_1k=math.inf, deny=["mid"])
    assert {a.model for d in decisions for a in d.alternatives} == {"large", "small"}
    assert [d.model for d in decisions] == [d.model for d in router.route(QUERIES, dial=0, deny=["mid"])]
    with pytest.raises(UsageError, match="a budget of 0 USD per 1,000 queries is too small"):
        router.route(QUERIES, budget_usd_per_1k=0)
    assert router.route([], budget_usd_per_1k=0) == []


def test_a_saved_router_decides_alike(router, tmp_path):
    router.save_pretrained(tmp_path / "router")
    again = Router.from_pretrained(tmp_path / "router")
    for before, after in zip(router.route(QUERIES), again.route(QUERIES), strict=True):
        assert before.model == after.model
        assert before.quality == pytest.approx(after.quality, abs=1e-2)  # half precision
    Router.from_pretrained(tmp_path / "router").save_pretrained(tmp_path / "twice")
    twice = Router.from_pretrained(tmp_path / "twice")
    for before, after in zip(again.route(QUERIES), twice.route(QUERIES), strict=True):
        assert before == after


def test_what_is_in_no_order_is_routed_once_and_lazily(router):
    assert not isinstance(router.route(set(QUERIES)), list)
    assert len(list(router.route(set(QUERIES)))) == len(QUERIES)


@pytest.mark.parametrize("query", [None, 5, b"two", {"query": "two"}])
def test_what_holds_no_queries_is_refused_at_once(router, query):
    with pytest.raises(QueryError, match=f"a list or an iterator of queries, got {type(query).__name__}"):
        router.route(query)


@pytest.mark.parametrize(
    "wrong", [{"top": 1.5}, {"top": "3"}, {"batch_size": 1.5}, {"allow": [3]}, {"deny": None}, {"allow": 7}]
)
def test_options_of_another_type_are_refused(router, wrong):
    with pytest.raises(UsageError, match=f"{next(iter(wrong))} (must be a whole number|takes a list of names)"):
        router.route(QUERIES[0], **wrong)


def test_a_denied_name_that_nobody_has_is_warned_of(router, caplog):
    for _ in range(2):  # told once
        router.route(QUERIES, deny=["smal", "l*"])
    assert [record.getMessage() for record in caplog.records] == [
        "deny 'smal' matches no model of pool chat; known: small, large, mid"
    ]


# Attitudes towards models that were onboarded from few answers


@pytest.fixture(scope="module")
def grown(onboarding_world):
    """Routers with a model `new` in the pool `both`, fitted from 4 and from 200 answers."""
    world = onboarding_world
    answers = (world.answers(world.row(0.5, 1.0), n) for n in (4, 200))
    fitted = [onboard(world.checkpoint, ModelFacts("new", 0.5, 1.5), each, pools=["both"]) for each in answers]
    return [Router(each.checkpoint) for each in fitted]


def qualities(router, attitude, **options):
    """(B, M) of TEXTS in the pool's order, as decisions tell them."""
    decisions = router.route(TEXTS[:30], attitude=attitude, **options)
    by_name = [{a.model: a.quality for a in decision.alternatives} for decision in decisions]
    return np.array([[found[name] for name in router.pool().ids] for found in by_name])


@pytest.mark.parametrize("guard", [False, True])
def test_an_attitude_moves_the_onboarded_model_by_its_deviation_and_no_other_by_a_bit(grown, guard):
    high, middle, low = (qualities(grown[0], attitude, guard=guard) for attitude in ATTITUDES)
    assert (high[:, :2] == middle[:, :2]).all() and (low[:, :2] == middle[:, :2]).all()
    assert (high[:, 2] > middle[:, 2]).all() and (middle[:, 2] > low[:, 2]).all()
    seen = grown[0].predict(TEXTS[:30])
    with torch.inference_mode():
        deviation = grown[0].candidates().deviation(seen.query)[:, 0].numpy()
    logit = seen.quality[:, 2].logit().numpy()
    assert high[:, 2] == pytest.approx(1 / (1 + np.exp(-logit - deviation)), abs=1e-4)
    assert low[:, 2] == pytest.approx(1 / (1 + np.exp(-logit + deviation)), abs=1e-4)


def test_the_attitude_counts_in_what_a_guard_compares(grown, monkeypatch):
    asked = []
    original = Candidates.predict

    def noted(self, query, input_tokens, attitude=0.0):
        asked.append(attitude)
        return original(self, query, input_tokens, attitude)

    monkeypatch.setattr(Candidates, "predict", noted)
    monkeypatch.setattr(
        grown[0].pipeline, "guard", SimpleNamespace(tail=lambda text: " where" if text.endswith("e") else None)
    )
    grown[0].route(["two is prime where", "root"], attitude="pessimistic", guard=True)
    assert asked == [-1.0, -1.0, -1.0]


def test_the_more_answers_the_less_an_attitude_moves(grown):
    few, many = (qualities(router, "optimistic") - qualities(router, "pessimistic") for router in grown)
    assert many[:, 2].mean() < few[:, 2].mean() / 2
    with torch.inference_mode():
        deviations = [router.candidates().deviation(router.predict(TEXTS[:30]).query) for router in grown]
    assert (deviations[1] < deviations[0]).all()


def test_an_optimist_tries_the_new_model_more_often_than_a_pessimist(grown):
    counts = [
        sum(decision.model == "new" for decision in grown[0].route(TEXTS[:100], dial=0, attitude=attitude))
        for attitude in ATTITUDES
    ]
    assert counts == sorted(counts, reverse=True) and counts[0] > counts[2]


def test_by_default_the_attitude_is_neutral_and_one_query_and_a_stream_have_it_too(grown):
    assert grown[0].route(TEXTS[:5]) == grown[0].route(TEXTS[:5], attitude="neutral")
    batch = grown[0].route(TEXTS[:5], attitude="pessimistic")
    assert [d.model for d in grown[0].route(iter(TEXTS[:5]), attitude="pessimistic")] == [d.model for d in batch]
    assert grown[0].route(TEXTS[0], attitude="pessimistic").quality == pytest.approx(batch[0].quality, abs=1e-5)


def test_without_an_onboarded_model_no_attitude_changes_anything(router):
    decisions = [router.route(QUERIES, attitude=attitude) for attitude in ATTITUDES]
    assert decisions[0] == decisions[1] == decisions[2]
    assert router.candidates().deviation(router.predict(QUERIES).query).shape == (len(QUERIES), 0)


@pytest.mark.parametrize("attitude", ["hopeful", "", None, 1.0])
def test_another_attitude_is_refused(router, attitude):
    with pytest.raises(UsageError, match="attitude must be one of optimistic, neutral, pessimistic, got"):
        router.route(QUERIES[0], attitude=attitude)


@pytest.mark.parametrize("index", ["auto", "flat"])
@pytest.mark.parametrize("options", [
    {}, {"dial": [n % 11 for n in range(40)]}, {"budget_usd_per_1k": 0.01}, {"quality_at_least": 0.55},
    {"guard": True, "dial": 0}, {"guard": True, "budget_usd_per_1k": 0.01}, {"top": 1, "allow": ["small"]},
])  # fmt: skip
def test_a_list_in_pieces_of_any_size_is_decided_as_at_once(tiny_checkpoint, index, options):
    router = Router(tiny_checkpoint, index=index)
    router.pipeline.guard = SimpleNamespace(tail=lambda text: " where" if text.endswith("e") else None)
    words = ["prove that two is", "prime", "write", "root where"]
    texts = [" ".join(words[: 1 + n % 4]) + f" {n % 7}" for n in range(38)]
    texts += ["root where", "two is prime where"]
    pieces, sizes = router.route_in_pieces(texts, **options), itertools.cycle([1, 7, 3])
    next(pieces)
    with pytest.raises(StopIteration) as end:
        for size in sizes:
            pieces.send(size)
    whole = router.route(texts, **options)
    assert [each.to_json().keys() for each in end.value.value] == [each.to_json().keys() for each in whole]
    if "quality_at_least" in options:  # near ties, and which of them reach the goal hangs on the last digit
        assert sum(each.quality for each in end.value.value) >= 0.55 * len(texts)
        total = sum(each.cost_usd for each in whole)
        assert sum(each.cost_usd for each in end.value.value) == pytest.approx(total, rel=1e-3)
        return
    for one, other in zip(end.value.value, whole, strict=True):
        for name in ("query", "model", "flagged"):
            assert getattr(one, name) == getattr(other, name)
        assert [each.model for each in one.alternatives] == [each.model for each in other.alternatives]
        for name in ("dial", "quality", "cost_usd"):
            assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-4, abs=1e-9)


def test_pieces_encode_the_longest_first_and_no_more_than_they_are_sent(tiny_checkpoint, monkeypatch):
    router, encoded = Router(tiny_checkpoint), []
    encode = router.encoder.encode
    pieces = router.route_in_pieces(["two", "two is prime", "two is"])
    noted = lambda texts, batch_size: encoded.append(list(texts)) or encode(texts, batch_size=batch_size)  # noqa: E731
    monkeypatch.setattr(router.encoder, "encode", noted)
    next(pieces)
    assert encoded == []
    pieces.send(2)
    assert encoded == [["two is prime", "two is"]]
    pieces.send(5)
    assert encoded == [["two is prime", "two is"], ["two"]]
    with pytest.raises(StopIteration) as end:
        pieces.send(5)
    assert [each.query for each in end.value.value] == ["two", "two is prime", "two is"]
    assert router.route([]) == []
