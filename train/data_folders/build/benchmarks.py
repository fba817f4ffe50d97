"""Table of RouteMix's benchmarks: the 24 index benchmarks of InferenceDynamics (2505.16303), and four tests.

A row says where a benchmark is on the Hub, how a record becomes a query and a gold answer, and how answers are graded.
No row is `verified`: none has run on the real data, since no hub was reachable; ids and fields are as published.
RAVEN (1903.02741) draws matrices; the metadata's XML names their shapes, eight panels given and eight to choose from.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from router.errors import DataError

SHAPES = ("none", "triangle", "square", "pentagon", "hexagon", "circle")
GIVEN = 8  # panels of the 3 x 3 matrix; the ninth is asked for
Row = dict[str, Any]

# Kinds of grading, as in `python -m train collect`.
EXACT, CHOICE, NUMBER, CODE, JUDGE = "exact", "choice", "number", "code", "judge"
FOLLOWS = "Does the answer follow every instruction of the query to the letter?"
SAME = "Does the answer say what the reference says?"


def panels_of(metadata: str) -> list[str]:
    """One line of text per panel of RAVEN's XML, the given ones first; DataError for text that is not XML.

    >>> entity = '<Entity Type="5" Size="2" Color="7" Angle="3"/>'
    >>> panel = f'<Panel><Struct><Component><Layout>{entity}</Layout></Component></Struct></Panel>'
    >>> panels_of(f"<Data><Panels>{panel}</Panels></Data>")
    ['circle, size 2, colour 7, angle 3']
    """
    try:
        root = ElementTree.fromstring(metadata)
    except ElementTree.ParseError as error:
        raise DataError(f"RAVEN's metadata is not XML: {error}") from error
    return [" / ".join(_component(part) for part in panel.iter("Component")) for panel in root.iter("Panel")]


def _component(component: ElementTree.Element) -> str:
    return "; ".join(
        f"{SHAPES[int(entity.get('Type', 0))]}, size {entity.get('Size')}, colour {entity.get('Color')}, "
        f"angle {entity.get('Angle')}"
        for entity in component.iter("Entity")
    )


def with_panels(row: dict[str, object]) -> dict[str, object]:
    """The row with `given` and `shown`: the panels of the matrix and those to choose from, as text."""
    panels = panels_of(str(row.get("metadata", "")))
    given = [f"row {i // 3 + 1}, column {i % 3 + 1}: {panel}" for i, panel in enumerate(panels[:GIVEN])]
    return {**row, "given": given, "shown": panels[GIVEN:]}


@dataclass(frozen=True)
class Benchmark:
    """One row of the table. Paths are dotted (`choices.text`); templates hold paths in braces."""

    name: str
    hub_id: str  # "json" for a file outside the Hub, which data_files names
    split: str
    prompt: str  # template; `{options}` are the options, lettered
    answer: str | None  # template of the gold answer; with options the path of its index, letter, label or text
    grade: str
    configs: tuple[str | None, ...] = (None,)  # subsets, all read
    category: str | None = None  # path; without one the subset, or the name
    options: str | tuple[str, ...] | None = None  # path of a list or a dict, or the paths of each option
    labels: str | None = None  # path of the options' own labels
    shuffled: bool = False  # records have the right option first: order the options by the query's hash
    tests: str | None = None  # template of the program that CODE is graded by
    rubric: str | None = None  # template of the rubric for JUDGE
    prepare: Callable[[Row], Row] | None = None  # for what paths cannot express
    wanted: Callable[[Row], bool] | None = None  # which rows to read
    revision: str | None = None  # the converted branch of a repository that holds a script
    data_files: str | None = None
    field: str | None = None  # of a JSON file, where its records are
    held_out: bool = False  # of split `ood`: kept out of training unless a configuration names it
    verified: bool = False


PARQUET = "refs/convert/parquet"  # `datasets` no longer runs scripts
RAW = "https://raw.githubusercontent.com/"
ASK = "Answer the following multiple-choice question.\n\n{question}\n\n{options}"
LANGUAGES = {"de": "German", "fr": "French", "es": "Spanish", "zh": "Chinese", "ar": "Arabic", "sw": "Swahili"}
LEGAL = {
    "abercrombie": "Is the mark generic, descriptive, suggestive, arbitrary or fanciful for the product?\n\n{text}",
    "hearsay": "Is there hearsay? Answer Yes or No.\n\n{text}",
    "personal_jurisdiction": "Is there personal jurisdiction? Answer Yes or No.\n\n{text}",
    "proa": "Does the clause contain a private right of action? Answer Yes or No.\n\n{text}",
    "learned_hands_housing": "Does the post discuss issues with housing? Answer Yes or No.\n\n{text}",
}  # five of LegalBench's 162 tasks, whose prompts are not in the data
BIG_BENCH = ("causal_judgment", "date_understanding", "disambiguation_qa", "formal_fallacies_syllogisms_negation",
             "logical_deduction", "navigate", "snarks", "sports_understanding", "strategyqa",
             "tracking_shuffled_objects")  # fmt: skip


def _flores(code: str, language: str) -> Benchmark:
    return Benchmark(
        "flores", "haoranxu/FLORES-200", "test",
        f"Translate this sentence from English into {language}.\n\n{{en-{code}.en}}", f"{{en-{code}.{code}}}", JUDGE,
        configs=(f"en-{code}",), rubric="How good a translation is it?",
    )  # fmt: skip


def _legal(task: str, prompt: str) -> Benchmark:
    return Benchmark("legalbench", "nguha/legalbench", "test", prompt, "{answer}", EXACT, configs=(task,))


INDEX = (
    Benchmark("arc", "allenai/ai2_arc", "test", ASK, "answerKey", CHOICE, ("ARC-Challenge", "ARC-Easy"),
              options="choices.text", labels="choices.label"),
    Benchmark("big-bench", "tasksource/bigbench", "validation", "{inputs}", "{targets.0}", EXACT, BIG_BENCH),
    Benchmark("bigcodebench", "bigcode/bigcodebench", "v0.1.2", "{instruct_prompt}", None, CODE,
              tests="{test}\n\nif __name__ == '__main__':\n    unittest.main()"),
    Benchmark("finqa", "dreamerdeo/finqa", "test", "{pre_text}\n\n{table}\n\n{post_text}\n\nQuestion: {question}",
              "{answers}", NUMBER, revision=PARQUET),
    *(_flores(code, language) for code, language in LANGUAGES.items()),
    Benchmark("gsm8k", "openai/gsm8k", "test", "{question}", "{final}", NUMBER, ("main",),
              prepare=lambda row: {**row, "final": row["answer"].rpartition("####")[2].strip()}),
    Benchmark("hitom", "json", "train", "Read the story and answer the question.\n\n{story}\n\n{question}\n{choices}",
              "{answer}", EXACT, category="question_order", field="data",
              data_files="https://huggingface.co/datasets/Hi-ToM/Hi-ToM_Dataset/resolve/main/Hi-ToM_data.json"),
    Benchmark("ifeval", "google/IFEval", "train", "{prompt}", None, JUDGE, category="instruction_id_list.0",
              rubric=FOLLOWS),
    *(_legal(task, prompt) for task, prompt in LEGAL.items()),
    Benchmark("logicgame", "json", "train", "{contexts}", "{reference}", JUDGE, category="category", rubric=SAME,
              data_files=RAW + "Hypatiaalegra/LogicGame-Data/main/en_dev.jsonl"),
    Benchmark("math-500", "HuggingFaceH4/MATH-500", "test", "{problem}", "{answer}", EXACT, category="subject"),
    Benchmark("medqa", "GBaker/MedQA-USMLE-4-options", "test", ASK, "answer_idx", CHOICE, options="options"),
    Benchmark("mmlu", "cais/mmlu", "test", ASK, "answer", CHOICE, ("all",), "subject", "choices"),
    Benchmark("mmmlu", "openai/MMMLU", "test", "{Question}\n\n{options}", "Answer", CHOICE,
              ("AR_XY", "BN_BD", "DE_DE", "ES_LA", "FR_FR", "HI_IN", "ID_ID", "IT_IT", "JA_JP", "KO_KR", "PT_BR",
               "SW_KE", "YO_NG", "ZH_CN"), "Subject", ("A", "B", "C", "D")),
    Benchmark("naturalplan", "tuandunghcmut/natural-plan-benchmark", "test", "{prompt_0shot}", "{golden_plan}", JUDGE,
              rubric=SAME),
    Benchmark("planbench", "tasksource/planbench", "train", "{query}", "{ground_truth_plan}", JUDGE,
              ("task_1_plan_generation", "task_2_plan_optimality", "task_3_plan_verification",
               "task_7_plan_execution"), rubric=SAME),
    Benchmark("pubmedqa", "qiaojin/PubMedQA", "train", "{context.contexts}\n\n{question}\nAnswer yes, no or maybe.",
              "{final_decision}", EXACT, ("pqa_labeled",)),
    Benchmark("race", "ehovy/race", "test", "{article}\n\n{question}\n\n{options}", "answer", CHOICE,
              ("high", "middle"), options="options"),
    Benchmark("raven", "HuggingFaceM4/RAVEN", "test",
              "Which panel completes the 3 x 3 matrix? Its panels are described row by row.\n\n{given}\n\n{options}",
              "target", CHOICE, ("center_single", "distribute_four", "in_center_single_out_center_single"),
              options="shown", prepare=with_panels),
    Benchmark("ruletaker", "hitachi-nlp/ruletaker", "test",
              "{context}\n\nDoes it follow that: {question} Answer entailment or not entailment.", "{label}", EXACT,
              category="config"),
    Benchmark("scienceqa", "derek-thomas/ScienceQA", "test", "{hint}\n\n" + ASK, "answer", CHOICE, category="topic",
              options="choices", wanted=lambda row: row.get("image") is None),
    Benchmark("scitldr", "allenai/scitldr", "test", "Summarise this abstract in one sentence.\n\n{source}",
              "{target.0}", JUDGE, ("Abstract",), rubric=SAME, revision=PARQUET),
    Benchmark("tablebench", "Multilingual-Multimodal-NLP/TableBench", "train",
              "{table}\n\nAnswer the question about the table: {question}", "{answer}", EXACT, category="qtype",
              data_files="TableBench.jsonl"),
    Benchmark("xsum", "EdinburghNLP/xsum", "test", "Summarise this article in one sentence.\n\n{document}", "{summary}",
              JUDGE, rubric=SAME),
)  # fmt: skip

TESTS = (
    Benchmark("mmlu-pro", "TIGER-Lab/MMLU-Pro", "test", ASK, "answer_index", CHOICE, category="category",
              options="options", held_out=True),
    Benchmark("gpqa", "Idavidrein/gpqa", "train", "{Question}\n\n{options}", "0", CHOICE, ("gpqa_diamond",),
              options=("Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3"),
              shuffled=True, held_out=True),
    Benchmark("biggen-bench", "prometheus-eval/BiGGen-Bench", "test", "{system_prompt}\n\n{input}",
              "{reference_answer}", JUDGE, category="capability", rubric="{score_rubric.criteria}", held_out=True),
    *(Benchmark("livebench", f"livebench/{part}", "test", "{turns.0}", "{ground_truth}", EXACT, category="task",
                held_out=True)
      for part in ("math", "reasoning", "language", "data_analysis")),
    *(Benchmark("livebench", f"livebench/{part}", "test", "{turns.0}", None, JUDGE, category="task", rubric=FOLLOWS,
                held_out=True)
      for part in ("coding", "instruction_following")),
)  # fmt: skip

BENCHMARKS = (*INDEX, *TESTS)


def named(name: str) -> tuple[Benchmark, ...]:
    """The rows of a benchmark; several where its subsets differ in their prompts."""
    return tuple(row for row in BENCHMARKS if row.name == name)
