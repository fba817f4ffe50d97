"""Heads, profiles and prototypes in torch, against values by hand."""

import math

import pytest
import torch

from router.network.torch_network import ProfileTable, Prototypes, RouterNetwork, standardisation
from router.network.vectors import CATEGORY_SCALE, SHARPNESS, Dimensions

SIZE = Dimensions(embedding=7, capabilities=3, domains=5, protocols=2, systems=4, residual=2, hidden=6)
PROTOCOL = torch.tensor([0, 1, 1, 0])


def network() -> RouterNetwork:
    torch.manual_seed(0)
    built = RouterNetwork(SIZE, PROTOCOL)
    for parameter in built.profiles.parameters():
        torch.nn.init.normal_(parameter)
    return built.eval()


def test_shapes_follow_the_dimensions_and_needs_sum_to_one():
    query, logits = network()(torch.randn(2, 7))
    assert logits.shape == (2, 4)
    assert query.vector.shape == (2, 3 + 5 + 2 + 2)
    torch.testing.assert_close(query.capability.sum(1), torch.ones(2))
    torch.testing.assert_close(query.knowledge.sum(1), torch.ones(2))


def test_logits_are_profile_products_less_the_own_protocols_difficulty():
    built = network()
    query, logits = built(torch.randn(3, 7))
    table = built.profiles
    named = torch.cat([query.capability, query.knowledge, query.residual], dim=1) @ table.weight.T
    expected = named + table.bias - query.difficulty[:, PROTOCOL]
    torch.testing.assert_close(logits, expected)


def test_difficulty_does_not_change_the_order_within_a_protocol():
    built = network()
    _, before = built(torch.randn(1, 7).repeat(2, 1))
    built.heads.deviation.bias.data += torch.tensor([1.5, -2.0])
    query, after = built(torch.randn(1, 7).repeat(2, 1))
    assert query.difficulty.shape == (2, 2)
    assert torch.equal(before[0].argsort(), before[1].argsort())
    own = PROTOCOL == 1
    torch.testing.assert_close(after[0, own].diff(), after[1, own].diff())


def test_calibration_folds_into_the_rows():
    built = network()
    embedding = torch.randn(2, 7)
    _, before = built(embedding)
    scale, shift = torch.tensor([0.5, 2.0, 1.0, 1.5]), torch.tensor([0.1, -1.0, 0.0, 3.0])
    built.profiles.calibrate(scale, shift)
    _, after = built(embedding)
    torch.testing.assert_close(after, scale * before + shift)


def test_answer_lengths_scale_with_the_protocols_factor():
    table = ProfileTable(SIZE, PROTOCOL)
    table.log_tokens.data = torch.tensor([0.0, 1.0, 2.0, 3.0])
    tokens = table.output_tokens(torch.tensor([[0.5, -1.0]]))
    torch.testing.assert_close(tokens, torch.exp(torch.tensor([[0.5, 0.0, 1.0, 3.5]])))


def test_permuting_systems_permutes_logits():
    built = network()
    vector = built.heads(torch.randn(2, 7)).vector
    order = torch.tensor([3, 1, 0, 2])
    other = ProfileTable(SIZE, PROTOCOL[order])
    other.weight.data, other.bias.data = built.profiles.weight.data[order], built.profiles.bias.data[order]
    torch.testing.assert_close(other.logits(vector), built.profiles.logits(vector)[:, order])


def test_each_part_of_an_embedding_gets_mean_zero_and_the_same_mean_square_length():
    torch.manual_seed(0)
    embedding = torch.cat([torch.randn(50, 3) * 5 + 100, torch.randn(50, 3) / 10], dim=1)
    centre, scale = standardisation(embedding, parts=[3, 3])
    parts = ((embedding - centre) * scale).unflatten(1, (2, 3))
    torch.testing.assert_close(parts.mean(dim=0), torch.zeros(2, 3), atol=1e-4, rtol=0)
    torch.testing.assert_close(parts.square().sum(dim=2).mean(dim=0), torch.ones(2))
    assert len(scale.unique()) == 2


def test_a_part_that_never_varies_is_left_finite():
    centre, scale = standardisation(torch.ones(4, 2), parts=[2])
    assert torch.isfinite(scale).all() and centre.tolist() == [1, 1]


def test_heads_read_what_is_centred_and_scaled():
    built = network()
    plain = built(torch.zeros(1, 7))[1]
    built.heads.fit_scale(torch.arange(14.0).reshape(2, 7), parts=[7])
    torch.testing.assert_close(built(torch.arange(14.0).reshape(2, 7).mean(0, keepdim=True))[1], plain)


def test_the_kernel_is_one_at_a_prototype_and_falls_with_the_angle_about_the_centre():
    prototypes = Prototypes(hidden=2, prototypes=2, likeness=1)
    prototypes.centre.copy_(torch.tensor([1.0, 1.0]))
    prototypes.points.copy_(torch.eye(2))
    kernel = prototypes.kernel(torch.tensor([[3.0, 1.0], [1.0, 0.0]]))
    expected = [[1, math.exp(-SHARPNESS)], [math.exp(-SHARPNESS), math.exp(-2 * SHARPNESS)]]
    torch.testing.assert_close(kernel, torch.tensor(expected))
    assert prototypes(torch.randn(3, 2)).tolist() == [[0]] * 3  # not fitted
    prototypes.coordinates.copy_(torch.tensor([[2.0], [0.0]]))
    assert prototypes(torch.tensor([[3.0, 1.0]])).item() == pytest.approx(2)


def test_categories_count_by_their_probability_and_less_far_from_every_prototype():
    prototypes = Prototypes(hidden=2, prototypes=1, likeness=1, categories=2)
    with torch.no_grad():
        prototypes.points.copy_(torch.tensor([[1.0, 0.0]]))
        prototypes.category.weight.zero_()
        prototypes.category.bias.copy_(torch.tensor([3.0, 1.0]).log())  # 3 to 1
        prototypes.fading.copy_(torch.tensor([1.0, 0.25]))  # with the kernel's square root
        near, far = prototypes.features(torch.tensor([[2.0, 0.0], [0.0, 1.0]])).tolist()
    probability = [0.75 * CATEGORY_SCALE, 0.25 * CATEGORY_SCALE]
    assert near == pytest.approx([1, *probability])
    assert far == pytest.approx([math.exp(-SHARPNESS), *(p * math.exp(-SHARPNESS / 2) for p in probability)])


def test_difficulty_is_an_affine_map_of_the_level_and_a_deviation_that_fades_with_familiarity():
    built = RouterNetwork(Dimensions(7, 3, 5, 2, 4, hidden=6, prototypes=2, likeness=1), PROTOCOL).eval()
    heads, embedding = built.heads, torch.randn(3, 7)
    hidden = heads.hidden(embedding)
    with torch.no_grad():
        heads.prototypes.points.copy_(torch.nn.functional.normalize(torch.randn(2, 6), dim=1))
        heads.level.weight.normal_()
        heads.gain.copy_(torch.tensor([2.0, -1.0]))
        heads.shift.copy_(torch.tensor([0.25, 0.5]))
        heads.prototypes.familiar.copy_(torch.tensor([0.9, 0.4]))
        query = heads(embedding)
    level = 3 + hidden @ heads.level.weight[0]
    assert (query.familiarity < 1).all()
    deviation = hidden @ heads.deviation.weight.T + heads.deviation.bias
    expected = heads.gain * (level[:, None] - 3) + heads.shift + query.familiarity[:, None] * deviation
    torch.testing.assert_close(query.difficulty, expected)
    torch.testing.assert_close(query.level, level)
    torch.testing.assert_close(query.take(slice(1, 3)).level, level[1:])


def test_outcomes_train_the_level_through_the_gains():
    built = network()
    built(torch.randn(2, 7))[1].sum().backward()
    assert built.heads.level.weight.grad.abs().sum() > 0 and built.heads.gain.grad.shape == (2,)


def test_familiarity_is_a_half_at_the_distance_that_few_unseen_queries_exceed_and_never_zero():
    prototypes = Prototypes(hidden=2, prototypes=1, likeness=1)
    prototypes.points.copy_(torch.tensor([[1.0, 0.0]]))
    angle = torch.linspace(0, 1, 21)
    hidden = torch.stack([angle.cos(), angle.sin()], dim=1)
    assert (prototypes.familiarity(-hidden) == 1).all()  # not fitted
    prototypes.fit_familiarity(hidden)
    found = prototypes.familiarity(hidden)
    assert (found[:11] == 1).all() and (found.diff() <= 0).all()  # the angle grows
    assert found[19].item() == pytest.approx(0.5, abs=1e-5)
    prototypes.fit_familiarity(hidden[:1].repeat(5, 1))  # all alike
    assert 0 < prototypes.familiarity(-hidden).min() < 1e-6


def test_numbers_of_form_are_scaled_each_by_its_own_deviation():
    embedding = torch.cat([torch.randn(50, 6), torch.randn(50, 4) * torch.tensor([3.0, 0.1, 0.0, 1.0]) + 5], dim=1)
    centre, scale = standardisation(embedding, parts=[3, 3, 1, 1, 1, 1])
    found = (embedding - centre) * scale
    torch.testing.assert_close(found[:, :6].unflatten(1, (2, 3)).square().sum(2).mean(0), torch.ones(2))
    torch.testing.assert_close(found[:, 6:].square().mean(0), torch.tensor([1.0, 1.0, 0.0, 1.0]))
