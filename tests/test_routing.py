"""The facade on a random network over a tiny encoder: what a decision says must add up, whatever the weights."""

import math
from itertools import pairwise

import pytest
import torch

from router.candidates import gather_candidates
from router.checkpoint import Checkpoint
from router.encoder import QueryEncoder
from router.errors import NoCandidateError, PoolError, QueryError, UsageError
from router.network import Dimensions, RouterNetwork
from router.pools import Candidate, Pool
from router.profiles import ModelFacts, System
from router.routing import MAX_QUERY_CHARS, Router
from router.taxonomy import CAPABILITIES, Taxonomy

SYSTEMS = (System("large", "chat"), System("small", "chat"), System("mid", "chat"), System("large", "exam"))
FACTS = {
    "large": ModelFacts("large", 10.0, 30.0, context_window=8000, tools=True),
    "mid": ModelFacts("mid", 1.0, 3.0, context_window=2000, modalities=("text", "image")),
    "small": ModelFacts("small", 0.1, 0.3, context_window=100),
}
QUERIES = ["write a proof", "what is the capital of the verb", "code in python please"]


@pytest.fixture(params=[0, 2], ids=["without residual", "with residual"])
def router(tiny_encoder, request):
    encoder = QueryEncoder.from_pretrained(tiny_encoder, max_tokens=16)
    taxonomy = Taxonomy(("Algebra", "Law", "other"))
    torch.manual_seed(3)
    size = Dimensions(encoder.dimension, len(CAPABILITIES), 3, protocols=2, systems=4, residual=request.param, hidden=8)
    network = RouterNetwork(size, torch.tensor([0, 0, 0, 1]))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter)
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
        terms = sum(c.logit for c in reasons.axes) + reasons.bias + reasons.other
        assert terms == pytest.approx(reasons.lead_logit, abs=1e-4)
        first, second = decision.alternatives[:2]

        def logit(p):
            return math.log(p / (1 - p))

        assert reasons.lead_logit == pytest.approx(logit(first.quality) - logit(second.quality), abs=1e-2)
        assert reasons.quality_term + reasons.cost_term == pytest.approx(reasons.lead_utility, abs=1e-6)
        assert reasons.lead_utility == pytest.approx(first.utility - second.utility, abs=1e-6)
        assert reasons.lead_utility >= 0
        assert (reasons.other != 0) == (router.network.size.residual > 0)


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
    with pytest.raises(UsageError, match="top and batch_size"):
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
