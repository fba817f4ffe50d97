"""The paper's formula, recomputed by hand. Axes: N, M, A = 3, 2, 5 (2 capabilities, 3 domains)."""

import numpy as np
import pytest

from router.errors import DataError, UsageError
from router.network.taxonomy import Taxonomy
from train.fit.closed_form import ClosedForm

TAXONOMY = Taxonomy(("law", "music", "sport"), capabilities=("coding", "writing"))
NAN = float("nan")


def labels(*annotations):
    """Rows (N, A) of rank weights, with the decay of the paper's code: 2/3 and 1/3 for two ranks."""
    return np.array([np.concatenate(TAXONOMY.targets(*annotation)) for annotation in annotations])


INDEX = labels((["coding", "writing"], ["law"]), (["writing"], ["law", "music"]), (["coding"], ["music"]))
SCORE = np.array([[1.0, 0.5], [0.0, 1.0], [0.5, NAN]])


def test_an_entry_is_the_weighted_sum_over_the_queries_that_carry_it_divided_by_their_number():
    form = ClosedForm().fit(INDEX, SCORE)
    assert form.profile[0, 0] == pytest.approx((1.0 * 2 / 3 + 0.5 * 1) / 2)  # coding: queries 0 and 2
    assert form.profile[0, 1] == pytest.approx((1.0 * 1 / 3 + 0.0 * 1) / 2)  # writing: queries 0 and 1
    assert form.profile[0, 2] == pytest.approx((1.0 * 1 + 0.0 * 2 / 3) / 2)  # law: queries 0 and 1
    assert form.profile[0, 3] == pytest.approx((0.0 * 1 / 3 + 0.5 * 1) / 2)  # music: queries 1 and 2
    assert form.count[0].tolist() == [2, 2, 2, 2, 0]


def test_the_denominator_is_a_number_of_queries_and_not_the_sum_of_their_weights():
    form = ClosedForm().fit(np.array([[0.25], [0.25]]), np.array([[1.0], [1.0]]))
    assert form.profile.tolist() == [[0.25]]


def test_a_missing_outcome_counts_neither_in_the_sum_nor_in_the_number():
    form = ClosedForm().fit(INDEX, SCORE)
    assert form.profile[1, 0] == pytest.approx(0.5 * 2 / 3)  # coding: query 0 alone
    assert form.profile[1, 3] == pytest.approx(1.0 * 1 / 3)  # music: query 1 alone
    assert form.count[1].tolist() == [1, 2, 2, 1, 0]


def test_an_axis_no_query_carries_falls_back_to_the_models_mean():
    form = ClosedForm().fit(INDEX, SCORE)
    assert form.profile[:, 4] == pytest.approx([0.5, 0.75])


def test_an_axis_on_which_only_one_model_has_no_outcome_falls_back_to_its_mean_at_the_axis_usual_weight():
    weights = np.array([[1.0, 0.0], [0.75, 0.25]])
    form = ClosedForm().fit(weights, np.array([[0.8, 1.0], [NAN, 1.0]]))
    assert form.profile[0] == pytest.approx([0.8, 0.8 * 0.25])
    assert form.count[0].tolist() == [1, 0]


def test_a_model_without_any_outcome_counts_as_the_mean_of_the_others():
    form = ClosedForm().fit(np.array([[1.0]]), np.array([[0.2, NAN, 0.6]]))
    assert form.profile[:, 0] == pytest.approx([0.2, 0.4, 0.6])
    assert form.count[:, 0].tolist() == [1, 0, 1]


def test_beta_takes_cost_off_the_score():
    cost = np.array([[0.02, 0.01], [0.03, 0.0], [0.01, NAN]])
    form = ClosedForm().fit(INDEX, SCORE, cost, beta=10.0)
    assert form.profile[0, 0] == pytest.approx(((1.0 - 0.2) * 2 / 3 + (0.5 - 0.1) * 1) / 2)
    assert form.profile[1, 2] == pytest.approx(((0.5 - 0.1) * 1 + (1.0 - 0.0) * 2 / 3) / 2)


def test_beta_0_ignores_cost_even_where_it_is_unknown():
    assert np.array_equal(
        ClosedForm().fit(INDEX, SCORE, np.full(SCORE.shape, NAN)).profile, ClosedForm().fit(INDEX, SCORE).profile
    )


def test_a_cell_of_unknown_cost_counts_as_missing_when_cost_matters():
    cost = np.array([[NAN, 0.0], [0.0, 0.0], [0.0, 0.0]])
    form = ClosedForm().fit(INDEX, SCORE, cost, beta=1.0)
    assert form.count[0].tolist() == [1, 1, 1, 2, 0]
    assert not np.isnan(form.profile).any()


def test_the_score_of_a_query_is_the_rank_weighted_sum_of_the_profile_entries():
    form = ClosedForm().fit(INDEX, SCORE)
    query = labels((["writing", "coding"], ["music"]))
    for model in range(2):
        by_hand = 2 / 3 * form.profile[model, 1] + 1 / 3 * form.profile[model, 0] + form.profile[model, 3]
        assert form.predict(query)[0, model] == pytest.approx(by_hand)
    assert form.predict(np.vstack([query, query, query])).shape == (3, 2)


def test_names_merged_into_one_axis_add_up_within_a_query_and_count_it_once():
    taxonomy = Taxonomy(("law", "other"), {"contract law": "law"}, ("coding",))
    row = np.concatenate(taxonomy.targets(["coding"], ["law", "contract law", "philately"]))
    form = ClosedForm().fit(row[None], np.array([[1.0]]))
    assert form.profile[0] == pytest.approx([1.0, (4 + 2) / 7, 1 / 7])
    assert form.count[0].tolist() == [1, 1, 1]


def test_permuting_the_models_permutes_profiles_and_predictions():
    form, swapped = ClosedForm().fit(INDEX, SCORE), ClosedForm().fit(INDEX, SCORE[:, ::-1])
    assert np.array_equal(swapped.profile, form.profile[::-1])
    assert np.array_equal(swapped.predict(INDEX), form.predict(INDEX)[:, ::-1])


def test_mistakes_are_told_with_what_is_allowed():
    with pytest.raises(DataError, match="no index query has a score: annotate queries that have outcomes"):
        ClosedForm().fit(INDEX, np.full((3, 2), NAN))
    with pytest.raises(UsageError, match=r"label_weights \(3, 5\) and score \(1, 2\) must be"):
        ClosedForm().fit(INDEX, SCORE[:1])
    with pytest.raises(UsageError, match="numbers >= 0"):
        ClosedForm().fit(-INDEX, SCORE)
    with pytest.raises(UsageError, match=r"cost has shape \(3,\), allowed is that of score, \(3, 2\)"):
        ClosedForm().fit(INDEX, SCORE, np.ones(3))
    with pytest.raises(UsageError, match=r"beta is 2.0: give cost \(N, M\) in USD"):
        ClosedForm().fit(INDEX, SCORE, beta=2.0)
    with pytest.raises(UsageError, match="call fit"):
        ClosedForm().predict(INDEX)
    with pytest.raises(UsageError, match=r"shape \(3, 4\), allowed is \(B, 5\)"):
        ClosedForm().fit(INDEX, SCORE).predict(INDEX[:, :4])
