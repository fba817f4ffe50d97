"""Jobs in this process or in others, with the same results, errors and threads."""

import os

import pytest

from train.compare.processes import cores, run, single_threads


def doubled(shared, job):
    if job < 0:
        raise ValueError(f"job {job}")
    return shared * job, os.environ.get("OMP_NUM_THREADS"), os.getpid()


@pytest.mark.parametrize("workers", [1, 2])
def test_jobs_run_in_this_process_or_in_others_of_one_thread(workers):
    found = list(run(doubled, [1, 2, 3], 2, workers))
    assert sorted(result for result, _, _ in found) == [2, 4, 6]
    here = {process for _, _, process in found} == {os.getpid()}
    assert here == (workers == 1)
    assert here or {threads for _, threads, _ in found} == {"1"}


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_a_job_is_raised(workers):
    with pytest.raises(ValueError, match="job -1"):
        list(run(doubled, [-1, 2], 2, workers))


def test_the_numbers_of_threads_are_put_back(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with single_threads():
        assert os.environ["OMP_NUM_THREADS"] == os.environ["MKL_NUM_THREADS"] == "1"
    assert os.environ["OMP_NUM_THREADS"] == "7" and "MKL_NUM_THREADS" not in os.environ
    assert cores() >= 1
