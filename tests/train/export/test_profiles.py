"""Profiles and prototypes fitted where it is known what models do near and far."""

import math

import pytest
import torch

from router.network.torch_network import Prototypes, RouterNetwork
from router.network.vectors import Dimensions
from train.data.published_scores import NO_SCORES
from train.export.profiles import Rows, fit_profiles, logistic_regression, protocol_trust
from train.export.prototypes import nystroem, place_prototypes, reduced


def rows_of(hidden, score):
    """Rows of one benchmark, every score seen."""
    return Rows(hidden, torch.zeros(len(hidden), dtype=torch.long), score, torch.ones_like(score, dtype=torch.bool))


def test_nystroem_features_reproduce_the_kernel_between_prototypes():
    torch.manual_seed(0)
    prototypes = Prototypes(5, 8, 1)
    place_prototypes(prototypes, torch.randn(200, 5), seed=0)
    features, root = nystroem(prototypes, prototypes.points + prototypes.centre)
    kernel = prototypes.kernel(prototypes.points + prototypes.centre)
    torch.testing.assert_close(features @ features.T, kernel, atol=1e-4, rtol=0)
    torch.testing.assert_close(kernel @ root, features)


def test_only_means_of_several_queries_are_kept_and_the_rest_is_left_empty():
    torch.manual_seed(0)
    crowds = torch.eye(5)[:2].repeat(20, 1) + 0.01 * torch.randn(40, 5)
    loners = -10 * torch.eye(5)[2:4]
    prototypes = Prototypes(5, 8, 1)
    place_prototypes(prototypes, torch.cat([crowds, loners]), seed=0)
    kept = prototypes.points[prototypes.points.norm(dim=1) > 0]
    assert 2 <= len(kept) < 8
    torch.testing.assert_close(kept.norm(dim=1), torch.ones(len(kept)))
    alone = torch.nn.functional.normalize(loners - prototypes.centre, dim=1)
    assert (kept @ alone.T).max() < 0.9
    assert (prototypes.points[len(kept) :] == 0).all()


def test_logistic_regression_gives_the_cells_log_odds_without_a_penalty_and_its_prior_with_a_great_one():
    features = torch.tensor([[1.0, 0.0]] * 4 + [[1.0, 1.0]] * 4)
    score = torch.tensor([[1.0, 0], [0, 0], [0, 0], [0, 0], [1, 1], [1, 1], [1, 1], [0, 0]])
    seen = torch.ones(8, 2, dtype=torch.bool)
    seen[0, 1] = False  # and its score does not count
    offset = torch.full((8, 2), 0.5)
    weight = logistic_regression(features, score, seen, offset, 0.0)
    assert weight[0, 0].item() == pytest.approx(math.log(1 / 3) - 0.5, abs=1e-3)
    assert weight[1, 0].item() == pytest.approx(2 * math.log(3), abs=1e-3)
    prior = torch.tensor([[0.2, 0.0], [-0.3, 1.0]])
    weight = logistic_regression(features, score, seen, offset, 1e4, prior)
    torch.testing.assert_close(weight, prior, atol=1e-3, rtol=0)


def test_reduced_factors_are_exact_at_full_rank_and_keep_the_strongest_direction():
    torch.manual_seed(0)
    features, weight = torch.randn(50, 6), torch.randn(6, 4)
    coordinates, rows = reduced(features, weight, 6)  # more than there are systems: padded
    assert coordinates.shape == (6, 6) and rows.shape == (4, 6)
    torch.testing.assert_close(coordinates @ rows.T, weight, atol=1e-5, rtol=1e-4)
    single = torch.outer(torch.randn(6), torch.randn(4))
    coordinates, rows = reduced(features, single, 1)
    torch.testing.assert_close(coordinates @ rows.T, single, atol=1e-5, rtol=1e-4)
    assert (features @ coordinates).square().mean().item() == pytest.approx(1)


def test_validation_decides_whom_to_trust_under_each_protocol():
    torch.manual_seed(0)
    truth, noise = torch.randn(500, 2), torch.randn(500, 2)
    score = (torch.rand(500, 2) < (truth - 1).sigmoid()).float()
    own, near = torch.stack([truth[:, 0], noise[:, 1]], 1), torch.stack([noise[:, 0], truth[:, 1]], 1)
    parts = torch.stack([own, near, torch.ones(500, 2)], dim=2)
    share = protocol_trust(parts, rows_of(truth, score), torch.zeros(500, 2), torch.tensor([0, 1]), 3)
    assert share[0, 0] > 0.7 > 0.25 > share[0, 1] and share[1, 1] > 0.7 > 0.25 > share[1, 0]
    assert share[:2, 2].tolist() == pytest.approx([-1, -1], abs=0.3)
    assert share[2].tolist() == [0.5, 0.5, 0.0]  # nothing was seen of it


@pytest.mark.parametrize("categories", [0, 2])
def test_the_parts_are_folded_into_one_network(categories):
    torch.manual_seed(0)
    size = Dimensions(4, 3, 3, protocols=2, systems=5, hidden=4, prototypes=6, likeness=6, categories=categories)
    network = RouterNetwork(size, torch.tensor([0, 0, 1, 1, 1]))
    with torch.no_grad():
        for each in (*network.heads.parameters(), *network.profiles.parameters()):
            each.normal_()
    hidden = torch.randn(400, 4)
    score = (torch.rand(400, 5) < 0.6).float()
    before = network.heads.read(hidden).vector[:, :6]
    wanted = []

    def remember(parts, rows, offset, protocol, protocols):
        share = protocol_trust(parts, rows, offset, protocol, protocols)
        wanted.append(offset + (parts * share[protocol]).sum(2))
        return share

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("train.export.profiles.protocol_trust", remember)
        fit_profiles(network, rows_of(hidden, score), rows_of(hidden, score), NO_SCORES)
    with torch.no_grad():
        query = network.heads.read(hidden)
        torch.testing.assert_close(network.profiles.logits(query.vector), wanted[0], atol=2e-3, rtol=1e-3)
        torch.testing.assert_close(query.vector[:, :6], before)


def test_far_from_all_prototypes_strength_and_level_decide():
    torch.manual_seed(0)
    size = Dimensions(4, 3, 3, protocols=1, systems=2, hidden=4, prototypes=6, likeness=3, categories=2)
    network = RouterNetwork(size, torch.zeros(2))
    with torch.no_grad():
        network.heads.level.weight.copy_(torch.tensor([[0.0, 0.0, 0.0, 1.0]]))
    hidden = 20 * torch.eye(4)[torch.randint(3, (3000,))] + torch.randn(3000, 4)
    score = (torch.rand(3000, 2) < (torch.tensor([1.0, -1.0]) - 1.5 * hidden[:, 3:]).sigmoid()).float()
    fit_profiles(network, rows_of(hidden[:2000], score[:2000]), rows_of(hidden[2000:], score[2000:]), NO_SCORES)
    far = torch.tensor([[-50.0, -50, -50, level] for level in (-2.0, 0.0, 2.0)])
    with torch.no_grad():
        query = network.heads.read(far)
        found = network.profiles.logits(query.vector)
    assert query.familiarity.max() < 1e-3
    assert (found[:, 0] - found[:, 1]).tolist() == pytest.approx([2, 2, 2], abs=0.5)
    assert (found[0] - found[2]).tolist() == pytest.approx([6, 6], abs=0.6)


def test_categories_tell_what_lies_between_prototypes():
    torch.manual_seed(0)
    crowd = torch.randint(2, (4000, 1)) * 2.0 - 1
    hidden = torch.cat([crowd, torch.randn(4000, 2) * 0.02], dim=1)
    kind = (hidden[:, 1] > 0).long()  # cuts both crowds in two
    score = (torch.rand(4000, 1) < torch.tensor([0.2, 0.8])[kind, None]).float()
    found = {}
    for categories in (0, 2):
        size = Dimensions(4, 3, 3, protocols=1, systems=1, hidden=3, prototypes=2, likeness=2, categories=categories)
        network = RouterNetwork(size, torch.zeros(1))
        if categories:
            with torch.no_grad():
                network.heads.prototypes.category.weight.copy_(torch.tensor([[0.0, -500.0, 0.0], [0.0, 500.0, 0.0]]))
        train, val = rows_of(hidden[:3000], score[:3000]), rows_of(hidden[3000:], score[3000:])
        fit_profiles(network, train, val, NO_SCORES)
        with torch.no_grad():
            quality = network.profiles.logits(network.heads.read(hidden).vector).sigmoid()
        found[categories] = [quality[kind == k].mean().item() for k in (0, 1)]
    assert found[2] == pytest.approx([0.2, 0.8], abs=0.1)
    assert found[0][1] - found[0][0] < 0.3


def test_prototypes_fitted_to_a_network_that_knows_nothing_learn_each_neighbourhood():
    torch.manual_seed(0)
    size = Dimensions(4, 3, 3, protocols=1, systems=2, hidden=4, prototypes=6, likeness=2)
    network = RouterNetwork(size, torch.zeros(2))
    cluster = torch.randint(3, (3000,))
    hidden = 5 * torch.eye(4)[cluster] + torch.randn(3000, 4) * 0.1
    truth = torch.tensor([[0.9, 0.1], [0.1, 0.9], [0.5, 0.5]])[cluster]
    score = (torch.rand(3000, 2) < truth).float()
    fit_profiles(network, rows_of(hidden[:2000], score[:2000]), rows_of(hidden[2000:], score[2000:]), NO_SCORES)
    with torch.no_grad():
        found = network.profiles.logits(network.heads.read(hidden).vector).sigmoid()
        assert (found - truth).abs().max() < 0.1
        far = network.heads.prototypes(-hidden)  # on the other side of the centre
    assert far.abs().mean() < 0.2 * network.heads.prototypes(hidden).abs().mean()
