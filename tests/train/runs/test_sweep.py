"""Sweep files: valid for W&B and for our command line, expanded as W&B's agent would, run once each, resumed."""

import re
import sys
from pathlib import Path

import pytest
import yaml
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

from router.errors import UsageError
from train import cli
from train.__main__ import main as command
from train.data_folders.synthetic.command import write_planted
from train.runs import sweep
from train.runs.sweep import Job, combinations, command_line, fingerprint, read_sweep

REPOSITORY = Path(__file__).resolve().parents[3]
FILES = sorted((REPOSITORY / "configs" / "sweeps").glob("*.yaml"))

# Writes its arguments to a file of their own; refuses `b=1` while there is a file `refuse`.
PROGRAM = """
import pathlib, sys
print("ran", *sys.argv[1:])
a, b, name = (part.split("=")[-1] for part in sys.argv[-3:])
calls = pathlib.Path(f"called-{a}-{b}")
calls.write_text(calls.read_text() + "+" if calls.exists() else "+")
sys.exit(b == "1" and pathlib.Path("refuse").exists())
"""


@pytest.fixture
def stub(tmp_path, monkeypatch):
    """A sweep of four runs of a program that only notes its calls; the folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    Path("program.py").write_text(PROGRAM)
    Path("base.yaml").write_text("x: 1\n")
    content = {
        "method": "grid",
        "program": "program.py",
        "command": ["${env}", "${interpreter}", "${program}", "--config", "base.yaml", "${args}"],
        "parameters": {"model.a": {"values": [0, 1]}, "model.b": {"values": [0, 1]}},
    }
    Path("grid.yaml").write_text(yaml.safe_dump(content))
    return tmp_path


def calls(folder):
    return {path.name: len(path.read_text()) for path in folder.glob("called-*")}


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_a_shipped_sweep_says_what_it_is_and_optimises_the_metric_that_runs_log(file):
    head = file.read_text().splitlines()[:3]
    assert all(line.startswith("# ") for line in head) and re.search(r"\d+ min\b", head[1])
    assert head[2].startswith(f"# wandb sweep {file.relative_to(REPOSITORY)}")
    content = yaml.safe_load(file.read_text())
    assert content["metric"] == {"name": "val/aiq_margin", "goal": "maximize"}
    assert content["name"] == file.stem
    assert f"--trainer.logger.group={file.stem}" in content["command"]
    assert "--trainer.logger.tags=[frozen, sweep]" in content["command"]


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_a_shipped_sweep_becomes_the_command_of_wandbs_agent(file):
    found = read_sweep(file)
    chosen = {name: each["values"][-1] if "values" in each else each["max"] for name, each in found.parameters.items()}
    words = command_line(found, chosen)
    # As wandb/wandb_agent.py puts it together, with `python` of the PATH for the interpreter.
    macros = create_sweep_command_args({"args": {name: {"value": value} for name, value in chosen.items()}})
    macros |= {"env": ["/usr/bin/env"], "interpreter": ["python"], "program": [found.program]}
    theirs = []
    for part in create_sweep_command(list(found.command)):
        theirs += macros[part[2:-1]] if part.startswith("${") and part.endswith("}") else [part]
    assert theirs == ["/usr/bin/env", "python", *words[1:]]
    assert words[:4] == [sys.executable, "-m", "train", "fit"]


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_the_command_of_a_shipped_sweep_takes_a_step(file, tmp_path, tiny_encoder, monkeypatch):
    write_planted(tmp_path / "data", 300)
    monkeypatch.chdir(REPOSITORY)
    found = read_sweep(file)
    chosen = {name: each["values"][-1] if "values" in each else each["max"] for name, each in found.parameters.items()}
    words = command_line(found, chosen)[3:]
    changes = {
        "data.folder": tmp_path / "data",
        "data.pools": f"[{tmp_path / 'data' / 'pool.yaml'}]",
        "data.ood_benchmarks": "[]",
        "data.cache": tmp_path / "cache",
        "model.encoder": tiny_encoder,
        "model.layers": "[]",
        "trainer.accelerator": "cpu",
        "trainer.fast_dev_run": "true",
        "trainer.default_root_dir": tmp_path,
        sweep.NAME_FLAG.removeprefix("--"): "name",
    }
    assert cli.main([*words, *(f"--{key}={value}" for key, value in changes.items())]) == 0


def test_the_shipped_grid_has_every_combination_once_under_a_name_of_its_own():
    found = read_sweep(REPOSITORY / "configs/sweeps/frozen-grid.yaml")
    jobs = [Job.of(found, chosen) for chosen in combinations(found)]
    assert len(jobs) == 2 * 3 * 2 == len({job.log for job in jobs})
    assert jobs[-1].words[-1] == "--trainer.logger.name=residual=16,decision_weight=0.2,label_weight=2.0"


def test_each_combination_runs_once_and_what_is_done_is_skipped(stub, capsys):
    assert command(["sweep", "grid.yaml", "--list"]) == 0
    assert capsys.readouterr().out.count("to do") == 4 and calls(stub) == {}
    assert command(["sweep", "grid.yaml", "--jobs", "2"]) == 0
    assert calls(stub) == dict.fromkeys(["called-0-0", "called-0-1", "called-1-0", "called-1-1"], 1)
    assert "4 of 4 runs done" in capsys.readouterr().err
    log = next(Path("runs/sweeps/grid").glob("a=1,b=0-*.log"))
    assert log.read_text() == "ran --config base.yaml --model.a=1 --model.b=0 --trainer.logger.name=a=1,b=0\n"
    assert command(["sweep", "grid.yaml"]) == 0
    assert set(calls(stub).values()) == {1}
    Path("base.yaml").write_text("x: 2\n")  # another configuration: the runs are others
    assert command(["sweep", "grid.yaml"]) == 0
    assert set(calls(stub).values()) == {2}


def test_a_failed_run_leaves_its_output_does_not_stop_the_others_and_runs_again(stub, capsys):
    Path("refuse").touch()
    assert command(["sweep", "grid.yaml"]) == 1
    error = capsys.readouterr().err
    assert "2 of 4 runs done" in error and error.count("train: failed, see runs/sweeps/grid/a=") == 2
    assert len(list(Path("runs/sweeps/grid").glob("*,b=1-*.partial"))) == 2
    Path("refuse").unlink()
    assert command(["sweep", "grid.yaml"]) == 0
    assert calls(stub) == {"called-0-0": 1, "called-1-0": 1, "called-0-1": 2, "called-1-1": 2}


def test_a_fingerprint_changes_with_the_command_and_with_the_files_it_names(stub):
    words = ["fit", "--config", "base.yaml"]
    before = fingerprint(words)
    assert re.fullmatch("[0-9a-f]{8}", before) and fingerprint(words) == before
    assert fingerprint([*words, "--a=1"]) != before
    Path("base.yaml").write_text("x: 3\n")
    assert fingerprint(words) != before
    joined = fingerprint(["--config=base.yaml"])
    Path("base.yaml").write_text("x: 4\n")
    assert fingerprint(["--config=base.yaml"]) != joined


def test_a_method_that_draws_needs_the_server_and_says_how(capsys):
    assert command(["sweep", str(REPOSITORY / "configs/sweeps/frozen-bayes.yaml")]) == 1
    error = capsys.readouterr().err
    assert "has method 'bayes', whose next run W&B's server draws: `wandb sweep FILE`, then `wandb agent ID`" in error


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "grit"}, "method is one of grid, bayes, random, got 'grit'"),
        ({"method": None}, "method is missing"),
        ({"paramters": {}}, "unknown key 'paramters'; nearest of 11: parameters"),
        ({"command": ["${interpreter}"]}, r"command is a list of words, one of them \$\{args\}"),
        ({"command": "python"}, r"command is a list of words"),
        ({"parameters": []}, r"parameters is a mapping by flag, got \[\]"),
        ({"parameters": {"a": {"values": []}}}, r"parameters\.a: write `values: \[\.\.\.\]`"),
        ({"parameters": {"a": {"min": 0, "max": 1}}}, r"parameters\.a: .*a distribution is not for a grid"),
        ({"parameters": {"a": 1}}, r"parameters\.a: .* got 1"),
    ],
)
def test_a_wrong_sweep_file_is_refused_with_what_is_allowed(stub, change, message):
    content = yaml.safe_load(Path("grid.yaml").read_text()) | change
    Path("grid.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(UsageError, match=rf"grid\.yaml: .*{message}"):
        read_sweep(Path("grid.yaml"))


def test_every_problem_of_a_file_is_told_at_once_and_so_is_one_that_is_not_there(stub):
    Path("bad.yaml").write_text("method: grit\nmethod: grid\nother: 1\n")
    with pytest.raises(UsageError) as caught:
        read_sweep(Path("bad.yaml"))
    message = str(caught.value)
    for problem in (
        "'method'",
        "unknown key 'other'",
        "program is missing",
        "command is missing",
        "parameters is missing",
    ):
        assert problem in message
    with pytest.raises(UsageError, match=r"none\.yaml: no such file"):
        read_sweep(Path("none.yaml"))


def test_a_macro_that_only_the_agent_knows_is_refused(stub):
    found = read_sweep(Path("grid.yaml"))
    other = sweep.Sweep(found.name, "grid", found.program, ("${args_json}", "${args}"), found.parameters)
    with pytest.raises(UsageError, match=r"'\$\{args_json\}' is not known offline; known: .*\$\{args\}"):
        command_line(other, {"a": 1})


def test_jobs_below_one_are_a_usage_error(stub, capsys):
    with pytest.raises(SystemExit, match="2"):
        command(["sweep", "grid.yaml", "--jobs", "0"])
    assert "--jobs is a whole number from 1, got 0" in capsys.readouterr().err
