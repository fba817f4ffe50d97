"""Folds on the command line."""

import argparse

import pytest

from router.errors import UsageError
from train.studies.arguments import apart, folds


@pytest.mark.parametrize("text", ["", "10", "7,", "a", "7;8", "-1"])
def test_what_are_no_folds_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="whole numbers from 0 to 9"):
        folds(text)


def test_no_fold_both_chooses_and_judges():
    assert apart([7], [8, 9]) == ([7], [8, 9])
    with pytest.raises(UsageError, match=r"folds \[7\] choose and folds \[7, 8\] judge"):
        apart([7], [7, 8])
