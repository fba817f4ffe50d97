"""Reading of a long text in parts: what it asks (instruction candidates) and what it asks about (material).

Requests at the start and the end count more than those in the middle, so that a document full of questions does not
drown the task. It knows text alone: `QueryTokenizer` gives each part its share of the tokens. Time is linear in the
text, and a bounded part of it is examined.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

MOST_CHARS = 200_000  # examined; the middle of a longer text is material
MOST_SENTENCES = 3_000  # examined, about: of a text with more, less is examined
LONGEST = 240  # characters of a sentence; a longer one is cut
EDGE = 800  # characters at the start and at the end of the prose where requests count more
EDGE_SCORE, LABEL_SCORE, REQUEST_SCORE, QUESTION_SCORE = 3.0, 4.0, 2.0, 1.0
INSERTED_SCORE = 0.5  # of a request in a short paragraph between start and end
SLACK = 1.5  # requests that score so much less than the best one are no candidates
MOST_INSIDE = 3  # requests between start and end that are candidates
MOST_LABELS = 3  # more labels than these are a form or an FAQ: each is a question among many
AROUND = 8  # sentences of its paragraph before and after a request that are candidates
SHORT = 4  # sentences of a paragraph that was perhaps inserted
MOST_PIECES = 64  # candidates in all
MATERIAL_CHARS = 2_000  # at the beginning and at the end of the material

# First words of a sentence that ask a model for something; then words that ask wherever they stand; then endings.
OPENINGS = frozenset("""
write explain describe translate summarize summarise list give provide create generate solve find compute
calculate prove show determine compare analyze analyse identify implement rewrite suggest tell design evaluate
classify extract convert answer discuss name make help fix draft outline recommend complete debug rank simplify
paraphrase estimate derive define correct choose select decide predict consider return improve optimize optimise
refactor review proofread edit compose propose state traduce traduzca escribe escriba explica explique resume
resuma calcula calcule enumera genera crea responde écris écrivez expliquez traduis traduisez résume résumez
décris décrivez calculez donne donnez rédige rédigez liste listez schreibe schreib erkläre übersetze fasse
beschreibe berechne nenne gib erstelle löse vergleiche escreva traduza descreva crie responda scrivi spiega
traduci riassumi descrivi calcola elenca напиши напишите объясни объясните переведи переведите опиши опишите
перечисли реши решите составь составьте сравни назови اكتب اشرح ترجم لخص صف احسب اذكر حل قارن أنشئ napisz
wyjaśnij przetłumacz streść opisz oblicz wymień schrijf vertaal beschrijf bereken vat leg yaz açıkla çevir
özetle hesapla tulis tuliskan jelaskan terjemahkan ringkas buatlah hãy viết dịch giải tóm
""".split())  # fmt: skip
PHRASES = tuple("""
please|my first |my question|my request|could you|can you|would you|i want you|i need you|
i'd like you|i would like you|your task|help me|i need help|you are to|the text above|
the passage above|bitte|kannst du|können sie|por favor|puedes|podrías|s'il te plaît|
s'il vous plaît|peux-tu|pouvez-vous|você pode|per favore|puoi|пожалуйста|можешь|помоги|من فضلك|
يرجى|कृपया|बताइए|लिखिए|समझाइए|请|請|帮我|幫我|翻译|解释一下|总结|ください|下さい|教えて|してほしい|
해줘|해 주세요|해주세요|
하세요|하시오|알려|작성해|설명해|번역해|lütfen|yazın|açıklayın|tolong|mohon|vui lòng|hãy|giúp tôi|proszę|
alsjeblieft|ช่วย|กรุณา|อธิบาย|เขียน""".replace("\n", "").split("|"))  # fmt: skip
ENDINGS = ("吗", "呢", "か", "까", "나요", "ไหม", "หรือไม่", "कीजिए", "करें")
QUESTION_MARKS = frozenset("?？؟⸮՞፧\u037e⁇⁈⁉")
LABEL = re.compile(
    r"[#>*_\s]{0,8}(?:(?:your |the |final |user |my )?"
    r"(?:question|task|instructions?|query|request|prompt|problem|assignment)|"
    r"aufgabe|frage|anweisung|tarea|pregunta|instrucci[oó]n(?:es)?|t[aâ]che|consigne|quest[aã]o|pergunta|tarefa|domanda|"
    r"compito|задание|задача|вопрос|问题|任务|指令|要求|質問|課題|指示|질문|과제|지시|سؤال|السؤال|المهمة|प्रश्न|कार्य|soru|görev)"
    r"[*_]{0,3} ?\d{0,3} ?[:：]",
    re.I,
)
SPEAKER = re.compile(r"[*_\s]{0,4}[^\W\d_][\w.' -]{0,24}[*_]{0,3}[:：]\s")
OPTION = re.compile(r"\(?[Aa][).] ?\S")  # the first choice of a question that needs no question mark
PERSONA = re.compile(r"(?:you are|you're|act as|du bist|eres|tu es|你是|ты) .{0,80}?\b"
                     r"(?:assistant|model|agent|bot|chatbot|ai|llm|assistent|asistente)\b", re.I)  # fmt: skip
_BOUNDARY = re.compile(r"[.!?…。！？；؟।][)\"'”’»*_」』]*(?:(?=\s)|(?<=[。！？；؟।」』]))")
_SIGNS = " .,;:!?。！？；：؟।¿¡*_#>-–—\"'“”‘’«»()[]"
_LEAD = frozenset("now then also and so finally first next ok okay hi hello hey just but".split())
_MATERIAL_LINE = re.compile(
    r"\s*(?:[|>{}\[\]<]|\"[^\"\n]{1,80}\"\s*:|(?:\[\s*)?\d{4}-\d\d-\d\d[T ]\d\d:|\[?\d\d:\d\d:\d\d|"
    r"\[?(?:INFO|ERROR|WARN|WARNING|DEBUG|TRACE)\b|from [\w.]+ import|import [\w.]+(?: as \w+)?$|#include|"
    r"(?:def|class|const|let|var|return|public|private)\s.{0,120}[({;:,)=]$)|(?: {4,}|\t)\S|"
    r"[^\s,]*(?:,[^\s,]+){3,}$|.{0,200}[;{}]$"
)
_FENCES = ("```", "~~~", '"""', "'''")
_LINE = re.compile(r"[^\n]+")
_TAG = re.compile(r"<([A-Za-z][\w-]{0,40})(?:\s[^<>\n]{0,200})?>")
_TASK_TAGS = {"task", "question", "query", "instruction", "instructions", "prompt", "request", "user_query", "problem"}


class Piece(NamedTuple):
    """A part of a text and where it begins, in characters."""

    at: int
    text: str


@dataclass(frozen=True)
class Parts:
    """A long text in parts.

    `instruction`: candidates, the likeliest task first. `material`: the beginning and the end of the rest.
    """

    instruction: tuple[Piece, ...]
    material: str


class _Sentence(NamedTuple):
    start: int
    end: int
    paragraph: int
    asks: float  # how clearly it asks for something
    labelled: bool


def parts(text: str) -> Parts:
    """The parts of a text that is too long to be read as it is.

    >>> found = parts("The sea is deep. " * 200 + "Why is it salty?")
    >>> found.instruction[0].text, found.material[:16]
    ('Why is it salty?', 'The sea is deep.')
    """
    sentences = [each for start, end in _examined(text) for each in _sentences(text, start, end)]
    chosen = [sentences[row] for row in _candidates(sentences, text)]
    pieces = tuple(Piece(each.start, text[each.start : each.end]) for each in chosen)
    return Parts(pieces, _rest(text, sorted((each.start, each.end) for each in chosen)))


def _examined(text: str) -> list[tuple[int, int]]:
    """The ranges of characters that are examined: the whole text, or its beginning and its end."""
    marks = sum(map(text.count, "\n.?!。？"))
    most = min(MOST_CHARS, len(text) * MOST_SENTENCES // max(marks, 1))
    return [(0, len(text))] if len(text) <= most else [(0, most // 2), (len(text) - most // 2, len(text))]


def _candidates(sentences: list[_Sentence], text: str) -> list[int]:
    """Rows of the sentences that may be the task, the likeliest first, each followed by those around it."""
    scores, inside = _scores(sentences, text)
    edge = [row for row, score in enumerate(scores) if score > 0 and row not in inside]
    clearest, clearest_inside = (max((sentences[row].asks for row in rows), default=0.0) for rows in (edge, inside))
    if not edge or clearest < clearest_inside - SLACK:
        edge = [*edge, *sorted(inside, key=lambda row: -scores[row])[:MOST_INSIDE]]
    least = max((scores[row] for row in edge), default=0.0) - SLACK
    asking = sorted((row for row in edge if scores[row] >= least), key=lambda row: -scores[row])
    near = [each for row in asking for each in _around(sentences, row, row in inside)]
    ends = [row for far in range(3) for row in (len(sentences) - 1 - far, far) if 0 <= row < len(sentences)]
    return list(dict.fromkeys([*asking, *near] if asking else ends))[:MOST_PIECES]


def _around(sentences: list[_Sentence], row: int, inside: bool) -> Iterator[int]:
    """The sentences of a request's paragraph, the nearest first; at an edge also those between it and the edge."""
    outward = 0 if inside else -1 if row < len(sentences) // 2 else 1
    for far in range(1, AROUND + 1):
        for way in (-1, 1):
            at = row + way * far
            same = 0 <= at < len(sentences) and sentences[at].paragraph == sentences[row].paragraph
            if same or (way == outward and 0 <= at < len(sentences)):
                yield at


def _scores(sentences: list[_Sentence], text: str) -> tuple[list[float], set[int]]:
    """How likely each sentence is the task, and which sentences stand inside, far from the start and the end."""
    if not sentences:
        return [], set()
    many = sum(each.labelled for each in sentences) > MOST_LABELS
    sizes = Counter(each.paragraph for each in sentences)
    first, last = sentences[0], sentences[-1]
    persona = first.paragraph != last.paragraph and PERSONA.match(text, first.start, first.end) is not None
    begin = next((each.start for each in sentences if each.paragraph != first.paragraph), 0) if persona else first.start
    scores, inside = [], set()
    for row, each in enumerate(sentences):
        far = min(each.start - begin, last.end - each.end)
        if not each.asks or far < 0:  # far < 0: the paragraph says who answers
            scores.append(0.0)
            continue
        asks = min(each.asks, QUESTION_SCORE) if many and each.labelled else each.asks
        if far < EDGE:
            scores.append(asks + EDGE_SCORE * (1 - far / EDGE))
        else:
            inside.add(row)
            scores.append(asks + INSERTED_SCORE * (sizes[each.paragraph] <= SHORT))
    return scores, inside


def _sentences(text: str, start: int, end: int) -> Iterator[_Sentence]:
    """The sentences of the prose in text[start:end], with how clearly each asks."""
    lowered = text[start:end].lower()
    ascii_only = lowered.isascii()
    phrases = tuple(each for each in PHRASES if (each.isascii() or not ascii_only) and each in lowered)
    paragraph, awaited, previous = start, False, start
    for first, last, tagged in _prose(text, start, end):
        if first - previous > 1 or previous - paragraph > LONGEST:
            paragraph = first
        previous = last
        for begin, finish in _cut(text, first, last):
            said = text[begin:finish]
            label = LABEL.match(said) if ":" in said or "：" in said else None
            bare = label is not None and len(said) - label.end() < 3
            labelled = tagged or awaited or label is not None
            asks = _asks(said[label.end() :] if label else said, phrases, labelled)
            yield _Sentence(begin, finish, paragraph, asks + LABEL_SCORE * labelled, labelled)
            awaited = bare


def _asks(sentence: str, phrases: tuple[str, ...], labelled: bool) -> float:
    """How clearly a sentence asks for something, 0 if not at all."""
    lowered = sentence.lower()
    bare = lowered.rstrip(_SIGNS)
    opening = ""
    for word in lowered[:60].split(maxsplit=4):
        opening = word.strip(_SIGNS)
        if opening and opening not in _LEAD:
            break
    question = not QUESTION_MARKS.isdisjoint(lowered[len(bare) :])
    if not lowered.isascii():  # Greek asks with ";"
        greek = sentence.endswith(";") and any("α" <= each <= "ω" for each in bare[-12:])
        question |= greek or bare.endswith(ENDINGS)
    requests = (opening in OPENINGS) + (bool(phrases) and any(phrase in lowered for phrase in phrases))
    requests += OPTION.match(sentence) is not None
    score = REQUEST_SCORE * min(requests, 1) + (requests > 1) + QUESTION_SCORE * question
    return max(score - QUESTION_SCORE, 0) if score and not labelled and SPEAKER.match(sentence) else score


def _prose(text: str, start: int, end: int) -> Iterator[tuple[int, int, bool]]:
    """First and last character of the lines of prose, and whether a tag names them as the task.

    Code, quotes, tables, logs, JSON and what stands between tags are left out.
    """
    unclosed: set[str] = set()
    task_until, at = start, start
    while line := _LINE.search(text, at, end):
        first, at = line.span()
        fence = next((mark for mark in _FENCES if text.startswith(mark, first)), None)
        if fence and (closing := text.find("\n" + fence, at, end)) >= 0:
            at = closing + 1 + len(fence)
        elif (tag := _TAG.match(text, first, end)) and tag[1] not in unclosed:
            closing = text.find(f"</{tag[1]}>", tag.end(), end)
            if closing < 0:
                unclosed.add(tag[1])
            elif tag[1].lower() in _TASK_TAGS:
                task_until, at = closing, tag.end()
            else:
                at = closing + len(tag[1]) + 3
        elif not (_MATERIAL_LINE.match(text, first, at) or text[first:at].isspace()):
            yield first, at, first < task_until


def _cut(text: str, first: int, last: int) -> Iterator[tuple[int, int]]:
    """First and last character of the sentences in a line, of at most LONGEST characters."""
    ends = [each.end() for each in _BOUNDARY.finditer(text, first, last)]
    for end in [*ends, last]:
        while first < end:
            stop = end
            if end - first > LONGEST:
                stop = max(text.rfind(" ", first + LONGEST // 2, first + LONGEST), first + LONGEST // 2)
            while first < stop and text[first].isspace():
                first += 1
            if first < stop:
                yield first, stop
            first = stop


def _rest(text: str, chosen: list[tuple[int, int]]) -> str:
    """The text without the chosen ranges, as `ends` gives it."""
    edges = [0, *(edge for span in chosen for edge in span), len(text)]
    gaps = [(start, end) for start, end in zip(edges[::2], edges[1::2], strict=True) if end > start]
    # of a long gap only what `ends` may show
    return ends("".join(ends(text[start:end]) for start, end in gaps))


def ends(text: str) -> str:
    """A text as it is, or the beginning and the end of a long one."""
    return text if len(text) <= 2 * MATERIAL_CHARS else f"{text[:MATERIAL_CHARS]}\n{text[-MATERIAL_CHARS:]}"
