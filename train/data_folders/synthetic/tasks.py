"""Templates of planted queries: wordings by capability.

The sentences are our own; none is from a benchmark. An opening and a task make the first sentence of a query, 48 ways
per capability; an addition shows that a further capability is needed. Blanks: {topic} and {second} are subjects of one
domain, {count} a number, {language} and {program} names.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Wording:
    """Wordings of queries that need one capability."""

    openings: tuple[str, ...]
    tasks: tuple[str, ...]
    additions: tuple[str, ...]


LANGUAGES = ("French", "Spanish", "German", "Portuguese", "Italian", "Turkish", "Swahili", "Polish", "Dutch", "Finnish")
PROGRAMS = ("Python", "Rust", "Go", "TypeScript", "Java", "C++", "Kotlin", "SQL")

WORDINGS = {
    "reasoning": Wording(
        openings=(
            "Think it through step by step:",
            "Solve this by careful deduction:",
            "Here is a puzzle about cause and consequence:",
            "Work out the answer and justify each inference:",
            "Given only these premises,",
            "Reason from first principles:",
        ),
        tasks=(
            "if {topic} changed and {second} did not, what would necessarily follow?",
            "can {topic} and {second} both be true at once, or do they contradict each other?",
            "of {count} claims about {topic} exactly one is false; which one, and how do you know?",
            "what must hold of {topic} for {second} to be the only possible explanation?",
            "which conclusion about {topic} is valid, and which one only looks valid?",
            "if {topic} grows by {count} percent each year while {second} shrinks, when do they meet?",
            "find the flaw in the argument that {topic} always implies {second}.",
            "rule out the alternatives one by one until only one account of {topic} is left.",
        ),
        additions=(
            "Show every step of the deduction.",
            "Prove that no other conclusion is possible.",
            "Weigh the alternatives logically before you answer.",
            "Derive the result rather than quoting it.",
        ),
    ),
    "comprehension": Wording(
        openings=(
            "Read the passage below and answer the question.\n\n{passage}\n\nAccording to the passage,",
            "{passage}\n\nUsing only the text above,",
            "The following report is reproduced in full.\n\n{passage}\n\nFrom this report alone,",
            "Study this excerpt.\n\n{passage}\n\nBased on the excerpt,",
            "Document:\n{passage}\nEnd of document.\n\nIn the document,",
            "Here is a long article.\n\n{passage}\n\nAs the article tells it,",
        ),
        tasks=(
            "what does the author conclude about {topic}?",
            "which sentence connects {topic} with {second}?",
            "why did opinions about {topic} differ?",
            "what is mentioned first, {topic} or {second}?",
            "what can be inferred about {topic} that is never stated outright?",
            "how does the tone change once {second} is introduced?",
            "which claim about {topic} has no support in the text?",
            "summarise in one sentence what is said of {topic}.",
        ),
        additions=(
            "Take the answer from this account alone: {passage}",
            "Compare it with what the following text says. {passage}",
            "Quote the lines of this passage that support you. {passage}",
            "Ignore outside knowledge and rely on this text. {passage}",
        ),
    ),
    "instruction following": Wording(
        openings=(
            "Follow every rule exactly:",
            "Obey all of these constraints:",
            "Your reply must meet each requirement below:",
            "Stick to this format without exception:",
            "Answer strictly within these limits:",
            "These conditions are checked by a program:",
        ),
        tasks=(
            "describe {topic} in exactly {count} bullet points, each starting with a capital letter.",
            "write {count} sentences about {topic} without using the letter z or any comma.",
            "mention {topic} twice and {second} once, in fewer than {count} words, all in lowercase.",
            "explain {topic} in two paragraphs separated by *** and end with the words THE END.",
            "return valid JSON with the keys name, summary and tags about {topic}, and nothing else.",
            "give a title in double angular brackets, then {count} numbered lines on {topic}.",
            "wrap the answer about {topic} in quotation marks and leave {count} placeholders in square brackets.",
            "list {count} facts on {topic}, each of exactly seven words, with no introduction.",
        ),
        additions=(
            "Use exactly {count} bullet points and no commas.",
            "Keep it below {count} words, all in capital letters.",
            "Finish with the line --- and nothing after it.",
            "Do not use the word very, and number each sentence.",
        ),
    ),
    "agentic": Wording(
        openings=(
            "You are an autonomous agent with tools:",
            "Plan the actions and decide which tool to call next:",
            "You control a browser, a calendar and a file system:",
            "Act as an assistant that must finish a job on its own:",
            "Break the goal into steps, then choose the first action:",
            "Here are the available actions: search, open, book, cancel, wait.",
        ),
        tasks=(
            "schedule {count} tasks about {topic} so that none blocks another.",
            "arrange everything needed for {topic}, and recover if {second} falls through.",
            "find the shortest sequence of actions that gets from {topic} to {second}.",
            "delegate the work on {topic} among {count} helpers and say who waits for whom.",
            "gather the documents on {topic}, file them, then notify the team.",
            "decide when to stop searching for {topic} and what to report.",
            "the last tool call about {topic} returned an error; revise the plan.",
            "monitor {topic}, and trigger {second} once the threshold of {count} is crossed.",
        ),
        additions=(
            "Then plan which tools to call, in which order.",
            "Decide the next action after each result.",
            "If a step fails, revise the plan and carry on by yourself.",
            "Lay out the schedule of actions and who carries them out.",
        ),
    ),
    "knowledge retrieval": Wording(
        openings=(
            "A quick factual question:",
            "From general knowledge,",
            "Trivia:",
            "As an encyclopedia would put it,",
            "Just state the fact:",
            "Recall from the literature:",
        ),
        tasks=(
            "what is {topic}?",
            "who is best known for {topic}, and in which year?",
            "what is the proper name for {topic}?",
            "define {topic}.",
            "which is older, {topic} or {second}?",
            "what are the main kinds of {topic}?",
            "where does the term for {topic} come from?",
            "name {count} well-known examples of {topic}.",
        ),
        additions=(
            "Give the names and dates of the people involved.",
            "State the accepted definition as well.",
            "Mention the standard reference for it.",
            "Add the relevant figures from memory.",
        ),
    ),
    "coding": Wording(
        openings=(
            "In {program}, ",
            "Programming task ({program}): ",
            "Our {program} repository needs a change: ",
            "Using only the {program} standard library, ",
            "Code review in {program}: ",
            "Fix this {program} service: ",
        ),
        tasks=(
            "write a function that stores records about {topic} and looks them up in constant time.",
            "implement a class for {topic} with unit tests for the edge cases.",
            "the parser for {topic} throws an exception on empty input; find the bug.",
            "refactor the module on {topic} into pure functions with type hints.",
            "write a query that joins the tables of {topic} and {second} and groups by month.",
            "add an endpoint that returns {topic} as JSON, with pagination and error handling.",
            "sort {count} entries on {topic} by date and remove duplicates in linear time.",
            "simulate {topic} with an array of {count} cells and print the final state.",
        ),
        additions=(
            "Return a {program} function with unit tests.",
            "Include the source code and its time complexity.",
            "Write it as a short {program} script.",
            "Implement the algorithm as well, in {program}.",
        ),
    ),
    "in-context learning": Wording(
        openings=(
            "Learn the pattern from the examples.",
            "Each line maps an input to an output by one hidden rule.",
            "A few demonstrations follow; continue in the same way.",
            "Here is a made-up labelling scheme, shown by examples only.",
            "Infer the mapping.",
            "Imitate the worked examples below.",
        ),
        tasks=(
            "Input: {second} -> Output: blik. Input: {third} -> Output: dax. Input: {topic} -> Output:",
            "{second} = 7; {third} = 3; {topic} = ?",
            "Q: {second}? A: yes. Q: {third}? A: no. Q: {topic}? A:",
            "[{second}] => class A\n[{third}] => class B\n[{topic}] =>",
            "Example 1: {second} / wug. Example 2: {third} / fep. Now you: {topic} /",
            "{second} becomes <<{second}>>, {third} becomes >>{third}<<; what does {topic} become?",
            "sample: {second}; label: 1\nsample: {third}; label: 0\nsample: {topic}; label:",
            "in our invented notation {second} is written zop-{count} and {third} zop-1; write {topic}.",
        ),
        additions=(
            "Use the same labels as in these examples: {second} -> blik, {third} -> dax.",
            "Continue the pattern of the demonstrations: [{second}] => A, [{third}] => B.",
            "Answer in the style of this example: Q: {second}? A: yes.",
            "Infer the hidden rule from: {second} = 7; {third} = 3.",
        ),
    ),
    "multilingual": Wording(
        openings=(
            "Needed in {language} and in English:",
            "From our {language}-speaking customers:",
            "For a bilingual leaflet ({language} first):",
            "Translation desk, {language}:",
            "Across languages:",
            "For a class of {language} learners:",
        ),
        tasks=(
            "a short note on {topic} for readers who speak only {language}.",
            "was weißt du über {topic} und {second}?",
            "que peux-tu dire de {topic} ?",
            "¿qué se sabe de {topic} y de {second}?",
            "che cosa si intende con {topic}?",
            "o que significa {topic} na prática?",
            "the {language} words for {topic} and {second}, with their grammatical gender.",
            "an idiom of {language} about {topic}, and its literal meaning in English.",
        ),
        additions=(
            "Then translate your answer into {language}.",
            "Give the {language} terms next to the English ones.",
            "Antworte auf Deutsch und auf Englisch.",
            "Ajoute un résumé en français.",
        ),
    ),
    "writing": Wording(
        openings=(
            "Compose something original:",
            "As a gifted author,",
            "With vivid imagery and rhythm,",
            "For a literary magazine,",
            "In a warm and personal voice,",
            "Draft a polished piece:",
        ),
        tasks=(
            "write a poem of {count} stanzas about {topic}.",
            "tell a short story in which {topic} changes a friendship.",
            "write an essay that praises {topic} and mourns {second}.",
            "draft a heartfelt speech on {topic} for a retirement party.",
            "write an advertisement that makes {topic} irresistible.",
            "invent a dialogue between {topic} and {second}.",
            "write the opening chapter of a novel set around {topic}.",
            "compose a letter to a friend about {topic}.",
        ),
        additions=(
            "Turn the answer into a short poem.",
            "Tell it as a moving story with a narrator.",
            "Give it the style of an elegant essay.",
            "Polish the prose until it sings.",
        ),
    ),
}  # fmt: skip
