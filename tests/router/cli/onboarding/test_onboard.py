"""`router onboard`, `router forget` and `router anchors`, from the command line to the file and back."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fixtures.onboarding_command import write_answers
from fixtures.onboarding_world import CHAT, TEXTS, write_folder

from router.checkpoint.layout import LAYOUT, list_files
from router.checkpoint.storage import load_checkpoint, save_checkpoint
from router.cli import route as route_command
from router.cli.main import build_parser
from router.encoding import backend
from router.onboarding import add_model as onboarding
from router.onboarding import anchors as anchors_module
from router.onboarding.anchors import CONSIDERED
from router.policy.goals import DialTable
from router.routing.router import Router

PRICED = ("--price-in", "0.5", "--price-out", "1.5")


def digests(folder: Path) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in list_files(folder)}


def onboarded(folder: Path) -> list[str]:
    return [system.id for system in load_checkpoint(folder).added_models.systems]


# One model


def test_a_model_is_onboarded_from_answers_routed_to_and_forgotten_and_the_folder_is_as_it_was(run, router):
    before = digests(router)
    code, out, err = run("onboard", "new", "--into", "router", "--answers", "answers.jsonl", *PRICED)
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == ["model", "fitted", "score", "unsure", "prior", "pools"]
    assert f"from 40 graded answers, {CHAT} known systems and price" in out
    assert "mean of the 40 graded answers it was fitted from" in out and out.endswith("pools      both\n")
    after = digests(router)
    assert after.pop(LAYOUT.added_models) and after == before

    code, out, _ = run("show", "new", "--checkpoint", "router")
    assert code == 0 and "mean of the 40 graded answers it was fitted from" in out and "0.5 in, 1.5 out" in out
    code, out, _ = run("route", TEXTS[0], "--checkpoint", "router", "--allow", "new", "--json")
    assert code == 0 and json.loads(out)["model"] == "new" and json.loads(out)["prior"] is False
    code, out, _ = run("pools", "--checkpoint", "router", "--json")
    assert "new" in [model["id"] for model in json.loads(out)["pools"][0]["models"]]

    code, out, err = run("forget", "new", "--from", "router")
    assert (code, out, err) == (0, "new is gone; no onboarded model left in router\n", "")
    assert digests(router) == before


WITHOUT_TORCH = (
    "import sys; sys.modules['torch'] = None; from router.cli.main import main; sys.exit(main(sys.argv[1:]))"
)


@pytest.mark.parametrize(
    "what",
    [
        ("new", "--answers", "answers.jsonl", *PRICED),
        ("new", "--no-pool", "--benchmarks", "arena_hard=0.7"),
        ("--data", "data", "--split", "train"),
    ],
    ids=["answers", "benchmarks", "folder"],
)
def test_onboarding_works_without_torch(router, onboarding_world, what):
    if "--data" in what:
        write_folder(router.parent / "data", onboarding_world, {"first": onboarding_world.row(0, 0)})
    command = [sys.executable, "-c", WITHOUT_TORCH, "onboard", *what, "--into", "router"]
    paths = {"PYTHONPATH": str(Path(onboarding.__file__).parents[2])}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | paths)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert onboarded(router)


def test_without_torch_and_onnxruntime_onboarding_says_what_to_install(run, router, monkeypatch):
    monkeypatch.setattr(backend, "find_spec", lambda name: None)
    monkeypatch.setattr(backend, "onnxruntime_problem", lambda: "onnxruntime is not installed; pip install it")
    before = digests(router)
    code, out, err = run("onboard", "new", "--into", "router", "--answers", "answers.jsonl", *PRICED)
    assert (code, out) == (2, "") and err.count("\n") == 1
    assert "pip install -e '.[torch]' in " in err and " installs it, and onnxruntime cannot be used: " in err
    assert "take another backend" not in err and digests(router) == before


def test_json_says_what_was_fitted_and_how_sure_it_is(run, router, onboarding_world):
    code, out, err = run("onboard", "new", "--into", "router", "--answers", "answers.jsonl", *PRICED, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    profile = load_checkpoint(router).added_models.profiles[0]
    assert found == {
        "schema_version": 1,
        "system": "new@chat",
        "answers": 40,
        "mean_score": profile.mean_score,
        "pools": ["both"],
        "known_systems": CHAT,
        "side": ["price"],
        "prior_error": found["prior_error"],
        "blind_error": found["blind_error"],
        "deviation": found["deviation"],
    }
    assert 0 < found["prior_error"] < found["blind_error"] < 1 and 0 < found["deviation"] < 0.5


def test_benchmarks_alone_have_no_deviation(run, router):
    argv = ("onboard", "new", "--into", "router", "--no-pool", "--benchmarks", "arena_hard=0.7")
    code, out, _ = run(*argv, "--json")
    assert code == 0
    found = json.loads(out)
    assert (found["deviation"], found["answers"], found["side"], found["pools"]) == (None, 0, ["arena_hard"], [])
    assert found["mean_score"] == pytest.approx(0.7, abs=0.06)
    code, out, _ = run(*argv, "--replace")
    assert code == 0
    assert "unsure" not in out and "expected from arena_hard" in out and "pools      none: name it in a pool" in out


def test_every_fact_of_the_command_line_reaches_the_profile(run, router):
    facts = ("--context", "8000", "--tools", "--images", "--protocol", "exam", "--pool", "both")
    assert run("onboard", "new", "--into", "router", "--answers", "answers.jsonl", *PRICED, *facts)[0] == 0
    profile = load_checkpoint(router).added_models.profiles[0]
    assert profile.system.id == "new@exam" and profile.pools == ("both",)
    assert profile.facts.to_json() == {
        "id": "new", "input_usd_per_mtok": 0.5, "output_usd_per_mtok": 1.5, "context_window": 8000,
        "modalities": ["text", "image"], "tools": True,
    }  # fmt: skip
    assert run("route", TEXTS[0], "--checkpoint", "router", "--allow", "new", "--tools", "--images")[0] == 0


def test_attitudes_of_the_command_line_move_an_unsure_model(run, router, onboarding_world):
    write_answers(router.parent / "answers.jsonl", onboarding_world, 5)
    assert run("onboard", "new", "--into", "router", "--answers", "answers.jsonl", *PRICED)[0] == 0
    argv = ("route", TEXTS[0], "--checkpoint", "router", "--allow", "new", "--json", "--attitude")
    quality = [json.loads(run(*argv, name)[1])["quality"] for name in ("pessimistic", "neutral", "optimistic")]
    assert quality[0] < quality[1] - 0.01 and quality[1] < quality[2] - 0.01
    assert run(*argv, "hopeful")[0] == 2


def test_a_pool_whose_dials_were_measured_without_it_is_warned_of(run, router, onboarding_world):
    checkpoint = load_checkpoint(router)
    checkpoint.dial_tables["both"] = DialTable("abc", 3, (0.0, 10.0), (2.0, 0.5), (0.75, 0.5), (0.625, 0.5))
    save_checkpoint(checkpoint, router)
    code, _, err = run("onboard", "new", "--into", "router", "--answers", "answers.jsonl", *PRICED)
    assert code == 0 and "was measured on both without new" in err and "for lists of queries" in err
    code, _, err = run("onboard", "other", "--into", "router", "--answers", "answers.jsonl", "--no-pool")
    assert (code, err) == (0, "")


def test_what_is_left_is_said_when_one_of_two_is_forgotten(run, router):
    for name in ("one", "two"):
        assert run("onboard", name, "--into", "router", "--answers", "answers.jsonl", "--no-pool")[0] == 0
    assert run("forget", "two@chat", "--from", "router", "--json")[1] == (
        '{"schema_version": 1, "removed": "two@chat", "onboarded": ["one@chat"]}\n'
    )
    assert onboarded(router) == ["one@chat"]


def test_a_crash_while_writing_is_one_line_and_the_old_models_stay(run, router, monkeypatch):
    assert run("onboard", "one", "--into", "router", "--answers", "answers.jsonl", "--no-pool")[0] == 0
    before = digests(router)

    def full(*paths: object) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", full)
        code, out, err = run("onboard", "two", "--into", "router", "--answers", "answers.jsonl", "--no-pool")
    assert (code, out) == (1, "") and "router: error: cannot write" in err
    assert digests(router) == before


# A folder


def test_a_data_folder_becomes_a_pool_named_like_it(run, router, onboarding_world):
    world = onboarding_world
    models = {"first": world.row(-1, 2), "second": world.row(1, -2), "unpriced": world.row(0, 0)}
    write_folder(Path("my-models"), world, models, prices={"unpriced": None})
    code, out, err = run("onboard", "--into", "router", "--data", "my-models", "--split", "train")
    assert (code, err) == (0, "router: without a price and so in no pool: unpriced\n")
    lines = out.splitlines()
    assert lines[0].split() == ["model", "like", "protocol", "answers", "score"]
    assert [line.split()[:3] for line in lines[1:4]] == [
        [f"{name}@mine", "chat", "280"] for name in ("first", "second", "unpriced")
    ]
    assert lines[-3] == "pool my-models has 2 models:"
    where = "--checkpoint router --pool my-models"
    assert lines[-1].strip() == f"router evaluate {where} --data my-models --split test"
    folds = ("--data", "my-models", "--folds", "0,1", "--pool", "own", "--replace")
    code, out, _ = run("onboard", "--into", "router", *folds, "--json")
    assert code == 0
    found = json.loads(out)
    assert (found["pool"], found["unpriced"]) == ("own", ["unpriced"])
    assert [(each["system"], each["like"], each["answers"]) for each in found["models"]] == [
        (f"{name}@mine", "chat", 80) for name in ("first", "second", "unpriced")
    ]
    assert set(Router.from_pretrained(router).pools) == {"both", "own"}


def test_without_pandas_a_folder_says_what_to_install(run, router, monkeypatch, onboarding_world):
    write_folder(Path("data"), onboarding_world, {"first": onboarding_world.row(0, 0)})
    for name in (
        "pandas",
        "router.evaluation.dataset",
        "router.evaluation.pool_report",
        "router.onboarding.from_folder",
    ):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "pandas", None)
    needs = "needs pandas: pip install -e '.[evaluate]'"
    code, out, err = run("onboard", "--into", "router", "--data", "data", "--split", "train")
    assert (code, out) == (2, "") and needs in err
    assert run("onboard", "new", "--into", "router", "--answers", "answers.jsonl", *PRICED)[0] == 0  # needs none


def test_without_pandas_anchors_of_a_folder_say_what_to_install(run, router, monkeypatch, onboarding_world):
    write_folder(Path("data"), onboarding_world, {"first": onboarding_world.row(0, 0)})
    for name in ("pandas", "router.evaluation.dataset"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "pandas", None)
    code, _, err = run("anchors", "--checkpoint", "router", "--data", "data", "--output", "anchors.jsonl")
    assert code == 2 and "needs pandas: pip install -e '.[evaluate]'" in err


# What is refused


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("--answers a.jsonl", "name the new model, or give a whole data folder with --data DIR"),
        ("new", "give --answers FILE, --benchmarks NAME=SCORE ..., or both"),
        ("new --answers a.jsonl --split train", "--split and --folds belong to --data"),
        ("new --benchmarks a=0.5 --folds 0,1", "error"),
        ("new --data d --split train", "--data onboards every new model of a folder: leave MODEL out"),
        (
            "new --data d --split train --answers a.jsonl --protocol chat --benchmarks a=1",
            "leave MODEL, --answers, --benchmarks, --protocol out",
        ),
        ("--data d", "--data needs either --split or --folds: the rows whose outcomes are fitted"),
        ("--data d --split train --folds 1", "not allowed with argument --split"),
        ("--data d --split train --pool a --pool b", "--data makes one pool: give --pool once"),
        ("new --answers answers.jsonl --price-in 1", "give both --price-in and --price-out, or neither"),
        ("new --answers answers.jsonl --price-in -1 --price-out 1", "got '-1', allowed is a number of at least 0"),
        ("new --answers answers.jsonl", "cannot join pool 'both' without prices: give both, or only make its profile"),
        ("new --benchmarks gsm8k", "a benchmark score is NAME=SCORE"),
        ("new --benchmarks gsm8k=0.5 --no-pool", "no known model has a score on benchmark 'gsm8k'"),
        ("new --answers answers.jsonl --no-pool --protocol exma", "unknown protocol 'exma'; known: exam, chat"),
        ("known-0 --answers answers.jsonl --no-pool", "known-0@chat has a profile from training already"),
        ("new --answers answers.jsonl --pool bth --price-in 1 --price-out 1", "unknown pool 'bth'; known: both"),
    ],
)
def test_wrong_usage_is_one_line_and_changes_nothing(run, router, argv, message):
    before = digests(router)
    code, out, err = run("onboard", "--into", "router", *argv.split())
    assert (code, out) == (2, "")
    assert message in err and "Traceback" not in err
    assert digests(router) == before


@pytest.mark.parametrize("flag", ["--price-in 1 --price-out 1", "--context 9", "--tools", "--images", "--no-pool"])
def test_what_a_folder_does_not_take_is_refused_and_not_passed_over(run, router, flag, onboarding_world):
    write_folder(Path("data"), onboarding_world, {"first": onboarding_world.row(0, 0)})
    code, _, err = run("onboard", "--into", "router", "--data", "data", "--split", "train", *flag.split())
    assert code == 2 and flag.split()[0] in err


def test_a_pool_and_no_pool_contradict_each_other(run, router):
    argv = ("--answers", "answers.jsonl", *PRICED, "--pool", "both", "--no-pool")
    code, _, err = run("onboard", "new", "--into", "router", *argv)
    assert code == 2 and "--no-pool" in err


def test_a_checkpoint_to_change_must_be_named(run, router):
    for command in (("onboard", "new", "--answers", "answers.jsonl"), ("forget", "new")):
        code, _, err = run(*command)
        assert code == 2 and "are required: --" in err


@pytest.mark.parametrize("place", ["somebody/router", "nowhere", "answers.jsonl"])
def test_only_a_folder_on_this_machine_can_be_changed(run, router, place):
    for command in (("onboard", "new", "--answers", "answers.jsonl", "--into"), ("forget", "new", "--from")):
        code, out, err = run(*command, place)
        assert (code, out) == (1, "")
        assert f"{place} is no folder on this machine: only a local checkpoint can be changed" in err


def test_failures_are_one_line_and_exit_code_1(run, router):
    (router.parent / "bad.jsonl").write_text('{"query": "a", "score": 7}\n')
    for argv, message in (
        (("onboard", "new", "--into", "router", "--answers", "bad.jsonl", *PRICED), "line 1: score must be a number"),
        (("onboard", "new", "--into", "router", "--answers", "none.jsonl", *PRICED), "cannot read the answers in none"),
        (("onboard", "--into", "router", "--data", "nowhere", "--split", "train"), "no data at nowhere"),
        (("forget", "new", "--from", "router"), "'new' was not onboarded; no model was"),
        (("forget", "known-0", "--from", "router"), "was trained with the router and cannot be removed"),
    ):
        code, out, err = run(*argv)
        assert (code, out) == (1, "") and message in err
    (router / LAYOUT.added_models).write_bytes(b"")
    code, _, err = run("forget", "new", "--from", "router")
    assert code == 1 and "remove the file to have the router as it was trained" in err


def test_fitted_anew_a_model_keeps_an_interrupted_run_from_being_resumed(run, router, onboarding_world):
    """What was routed before was routed by another profile: the settings of a partial file must tell."""

    def settings() -> object:
        args = build_parser().parse_args(["route", "--checkpoint", "router", "--input", "answers.jsonl"])
        pool = Router.from_pretrained(router).pool()
        return route_command.settings_of(args, None, "jsonl", pool, 3.0)

    found = []
    for n in (40, 5):
        write_answers(router.parent / "answers.jsonl", onboarding_world, n)
        argv = ("--into", "router", "--answers", "answers.jsonl", *PRICED, "--replace")
        assert run("onboard", "new", *argv)[0] == 0
        found.append(settings())
    assert found[0] != found[1]


# Anchors


def anchors(file: str = "anchors.jsonl") -> list[dict[str, object]]:
    return [json.loads(line) for line in Path(file).read_text().splitlines()]


@pytest.fixture
def queries(router: Path) -> str:
    """Eighty queries, some twice, and blank lines."""
    Path("queries.txt").write_text("\n".join([*TEXTS[:80], "", *TEXTS[:20], "  "]) + "\n")
    return "queries.txt"


def test_anchors_with_scores_added_are_answers_that_onboard_takes(run, router, queries, onboarding_world):
    where = ("--checkpoint", "router", "--queries", queries, "--output", "anchors.jsonl")
    code, out, err = run("anchors", *where, "--n", "20")
    assert (code, err) == (0, "")
    assert out.startswith("20 of 80 queries in anchors.jsonl: answer them with the new model, add to each line\n")
    assert '"score" (0 to 1)' in out and "router onboard MODEL --answers FILE --into CHECKPOINT" in out
    found = anchors()
    assert [each["id"] for each in found] == list(range(1, 21)) and {len(each) for each in found} == {2}
    assert len({each["query"] for each in found}) == 20 and {each["query"] for each in found} <= set(TEXTS[:80])
    graded = [json.dumps(each | {"score": 1, "output_tokens": 9}) for each in found]
    Path("graded.jsonl").write_text("\n".join(graded))
    code, out, _ = run("onboard", "new", "--into", "router", "--answers", "graded.jsonl", "--no-pool", "--json")
    assert code == 0 and json.loads(out)["answers"] == 20


def test_a_longer_list_of_anchors_goes_on_from_a_shorter_one(run, router, queries):
    where = ("--checkpoint", "router", "--queries", queries, "--json", "--output")
    code, out, _ = run("anchors", *where, "short", "--n", "10")
    assert code == 0
    assert json.loads(out) == {"schema_version": 1, "output": "short", "n": 10, "of": 80, "protocol": "chat"}
    assert run("anchors", *where, "long", "--n", "30")[0] == 0
    assert run("anchors", *where, "other", "--n", "10", "--seed", "1")[0] == 0
    assert anchors("long")[:10] == anchors("short") != anchors("other")
    assert run("anchors", *where, "default")[0] == 0 and len(anchors("default")) == 50


def test_anchors_come_from_the_train_split_of_a_folder_and_from_json_lines(run, router, onboarding_world):
    write_folder(Path("data"), onboarding_world, {"first": onboarding_world.row(0, 0)})
    argv = ("anchors", "--checkpoint", "router", "--n", "25", "--output")
    code, out, _ = run(*argv, "one", "--data", "data", "--json", "--protocol", "exam")
    assert code == 0 and (json.loads(out)["of"], json.loads(out)["protocol"]) == (280, "exam")
    train = {text for at, text in enumerate(TEXTS) if at % 10 < 7}
    assert {each["query"] for each in anchors("one")} <= train
    code, out, _ = run(*argv, "two", "--queries", "answers.jsonl", "--json")
    assert code == 0 and json.loads(out)["of"] == 40


def test_of_very_many_queries_a_draw_is_read(run, router, monkeypatch):
    read: list[int] = []
    original = anchors_module.encode_queries

    def counted(encoder, network, texts, progress=False):
        read.append(len(texts))
        return original(encoder, network, texts, progress)

    monkeypatch.setattr(anchors_module, "encode_queries", counted)
    Path("many.txt").write_text("\n".join(f"two {i}" for i in range(CONSIDERED + 50)))
    argv = ("anchors", "--checkpoint", "router", "--queries", "many.txt", "--n", "3", "--output", "a", "--json")
    code, out, _ = run(*argv)
    assert code == 0 and read == [CONSIDERED] == [json.loads(out)["of"]]


def test_anchors_do_not_overwrite_unless_forced(run, router, queries):
    Path("anchors.jsonl").write_text("graded by hand\n")
    argv = ("anchors", "--checkpoint", "router", "--queries", queries, "--n", "5", "--output", "anchors.jsonl")
    code, out, err = run(*argv)
    assert (code, out) == (2, "") and "anchors.jsonl exists already; give --force to replace it" in err
    assert Path("anchors.jsonl").read_text() == "graded by hand\n"
    assert run(*argv, "--force")[0] == 0 and len(anchors()) == 5
    assert {path.name for path in Path().iterdir()} == {"router", "answers.jsonl", "queries.txt", "anchors.jsonl"}


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        ("--queries queries.txt --n 81", 2, "--n 81 of 80 different queries: ask for 80 at most"),
        ("--queries queries.txt --n 0", 2, "got '0', allowed is a whole number of at least 1"),
        ("--queries queries.txt --protocol exma", 2, "protocol 'exma'"),
        ("--queries queries.csv", 2, "queries.csv"),
        ("--queries none.txt", 1, "none.txt"),
        ("--queries bad.jsonl", 2, "bad.jsonl, line 2: the line is not JSON"),
        ("--queries empty.txt", 2, "router: error: "),
        ("--data nowhere", 1, "no data at nowhere"),
        ("", 2, "one of the arguments --queries --data is required"),
        ("--queries queries.txt --data data", 2, "not allowed with argument"),
    ],
)
def test_anchors_that_cannot_be_chosen_are_one_line_and_no_file(run, router, queries, argv, code, message):
    Path("bad.jsonl").write_text('{"query": "fine"}\nnot json\n')
    Path("queries.csv").write_text("two\n")
    Path("empty.txt").write_text("\n  \n")
    found, out, err = run("anchors", "--checkpoint", "router", "--output", "anchors.jsonl", *argv.split())
    assert (found, out) == (code, "")
    assert message in err and not Path("anchors.jsonl").exists()


def test_two_commands_do_not_change_a_checkpoint_at_once(run, router):
    opened = os.open(router, os.O_RDONLY)
    fcntl.flock(opened, fcntl.LOCK_EX)
    argv = ("onboard", "new", "--into", "router", "--answers", "answers.jsonl", *PRICED)
    try:
        code, _, err = run(*argv)
        assert code == 1 and "another command is changing router" in err
    finally:
        os.close(opened)
    assert run(*argv)[0] == 0


def test_fitted_anew_a_model_keeps_the_facts_that_are_not_given_again(run, router):
    argv = ("onboard", "new", "--into", "router", "--answers", "answers.jsonl")
    assert run(*argv, *PRICED, "--context", "8000", "--tools")[0] == 0
    assert run(*argv, "--replace")[0] == 0
    facts = load_checkpoint(router).added_models.profiles[0].facts
    assert (facts.context_window, facts.tools, facts.priced) == (8000, True, True)


def test_a_benchmark_list_that_swallowed_the_name_says_so(run, router):
    code, _, err = run("onboard", "--into", "router", "--benchmarks", "gsm8k=0.5", "newname")
    assert code == 2 and "'newname' was read as a benchmark" in err


def test_an_infinite_price_is_refused(run, router):
    argv = ("onboard", "new", "--into", "router", "--answers", "answers.jsonl", "--price-in", "inf", "--price-out", "1")
    code, _, err = run(*argv)
    assert code == 2 and "got 'inf'" in err
