"""Merging names into domains: the paper's rule on vectors whose cosines are known."""

import numpy as np
import pytest

from router.network.taxonomy import OTHER
from train.data.taxonomy import consolidate, merge_names


def embed_by(angles):
    """Unit vectors in a plane at `angles` degrees: the cosine of two names is that of their difference."""

    def embed(phrases):
        radians = np.radians([angles[phrase] for phrase in phrases])
        return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)

    return embed


def test_names_alike_merge_into_the_most_frequent_one():
    embed = embed_by({"Law": 0, "Contract Law": 30, "Music": 90})  # cos 30° = .87
    taxonomy = consolidate({"Contract Law": 11, "Law": 12, "Music": 10}, embed)
    assert taxonomy.domains == ("Law", "Music", OTHER)
    assert taxonomy.aliases == {"Contract Law": "Law"}


def test_a_cosine_exactly_at_the_threshold_does_not_merge():
    def embed(phrases):
        return np.array([[1.0, 0.0], [0.6, 0.8]])  # cosine .6, exactly

    assert consolidate({"a": 10, "b": 10}, embed, threshold=0.6).domains == ("a", "b", OTHER)
    assert consolidate({"a": 10, "b": 10}, embed, threshold=0.59).domains == ("a", OTHER)


def test_merging_is_not_transitive():
    embed = embed_by({"a": 0, "b": 40, "c": 80, "d": 120})  # each neighbour of the next, cos 40° = .77, cos 80° = .17
    taxonomy = consolidate({"a": 40, "b": 30, "c": 20, "d": 15}, embed)
    assert taxonomy.aliases == {"b": "a", "d": "c"}


def test_a_name_joins_the_most_frequent_domain_it_resembles_even_where_another_is_nearer():
    embed = embed_by({"a": 0, "b": 70, "c": 36})
    assert merge_names({"a": 30, "b": 20, "c": 10}, embed, 0.7)["c"] == "a"


def test_rarity_is_judged_after_merging_on_the_total():
    embed = embed_by({"Law": 0, "Contract Law": 20, "Music": 90, "Philately": 200, "Stamps": 210})
    counts = {"Law": 6, "Contract Law": 4, "Music": 10, "Philately": 5, "Stamps": 4}
    taxonomy = consolidate(counts, embed)
    assert taxonomy.domains == ("Law", "Music", OTHER)
    assert taxonomy.aliases == {"Contract Law": "Law", "Philately": OTHER, "Stamps": OTHER}


def test_every_raw_name_is_a_domain_or_an_alias():
    rng = np.random.default_rng(0)
    counts = {f"name {i}": int(n) for i, n in enumerate(rng.integers(1, 30, 40))}
    table = {name: vector for name, vector in zip(counts, rng.normal(size=(40, 3)), strict=True)}
    taxonomy = consolidate(counts, lambda phrases: np.array([table[p] for p in phrases]))
    assert set(counts) == (set(taxonomy.domains) - {OTHER}) | set(taxonomy.aliases)
    assert not set(taxonomy.domains) & set(taxonomy.aliases)


def test_the_axes_do_not_depend_on_the_order_in_which_names_were_met():
    angles = {"a": 0, "b": 40, "c": 80, "D": 120}
    counts = {"a": 10, "b": 10, "c": 10, "D": 10}
    forward = consolidate(counts, embed_by(angles))
    backward = consolidate(dict(reversed(counts.items())), embed_by(angles))
    assert forward.to_json() == backward.to_json()


def test_axes_are_alphabetical_whatever_the_case_with_other_last():
    counts = {"zoology": 10, "Music": 11, "law": 99, "Optics": 10}
    embed = embed_by({"zoology": 0, "Music": 90, "law": 180, "Optics": 270})
    assert consolidate(counts, embed).domains == ("law", "Music", "Optics", "zoology", OTHER)


def test_the_length_of_an_embedding_does_not_matter():
    taxonomy = consolidate({"a": 10, "b": 10}, lambda phrases: np.array([[9.0, 0.0], [0.05, 0.05]]))
    assert taxonomy.aliases == {"b": "a"}


def test_other_given_as_a_name_and_no_names_at_all_leave_only_other():
    assert consolidate({OTHER: 50}, embed_by({})).domains == (OTHER,)
    assert consolidate({}, embed_by({})).domains == (OTHER,)


@pytest.mark.parametrize(("minimum", "domains"), [(1, ("a", "b", OTHER)), (10, ("a", OTHER)), (11, (OTHER,))])
def test_the_minimum_is_a_setting(minimum, domains):
    assert consolidate({"a": 10, "b": 9}, embed_by({"a": 0, "b": 90}), minimum=minimum).domains == domains
