"""Extraction of the final answer from a model's text: the answer, an option's letter, or a number.

A statement of the answer is boxed, behind `####`, after `answer is` or `answer:` (also in other languages), under a
heading `Answer`, or a second thought ("actually, it is ..."). The last statement counts. Without a statement:

- answer: the last line that is no courtesy ("I hope this helps!") and no refusal.
- letter: the option in a text that is only a letter, that begins or ends with a labelled option ("B) ..."), or that
  names one option in parentheses. A bare letter before a word is no option ("a covalent bond", "I believe", "T cells").
  A text that names two options, or discusses several and settles on none, has no answer.
- number: the last number of the last line, or of the text.

In a statement the first number counts, behind the last `=`; a remark in parentheses does not count beside another
number; of two numbers ("5 or 6") neither counts.
"""

import re
import string
import unicodedata

THOUGHT = re.compile(r"(?is)<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)")
AROUND = string.whitespace + "*_`$\"'.,;:!()[]。，“”«»"
COURTESY = re.compile(
    r"\W*(?:i hope|hope (?:this|that|it)|let me know|feel free|please (?:let|feel|note)"
    r"|if you (?:have|need|would|want|'d)"
    r"|is there anything|do you (?:want|need|have)|would you like|happy to|i'm happy|you're welcome|good luck"
    r"|thanks|thank you|note(?: that)?\b)",
    re.IGNORECASE,
)
REFUSAL = re.compile(
    r"\b(?:i(?:'m| am) (?:sorry|unable|not (?:sure|able|certain))|i (?:do not|don't|can(?:no|')t|cannot|won't) "
    r"(?:know|answer|provide|help|determine|assist|comply|say)|as an ai\b|unable to (?:answer|determine)"
    r"|sorry, (?:but )?i)",
    re.IGNORECASE,
)
BETWEEN = r"[^.:：=\n]{0,60}?"  # of "answer" and "is": "to the question above"
ANSWER = re.compile(
    r"(?im)^[ \t]*\#{4}[ \t]*(?=(?P<hashes>\S.*))"
    rf"|\b(?:answer|respuesta|réponse|antwort|risposta|resposta|odpowiedź|cevap|ответ|jawaban)(?!s)\b{BETWEEN}"
    r"(?:\b(?:is|(?:would|should|must|might|could|may|has to) be|es|est|ist|lautet|è|é)\b(?![ \t]*[:=]| not\b)"
    r"|[:：=]|\b(?:is|es|est|ist|lautet)[ \t]*[:=]|[—–][ \t])[ \t]*(?=(?P<stated>\S.*))"
    r"|(?:答案|正确答案|答え|正解|정답)\W{0,2}(?:应该)?(?:是|为|為|は|은|는)?\W{0,3}(?=(?P<eastern>[^\s，。].*))"
    r"|^\W*(?:(?:the |my )?(?:final|correct|short) )?(?:answer|respuesta|réponse|antwort)\W*\n\s*(?=(?P<below>\S.*))"
    r"|\b(?:wait|actually|correction|scratch that|on second thou?ght)\b[,:.—–! ]+(?:\w+,? ){0,4}?"
    r"(?:it'?s|it is|it should be|that'?s|make (?:that|it)|i mean)[ \t]+(?!not\b)(?=(?P<again>\S.*))"
)
SUPPOSED = re.compile(
    r"\b(?:if|had|suppose|assuming|unless)\b.*$|\b(?:some|many|people|students?|you|one|others)\b.*"
    r"\b(?:might|may|could|would)\b.*|\b(?:tempt|first thought|at first|initially|trap)\w*\b.*|\bnot\s*$",
    re.IGNORECASE,
)
ABBREVIATION = r"(?<!\bDr)(?<!\bMr)(?<!\bMrs)(?<!\bMs)(?<!\bSt)(?<!\bvs)(?<!\bNo)(?<!\bJr)(?<!\b[A-Z])(?<!\.[A-Z])"
SENTENCE_END = re.compile(rf"{ABBREVIATION}[.!?](?=[*_\"')\]]*(?:\s+[*_(\"']*[A-Z\d]|\s*$))|[。！？]")

LABELLED = r"\(([A-Za-z])\)|\[([A-Z])\]|([A-Za-z])(?=[):](?!\w))"
AFTER_BARE = (
    r"(?=\s*(?:$|\n|[.,;:!?)\]\"'”—–|/&。，\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af]|-\s"
    r"|because\b|since\b|as\b|which\b|for\b|due\b|is\b|and\b|or\b|\())"
)
OPTION = re.compile(rf"(?:{LABELLED}|([A-Z]){AFTER_BARE}|([b-hj-z])(?=\s*[.]?\s*$))", re.MULTILINE)
LEAD = re.compile(
    r"\W*(?:(?:most |very )?(?:likely|probably|clearly|definitely|certainly|therefore|thus|indeed|still|simply"
    r"|obviously|the|letter|option|choice|answer|la|opción|opzione|die|l'option|選択肢|选项)\b[:\s]*)*[\s*\"'“]*",
    re.IGNORECASE,
)
CHOSEN = re.compile(
    r"(?im)"
    r"\b(?:choose|pick|select|go with|going with|settle on|opt for)\s+(?:the )?(?:option |choice |answer )?(?P<x>.*)"
    r"|\b(?:choice|option|solution) is:? (?P<v>.*)"
    r"|(?:^|[.!?] )(?:so|thus|therefore|hence)\b,? (?:it'?s |it is )?(?P<w>.*)"
    r"|\bit(?:'s| is| must be) (?P<u>\(?[A-Z]\)?(?=[.,]|$))"
    r"|\b(?:option|choice|answer) (?P<y>\(?[A-Z]\)?) (?:is|seems|looks|must be|would be) (?:the )?(?:most |only )?"
    r"(?:correct|right|best|accurate|appropriate|true)\b"
    r"|(?:^|[\s(])(?P<z>\(?[A-HJ-Z]\)?) is (?:the )?(?:most |only )?(?:correct|right|best)\b"
)
SEVERAL = re.compile(r"\s*[)\].]?\s*(?:or|and|/|&|,\s*or)\s*\(?(?:option )?[A-Z]\b(?!\w)")
LINE_LABEL = re.compile(r"\W*(?:\(([A-Za-z])\)|([A-Z])(?:[).:](?=\s|$|\*)|\s*$|\s+[-–—]\s|,\s))", re.MULTILINE)

ALONE = re.compile(r"\W*(?:option |choice |answer\W+)?([A-Za-z])\W*", re.IGNORECASE)

NUMBER = re.compile(
    r"(?:(?<![\w)])[-+\u2212][$€£]?)?(?<![A-Za-z_\d])(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)"
    r"(?:[eE][-+]?\d+)?(?:\s*/\s*\d+)?"
)
RANGE = re.compile(r"\s*\W?(?:or|to|and|–|-)\s*[$€£]?\d", re.IGNORECASE)


def without_thoughts(text: str) -> str:
    """`text` without the thoughts between <think> and </think>."""
    return THOUGHT.sub("", text).strip()


def final_answer(text: str) -> str:
    """The last statement up to the end of its sentence, otherwise the last line that is no courtesy; "" for a refusal.

    >>> final_answer("Let x = 3. **Answer:** 42."), final_answer("so we get \\\\boxed{\\\\frac{1}{2}}")
    ('42', '\\\\frac{1}{2}')
    >>> final_answer("It is Paris.\\nI hope this answer helps!"), final_answer("I'm sorry, I cannot help.")
    ('It is Paris', '')
    """
    if stated := _stated(text):
        return _sentence(stated[-1][1]).strip(AROUND)
    lines = _lines(_plain(text))
    return "" if not lines or REFUSAL.search(lines[-1]) else lines[-1].strip(AROUND)


def normalised(text: str) -> str:
    """`text` for an exact match: without differences of case, width of letters, white space and signs around it.

    >>> normalised("  The  “Nile”. ") == normalised("the “nile”")
    True
    """
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split()).strip(AROUND)


def chosen_letter(text: str) -> str | None:
    """The option that an answer settles on, as a capital letter; None without one.

    >>> [chosen_letter(text) for text in ("B", "(c) because A is wrong", "I first took A. The answer is (D).", "none")]
    ['B', 'C', 'D', None]
    >>> chosen_letter("The correct answer is a covalent bond (C)."), chosen_letter("The answer is A or B.")
    ('C', None)
    """
    plain = _plain(text)
    found = [(at, _option(stated)) for at, stated in _stated(text)]
    for match in CHOSEN.finditer(plain):
        if not SUPPOSED.search(_before(plain, match.start())):
            chosen = next(group for group in match.groups() if group is not None)
            found.append((match.start(), _option(f"{chosen}.")))
    settled = [letter for _, letter in sorted(found, key=lambda each: each[0]) if letter is not None]
    if settled:
        return settled[-1] or None
    lines = _lines(plain)
    if not lines or (REFUSAL.search(plain) and len(lines[0]) > 3):
        return None
    labels = [label[1] or label[2] for line in lines if (label := LINE_LABEL.match(line))]
    alone = ALONE.fullmatch(lines[-1]) or ALONE.fullmatch(lines[0])
    if alone:
        return alone[1].upper()
    if len({label.upper() for label in labels}) == 1 and (LINE_LABEL.match(lines[0]) or LINE_LABEL.match(lines[-1])):
        return labels[0].upper()
    named = set(re.findall(r"\(([A-Z])\)", plain))
    return named.pop() if len(named) == 1 and not labels else None


def _option(stated: str) -> str | None:
    """The option at the beginning of a statement, or the only one in parentheses there; "" for two, None for none."""
    begin = LEAD.match(stated)
    if option := OPTION.match(stated, begin.end() if begin else 0):
        letter = next(group for group in option.groups() if group)
        return "" if SEVERAL.match(stated, option.end()) else letter.upper()
    named = set(re.findall(r"\(([A-Z])\)", _sentence(stated)))
    return named.pop() if len(named) == 1 else ("" if named else None)


def final_number(text: str) -> float | None:
    """The number that an answer states, otherwise the last one of its last line or of the text; also 1/2 and 3e8.

    >>> [final_number(text) for text in ("about $1,234.50 in all", "Answer: 1/2", "x = -3", "1,000", "a 3-4", "none")]
    [1234.5, 0.5, -3.0, 1000.0, 4.0, None]
    >>> final_number("The answer is 42 (see step 3)."), final_number("The answer is 5 or 6."), final_number("3,5 kg")
    (42.0, None, 3.5)
    """
    for _, stated in reversed(_stated(text)):
        sentence = _sentence(stated)
        shown = _digits(sentence).rpartition("=")[2]
        if match := NUMBER.search(shown) or NUMBER.search(_digits(sentence)):
            return None if RANGE.match(match.string, match.end()) else _value(match.group())
    lines = _lines(_plain(text))
    if not lines or REFUSAL.search(lines[-1]):
        return None
    for place in (lines[-1], "\n".join(lines)):
        if found := [match.group() for match in NUMBER.finditer(_digits(place))]:
            return _value(found[-1])
    return None


def _stated(text: str) -> list[tuple[int, str]]:
    """Statements of the answer: position and rest of the line, in order; without suppositions."""
    plain = _plain(text)
    found = _boxed(plain)
    for match in ANSWER.finditer(plain):
        if not SUPPOSED.search(_before(plain, match.start())):
            found.append((match.start(), next(group for group in match.groups() if group)))
    return sorted(found, key=lambda each: each[0])


def _sentence(text: str) -> str:
    """`text` up to the end of its first sentence."""
    return text[: end.start()] if (end := SENTENCE_END.search(text)) else text


def _before(text: str, end: int) -> str:
    """The part of a clause before `end`."""
    return re.split(r"[.!?;\n](?:\s|$)|\b(?:but|however)\b", text[:end])[-1]


def _boxed(text: str) -> list[tuple[int, str]]:
    found = []
    for match in re.finditer(r"\\(?:boxed|fbox)\{", text):
        depth = 0
        for place in range(match.end(), len(text)):
            depth += {"{": 1, "}": -1}.get(text[place], 0)
            if depth < 0:
                found.append((match.start(), text[match.end() : place].strip()))
                break
    return found


def _plain(text: str) -> str:
    """`text` without thoughts, signs of Markdown and fonts of LaTeX."""
    text = re.sub(r"\\(?:text|mathrm|mathbf|textbf)\{([^{}]*)\}", r"\1", without_thoughts(text))
    return re.sub(r"\*\*|__|`|(?<!\w)\*(?=\S)|(?<=\S)\*(?!\w)|^[ \t]*>[ \t]?", "", text, flags=re.MULTILINE)


def _lines(text: str) -> list[str]:
    """Lines with a word, without the courtesies at the end."""
    lines = [line.strip() for line in text.splitlines() if re.search(r"\w", line)]
    while len(lines) > 1 and COURTESY.match(lines[-1]):
        lines.pop()
    return lines


def _digits(text: str) -> str:
    """`text` with its numbers in the form that NUMBER reads, without remarks, powers of units and references."""
    text = re.sub(r"\\[,!;]|(?<=\d)[\u00a0\u202f\u2009'’](?=\d{3}(?!\d))", "", text.replace("{,}", ","))
    text = re.sub(r"(?<![\d.,])\d{1,3}(?: \d{3})+(?![\d.,]\d|\d)", lambda m: m[0].replace(" ", ""), text)
    text = re.sub(r"\\[dt]?frac\{(\d+)\}\{(\d+)\}", r"\1/\2", text)
    text = text.replace("\u2212", "-")
    text = re.sub(r"\s*(?:×|\\times|\\cdot|·|\*|x)\s*10\s*\^\s*\{?([-+]?\d+)\}?", r"e\1", text)
    text = re.sub(
        r"(?<![\d.,])(\d{1,3}(?:\.\d{3})+|\d+),(\d{1,2})(?![\d,])", lambda m: m[1].replace(".", "") + "." + m[2], text
    )
    text = re.sub(r"(?<=[A-Za-z])\^\{?\d+\}?|\[\d+\]", "", text)
    without = re.sub(r"\([^()]*\)", "", text)
    return without if NUMBER.search(without) else text


def _value(text: str) -> float | None:
    above, _, below = re.sub("[,$€£]", "", text).replace("\u2212", "-").partition("/")
    try:
        return float(above) / (float(below) if below else 1.0)
    except (ValueError, ZeroDivisionError):
        return None
