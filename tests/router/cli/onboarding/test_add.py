"""`router add`: a model on this machine is asked, graded, fitted, written and shown beside those it is like."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from fixtures.loopback_llm import Body, Faults, LoopbackLLM, Said, serving
from fixtures.onboarding_command import Command
from fixtures.onboarding_world import TEXTS, World

from router.checkpoint.storage import load_checkpoint
from router.onboarding.anchor_questions import SHIPPED, read_questions

PRICES = {"input_usd_per_mtok": 0.5, "output_usd_per_mtok": 1.5}
KEY = "sk-right"
ADD = ("add", "new", "--pool", "pool.yaml", "--into", "router", "--questions", "mine.jsonl")


class Planted:
    """A model of a true row: whether it knows the answer to each of TEXTS was drawn from its quality there."""

    def __init__(self, world: World, ability: float, tokens: int = 40) -> None:
        quality = world.quality(world.row(ability, 1.0))
        self.right = np.random.default_rng(1).random(len(TEXTS)) < quality
        self.tokens = tokens
        self.quality = float(quality.mean())

    def __call__(self, body: Body) -> Said:
        place = TEXTS.index(body["messages"][-1]["content"].partition("\n\n")[0])
        return Said(f"Let me see.\nAnswer: {place if self.right[place] else -1}", self.tokens)


@dataclass
class Adding:
    """The command, the endpoint, and the folder's files."""

    run: Command
    llm: LoopbackLLM
    world: World
    monkeypatch: pytest.MonkeyPatch

    def __call__(self, *more: str) -> tuple[int, str, str]:
        return self.run(*ADD, *more)

    def pool(self, **upstream: Any) -> None:
        """The pool file with `new` at the endpoint, and `shy` without an upstream."""
        address = {"api_base": self.llm.url, "model": "theirs", "key_env": "THEIR_KEY", **upstream}
        entries = [{"id": "new", **PRICES, "upstream": address}, {"id": "shy", **PRICES, "allow_prior": True}]
        Path("pool.yaml").write_text(yaml.safe_dump({"name": "mine", "models": entries}))

    @property
    def added(self) -> list[str]:
        return [each.id for each in load_checkpoint("router").added_models.systems]


@pytest.fixture
def adding(run, router, onboarding_world, monkeypatch) -> Iterator[Adding]:
    lines = [{"query": text, "grade": "number", "answer": number} for number, text in enumerate(TEXTS)]
    Path("mine.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    monkeypatch.setenv("THEIR_KEY", KEY)
    with serving(LoopbackLLM(Planted(onboarding_world, 1.5), key=KEY)) as llm:
        made = Adding(run, llm, onboarding_world, monkeypatch)
        made.pool()
        yield made


def test_a_model_is_asked_graded_fitted_written_and_routed_to(adding: Adding) -> None:
    code, out, err = adding("--anchors", "100")
    assert code == 0, err
    said, closing = err.splitlines()
    pattern = r"router: asking new 100 questions at http://127.* about \$0.0\d+ expected, never more than \$2.00 "
    assert re.match(pattern, said), said
    assert closing.startswith("100 requests, 100 answers and 0 from the cache; $0.0")
    assert adding.llm.requests == 100 and adding.llm.bodies[-1]["model"] == "theirs"
    assert "from 100 graded answers, 14 known systems and price" in out
    table = out.split("\n\n")[1].splitlines()
    assert table[0].split() == "beside its nearest quality 80% interval out $/Mtok differs by".split()
    assert table[1].split()[0] == "new" and len(table) == 1 + 6 + 1
    assert all("trained" in line for line in table[2:-1])
    assert adding.added == ["new@chat"]
    where = ("--checkpoint", "router", "--pool", "pool.yaml")
    code, out, _ = adding.run("route", TEXTS[0], *where, "--allow", "new", "--json")
    assert code == 0 and json.loads(out)["model"] == "new" and json.loads(out)["prior"] is False


def test_the_planted_ability_is_found_within_the_interval_and_the_length_from_the_bill(adding: Adding) -> None:
    adding.llm.say = planted = Planted(adding.world, 1.5, tokens=300)
    code, out, err = adding("--anchors", "120", "--json")
    assert code == 0, err
    found = json.loads(out)
    own, *others = found["expected"]
    low, high = own["interval"]
    assert own["system"] == "new@chat" and low - 0.02 < planted.quality < high + 0.02 and high - low < 0.2
    assert [each["distance"] for each in others] == sorted(each["distance"] for each in others)
    assert abs(others[0]["quality"] - own["quality"]) < 0.15 and others[0]["interval"] is None
    assert (found["cut_short"], found["missing"], found["answers"]) == (0, 0, 120)
    assert load_checkpoint("router").added_models.profiles[0].mean_output_tokens == 300


def test_a_killed_run_goes_on_and_pays_no_answer_twice(adding: Adding) -> None:
    adding.llm.faults = Faults(latency_s=0.1)
    adding.pool(limits={"concurrency": 4})
    code = "import sys; sys.modules['torch'] = None; from router.cli.main import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, *ADD]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[4])}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while adding.llm.billed.total() < 20:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert adding.added == [] and 20 <= adding.llm.billed.total() < 60
    adding.llm.faults = Faults()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(r"asking new \d\d questions .*; \d\d were answered before, \$0", done.stderr)
    assert adding.added == ["new@chat"]
    twice = adding.llm.billed.total() - 60
    assert 0 <= twice <= 4  # those under way when it was killed
    requests = adding.llm.requests
    code, _, err = adding("--replace")
    assert code == 0 and "asking new 0 questions" in err and adding.llm.requests == requests


def test_at_the_cap_nothing_is_written_and_a_higher_cap_goes_on(adding: Adding) -> None:
    adding.llm.say = Planted(adding.world, 1.5, tokens=4000)  # far longer than known models at its price
    adding.pool(limits={"concurrency": 2})
    code, out, err = adding("--max-usd", "0.1")
    assert (code, out) == (2, "") and adding.added == []
    assert re.search(r"new answered 1\d of 60 questions, 30 are needed: nothing was written", err), err
    assert "the spending cap of $0.1 is reached" in err and "raise --max-usd" in err
    paid = adding.llm.billed.total()
    assert paid * 4000 * 1.5e-6 < 0.1
    code, _, err = adding("--max-usd", "0.25")
    assert code == 0 and "questions have no answer and do not count: the spending cap of $0.25" in err
    assert max(adding.llm.billed.values()) == 1 and adding.added == ["new@chat"]


def test_what_is_expected_to_exceed_the_cap_is_not_begun_and_an_estimate_asks_nothing(adding: Adding) -> None:
    code, _, err = adding("--max-usd", "0.001")
    assert code == 2 and "60 questions are expected to cost $0.0" in err and "--anchors" in err
    code, out, err = adding("--estimate")
    assert (code, out) == (0, "") and "asking new 60 questions" in err
    assert adding.llm.requests == 0 and not list(Path().glob("*.sqlite"))


def test_a_wrong_key_stops_at_once_and_is_not_shown(adding: Adding) -> None:
    adding.monkeypatch.setenv("THEIR_KEY", "sk-wrong")
    code, out, err = adding()
    assert (code, out) == (2, "") and "HTTP 401" in err and "Check the address, the model's name and the key" in err
    assert "sk-wrong" not in err and adding.added == [] and adding.llm.billed.total() == 0


def test_a_missing_key_is_named_before_anything_is_asked(adding: Adding) -> None:
    adding.monkeypatch.delenv("THEIR_KEY")
    code, _, err = adding()
    assert code == 2 and "environment variable THEIR_KEY, which is not set" in err and adding.llm.requests == 0


def test_if_every_answer_fails_nothing_is_written(adding: Adding) -> None:
    adding.llm.faults = Faults(status=422)
    code, _, err = adding("--anchors", "15")
    assert code == 2 and "new answered 0 of 15 questions, 8 are needed: nothing was written. the last problem: " in err
    assert "refused on demand" in err and adding.added == []


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("add", "nwe", "--pool", "pool.yaml"), "pool.yaml has no entry 'nwe'; known: new, shy"),
        (("add", "shy", "--pool", "pool.yaml"), "shy has no upstream in pool.yaml: add to its entry upstream: {api_"),
        (("add", "new", "--pool", "none.yaml"), "none.yaml"),
        ((*ADD[:4], "--protocol", "chatt"), "unknown protocol 'chatt'; known: chat, exam"),
        ((*ADD[:4], "--questions", "few.jsonl"), "--anchors 60 of 1 questions in few.jsonl"),
        ((*ADD[:4], "--questions", "code.jsonl"), "line 1: grade must be one of number, choice, exact, regex, which"),
        ((*ADD[:4], "--questions", "twice.jsonl"), "question 2 stands there twice"),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_asked(adding: Adding, argv: tuple[str, ...], message: str) -> None:
    one = json.dumps({"query": "two", "answer": "2"}) + "\n"
    Path("few.jsonl").write_text(one)
    Path("twice.jsonl").write_text(one + one)
    Path("code.jsonl").write_text(json.dumps({"query": "two", "grade": "code", "tests": "assert True"}))
    code, out, err = adding.run(*argv, "--into", "router")
    assert code in (1, 2) and out == "" and message in err, err
    assert adding.llm.requests == 0 and adding.added == []


def test_a_model_that_is_there_already_is_not_asked_again(adding: Adding) -> None:
    assert adding("--anchors", "20")[0] == 0
    requests = adding.llm.requests
    code, _, err = adding("--anchors", "20", "--seed", "1")
    assert code == 2 and "onboarded already: new@chat; --replace" in err and adding.llm.requests == requests


def test_published_scores_need_no_upstream(adding: Adding) -> None:
    code, out, err = adding.run("add", "shy", "--pool", "pool.yaml", "--into", "router", "--scores", "arena_hard=0.8")
    assert (code, err) == (0, "") and "expected from arena_hard" in out and "rms error" in out
    assert adding.added == ["shy@chat"] and adding.llm.requests == 0


def test_scores_and_answers_count_together_where_anchors_are_named(adding: Adding) -> None:
    code, out, _ = adding("--anchors", "30", "--scores", "arena_hard=0.8")
    assert code == 0 and "30 graded answers it was fitted from and arena_hard" in out and adding.llm.requests == 30


def test_shipped_questions_are_asked_by_default(adding: Adding) -> None:
    right = {each.prompt: row for each, row in zip(read_questions(), _rows(), strict=True)}

    def knows_all(body: Body) -> str:
        answer = right[body["messages"][-1]["content"]]["answer"]
        return f"Answer: {answer if isinstance(answer, str) else answer[0]}"

    adding.llm.say = knows_all
    code, out, err = adding.run("add", "new", "--pool", "pool.yaml", "--into", "router")
    assert code == 0 and "score      1.000" in out, err


def _rows() -> list[dict[str, Any]]:
    return [json.loads(line) for line in SHIPPED.read_text().splitlines()]
