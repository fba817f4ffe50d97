"""A record or two of each benchmark of the table, in the published schema, with invented contents."""

from __future__ import annotations

from typing import Any

PANEL = (
    '<Panel><Struct name="Singleton"><Component id="0" name="Grid"><Layout><Entity Type="{}" Size="{}" Color="1" '
    'Angle="3"/></Layout></Component></Struct></Panel>'
)
MATRIX = "".join(PANEL.format(1 + i % 3, i) for i in range(16))

# benchmark -> file -> records; a file's name says the subset where a benchmark has several
ROWS: dict[str, dict[str, list[dict[str, Any]]]] = {
    "arc": {
        "ARC-Challenge.jsonl": [
            {"id": "m1", "question": "What pulls a dropped stone down?", "answerKey": "2",
             "choices": {"text": ["light", "gravity"], "label": ["1", "2"]}},
        ],
        "ARC-Easy.jsonl": [
            {"id": "m2", "question": "Which of these is the coldest thing?", "answerKey": "A",
             "choices": {"text": ["ice", "tea"], "label": ["A", "B"]}},
        ],
    },
    "big-bench": {"navigate.jsonl": [
        {"idx": 0, "inputs": "Take 2 steps. Turn around. Take 2 steps. Are you back?", "targets": ["True"],
         "multiple_choice_targets": ["True", "False"], "multiple_choice_scores": [1, 0]}]},
    "bigcodebench": {"v0.1.2.jsonl": [
        {"task_id": "B/0", "complete_prompt": "def f():", "instruct_prompt": "Write a function that adds two dice.",
         "canonical_solution": "...", "test": "assert f() > 1", "entry_point": "f"}]},
    "finqa": {"test.jsonl": [
        {"id": "f", "pre_text": ["Sales rose."], "post_text": ["All in millions."], "question": "What was the rise?",
         "answers": "7%", "gold_evidence": [], "table": [["year", "sales"], ["2020", "107"]]}]},
    "flores": {"en-de.jsonl": [{"en-de": {"en": "The ferry leaves.", "de": "Die Fähre legt ab."}}]},
    "gsm8k": {"test.jsonl": [
        {"question": "Ann has 3 bags of 4 pears. How many pears?", "answer": "3*4=<<3*4=12>>12\n#### 12"}]},
    "hitom": {"Hi-ToM_data.json": [
        {"deception": False, "story_length": 1, "question_order": 2, "sample_id": 1, "prompting_type": "VP",
         "story": "1 Ann put the cup in the box.", "question": "Where does Bob think the cup is?",
         "choices": "A. box, B. jar", "answer": "box"}]},
    "ifeval": {"train.jsonl": [
        {"key": 1, "prompt": "Write two lines about rain without commas.",
         "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}]},
    "legalbench": {
        "hearsay.jsonl": [{"index": "0", "answer": "Yes", "text": "The witness repeated what the baker had told her."}],
        "proa.jsonl": [{"index": "0", "answer": "No", "text": "The minister may impose a fine of ten crowns."}],
    },
    "logicgame": {"en_dev.jsonl": [
        {"qid": "1", "contexts": "Rules: every knight jumps. Where does it land?", "reference": "c3", "level": 1,
         "examples": "", "category": "execution"}]},
    "math-500": {"test.jsonl": [
        {"problem": "Find x with x + 1 = 3.", "solution": "x = 2", "answer": "2", "subject": "Algebra", "level": 1,
         "unique_id": "t/1"}]},
    "medqa": {"test.jsonl": [
        {"question": "A man of 60 coughs for three weeks. What next?", "answer": "Chest film", "answer_idx": "B",
         "options": {"A": "Nothing", "B": "Chest film"}, "meta_info": "step1", "metamap_phrases": []}]},
    "mmlu": {"all.jsonl": [
        {"question": "Which gas do most green plants take up?", "subject": "biology",
         "choices": ["oxygen", "carbon dioxide"], "answer": 1}]},
    "mmmlu": {"FR_FR.csv": [
        {"Question": "Quelle est la capitale de la Norvège ?", "A": "Oslo", "B": "Bergen", "C": "Moss", "D": "Hamar",
         "Answer": "A", "Subject": "geography"}]},
    "naturalplan": {"test.jsonl": [{"prompt_0shot": "Plan five days in Riga.", "golden_plan": "Day 1-3: Riga"}]},
    "planbench": {"task_1_plan_generation.jsonl": [
        {"task": "t1", "prompt_type": "oneshot", "domain": "blocksworld", "instance_id": 1, "example_instance_ids": [2],
         "query": "Stack the red block on the blue one.", "ground_truth_plan": "(pick-up red)"}]},
    "pubmedqa": {"pqa_labeled.jsonl": [
        {"pubid": 1, "question": "Does tea help against colds?", "context": {"contexts": ["We gave tea to forty."],
         "labels": ["METHODS"], "meshes": []}, "long_answer": "It did not.", "final_decision": "no"}]},
    "race": {"high.jsonl": [
        {"example_id": "h1", "article": "The mill stood by the river.", "question": "Where did the mill stand?",
         "options": ["On a hill", "By the river"], "answer": "B"}]},
    "raven": {"center_single.jsonl": [{"id": 1, "target": 2, "metadata": f"<Data><Panels>{MATRIX}</Panels></Data>"}]},
    "ruletaker": {"test.jsonl": [
        {"context": "The cat is kind. Kind things are big.", "question": "The cat is big.", "label": "entailment",
         "config": "depth-1"}]},
    "scienceqa": {"test.jsonl": [
        {"image": None, "hint": "", "question": "Which of these animals lays its eggs in water?",
         "choices": ["frog", "hen"], "answer": 0, "topic": "biology", "subject": "natural science"}]},
    "scitldr": {"Abstract.jsonl": [
        {"source": ["We study moss.", "It grows."], "source_labels": [1, 0], "rouge_scores": [0.1], "paper_id": "p",
         "target": ["Moss grows."]}]},
    "tablebench": {"TableBench.jsonl": [
        {"id": "t", "qtype": "FactChecking", "qsubtype": "s", "question": "Who scored most?", "answer": "Ann",
         "table": {"columns": ["who", "points"], "data": [["Ann", "3"], ["Bob", "2"]]}}]},
    "xsum": {"test.jsonl": [{"document": "A bridge was closed on Monday.", "summary": "Bridge closed.", "id": "1"}]},
    "mmlu-pro": {"test.jsonl": [
        {"question_id": 1, "question": "Which gas do most green plants take up?", "answer": "C", "answer_index": 2,
         "options": ["neon", "argon", "carbon dioxide"], "cot_content": "", "category": "biology", "src": "s"}]},
    "gpqa": {"gpqa_diamond.csv": [
        {"Question": "How heavy is the lightest of quarks?", "Correct Answer": "about 2 MeV",
         "Incorrect Answer 1": "1 GeV", "Incorrect Answer 2": "90 MeV", "Incorrect Answer 3": "5 eV"}]},
    "biggen-bench": {"test.jsonl": [
        {"id": "b", "capability": "planning", "task": "t", "instance_idx": 0, "system_prompt": "You are brief.",
         "input": "Plan a picnic.", "reference_answer": "Pack, walk, eat.", "score_rubric": {"criteria": "c"}}]},
    "livebench": {
        "math.jsonl": [
            {"question_id": "q", "category": "math", "turns": ["What is 3 times 17?"], "ground_truth": "51",
             "task": "arithmetic"}],
        "instruction_following.jsonl": [
            {"question_id": "r", "category": "instruction_following", "turns": ["Paraphrase this in one line."],
             "task": "paraphrase"}],
    },
}  # fmt: skip
