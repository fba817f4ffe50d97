"""A comparison's YAML: what it becomes, and every mistake at once."""

from pathlib import Path

import pytest
import yaml

from router.errors import UsageError
from train.compare.settings import Settings, read_settings

REPOSITORY = Path(__file__).resolve().parents[3]
CONFIGS = sorted((REPOSITORY / "configs" / "compare").glob("*.yaml"))
GOOD = {
    "name": "small",
    "pools": ["pool.yaml"],
    "regimes": ["in-distribution"],
    "baselines": {"knn": [0], "kmeans": [0, 1]},
    "out": "runs/small",
}


@pytest.fixture
def read(tmp_path):
    def read(**changes):
        raw = {key: value for key, value in (GOOD | changes).items() if value is not None}
        (tmp_path / "compare.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
        return read_settings(tmp_path / "compare.yaml")

    return read


def test_ours_come_first_and_the_first_is_the_reference(read, tmp_path):
    (tmp_path / "wide.yaml").write_text("model: {}")
    settings = read(ours={str(tmp_path / "wide.yaml"): [3, 4]})
    assert list(settings.methods) == ["wide", "knn", "kmeans"]
    assert settings.methods["wide"] == (3, 4)
    assert (settings.reference, settings.config_of("wide")) == ("wide", str(tmp_path / "wide.yaml"))
    assert settings.config_of("knn") is None


def test_what_is_left_out_has_its_default(read):
    assert read() == Settings(
        name="small",
        pools=("pool.yaml",),
        regimes=("in-distribution",),
        baselines={"knn": (0,), "kmeans": (0, 1)},
        out="runs/small",
    )
    assert read().rotations == (0, 1, 2, 3, 4)


def test_every_problem_is_listed_at_once(read):
    with pytest.raises(UsageError) as error:
        read(pools=[], regimes=["rotated"], baselines={"nearest": [0], "knn": [-1]}, out=None, bootstraps=3, seed=1)
    text = str(error.value)
    assert "6 problems" in text
    for part in (
        "pools: got [] (a list)",
        "regimes: got 'rotated' (text); known: ",
        "baselines: got 'nearest' (text); known: ",
        "out: missing; name the folder to write to",
        "bootstraps: got 3 (a number); write how many draws, a whole number of at least 100",
        "'seed': unknown key",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"regimes": ["few-rows"]}, "shares: missing; regime few-rows needs shares"),
        ({"regimes": ["few-rows"], "shares": [1.5]}, "a share lies between 0 and 1"),
        ({"judged_folds": [10]}, "folds are whole numbers from 0 to 9"),
        ({"rotations": [5]}, "rotations are whole numbers from 0 to 4"),
        ({"baselines": {}}, "nothing to compare"),
        ({"baselines": ["knn"]}, r"write a mapping of names to lists of seeds"),
        ({"baselines": {"knn": [0, 0]}}, "an entry is given twice"),
        ({"ours": {"missing.yaml": [0]}}, r"ours: no file missing\.yaml"),
        ({"tuned": {"other.yaml": {"config": "missing.yaml", "share": 0.4}}}, r"other\.yaml is not among ours"),
        ({"tuned": {"other.yaml": {"config": "missing.yaml", "share": 0.4}}}, r"tuned: no file missing\.yaml"),
        ({"tuned": {"other.yaml": {"config": "missing.yaml", "share": 0}}}, "above 0 and is at most 1"),
        ({"tuned": {"other.yaml": "missing.yaml"}}, "write config: PATH and share: NUMBER"),
        ({"tuned": ["other.yaml"]}, "write a mapping of configurations of ours"),
        ({"planted_queries": 100}, "data: missing; planted_queries needs the folder"),
    ],
)
def test_a_mistake_says_what_to_do(read, changes, message):
    with pytest.raises(UsageError, match=message):
        read(**changes)


def test_two_methods_of_one_name_are_refused(read, tmp_path):
    (tmp_path / "knn.yaml").write_text("model: {}")
    with pytest.raises(UsageError, match="two methods are called 'knn'"):
        read(ours={str(tmp_path / "knn.yaml"): [0]})


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"nowhere\.yaml: no such file"):
        read_settings(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_a_shipped_comparison_reads_and_opens_with_what_it_is_how_long_and_its_command(config, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    settings = read_settings(config)
    assert settings.name == config.stem
    assert settings.out == f"runs/compare/{config.stem}"
    head = config.read_text().splitlines()[:3]
    assert all(line.startswith("# ") for line in head)
    assert head[2] == f"# python -m train compare --config configs/compare/{config.name}"
    assert all(Path(pool).is_file() for pool in settings.pools if pool.startswith("configs/"))
