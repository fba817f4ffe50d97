"""The guard on a tokenizer of known frequencies, on the shipped one, and at work in a router."""

from pathlib import Path

import numpy as np
import pytest
from fixtures.tiny_checkpoint import make_steerable_router
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from router.encoding.suffix_guard import SuffixGuard, begins_word, rarity, scripts
from router.routing.router import Router

REPOSITORY = Path(__file__).resolve().parents[3]
SIZE = 2000
COMMON, RARE = ["w10", "w20", "w30", "w40"], [f"w{i}" for i in range(1900, 1930)]


@pytest.fixture(scope="module")
def tokenizer():
    """Words w2 .. w1999 in order of frequency, after a special token and a sign."""
    words = {"[UNK]": 0, "?": 1, **{f"w{i}": i for i in range(2, SIZE)}}
    made = Tokenizer(models.WordLevel(words, "[UNK]"))
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.BertProcessing(("[UNK]", 0), ("[UNK]", 0))  # as encoders want it, not the guard
    return made


@pytest.fixture(scope="module")
def shipped():
    return SuffixGuard(Tokenizer.from_file(str(REPOSITORY / "checkpoints/routemix/encoder/tokenizer.json")))


def test_rarity_is_a_log_likelihood_ratio_of_zipfs_law(tokenizer):
    scores = rarity(tokenizer)
    rank = 1 + 1900 - 2  # w2 is the first word
    assert scores[1900] == pytest.approx(np.log(rank * np.log(SIZE) / SIZE))
    assert scores[1] == scores[2] == scores[0] == -1.0
    assert (np.diff(scores[2:]) >= 0).all()


def test_words_are_counted_by_rank_whatever_marks_them_and_signs_are_not():
    frequent = ["[UNK]", "a", "##b", "Ġ", "Ġc", "]", "[unused7]"]
    words = ["[x", "ab", "##cd", "Ġef", "y]"]  # by rank
    rare = ["é", "##ß"]
    vocabulary = {piece: i for i, piece in enumerate([*frequent, *words, *rare])}
    scores = rarity(Tokenizer(models.WordLevel(vocabulary, "[UNK]")))
    size = len(vocabulary)
    expected = [1.0] * len(frequent) + [1.0, 2.0, 3.0, 4.0, 5.0] + [size] * 2
    assert scores.tolist() == pytest.approx(np.maximum(np.log(np.array(expected) * np.log(size) / size), -1.0).tolist())


def test_a_tail_is_three_nats_rarer_than_text_and_frequent_words_in_it_count_against_it(tokenizer):
    guard, scores = SuffixGuard(tokenizer), rarity(tokenizer)
    assert 2 < scores[1990] < 2.1 and 0.9 < scores[675] < 1
    assert guard.tail("w10 w20 w675 w1990") is None  # just below three
    assert guard.tail("w10 w20 w720 w1990") == "w720 w1990"  # just above
    assert guard.tail("w10 w20 w1990 w2 w1990") == "w1990 w2 w1990"
    assert guard.tail("w10 w20 w1990 w2 w2 w1990") is None


def test_only_the_last_thousand_characters_are_read(tokenizer):
    guard = SuffixGuard(tokenizer)
    for length, words in ((1000, 3), (1001, 2)):  # of the first of three words one character is cut off, or none
        tail = "w1990 w1991" + " " * (length - 16) + "w1992"
        assert len(tail) == length
        found = guard.tail("w10 " * 300 + tail)
        assert found is not None and len(found.split()) == words


def test_in_a_long_text_a_tail_is_found_where_it_stands(tokenizer):
    begin = "a " + "w10 " * 200
    tail = "w1990" + " " * 191 + "w1991"
    assert len(begin + tail) == 1003  # three characters are not read
    assert SuffixGuard(tokenizer).tail(begin + tail) == tail


def test_rare_words_at_the_end_are_the_tail_and_common_ones_are_not(tokenizer):
    guard = SuffixGuard(tokenizer)
    question, gadget = " ".join(COMMON * 5) + "?", " ".join(RARE[:20])
    assert guard.tail(question) is None
    assert guard.tail(f"{question} {gadget}") == gadget
    assert guard.tail(f"{gadget} {question}") is None  # not at the end
    assert guard.tail(f"{question}{gadget}") == gadget  # without a space between


def test_one_common_word_does_not_hide_a_gadget(tokenizer):
    hidden = " ".join([*RARE[:10], "w2", *RARE[10:19], "w2"])
    assert SuffixGuard(tokenizer).tail(f"{' '.join(COMMON)} {hidden}") == hidden


def test_something_is_left_before_a_tail_and_no_more_than_a_window_is_taken(tokenizer):
    guard = SuffixGuard(tokenizer)
    assert guard.tail(" ".join(RARE)) is None
    assert guard.tail("") is None
    long = " ".join(COMMON + RARE * 2)
    assert len(guard.tail(long).split()) == 32
    assert long.endswith(guard.tail(long))


def test_ordinary_queries_keep_their_ends_and_random_tokens_are_found_at_the_start_of_a_word(shipped):
    queries = (REPOSITORY / "scripts/quickstart_queries.txt").read_text().splitlines()
    queries = [query for query in queries if query.strip()]
    assert sum(shipped.tail(query) is not None for query in queries) <= len(queries) // 4
    generator = np.random.default_rng(0)
    for query in queries:
        gadget = shipped.tokenizer.decode(generator.integers(2000, 29000, 20).tolist())
        whole = f"{query} {gadget}"
        tail = shipped.tail(whole)
        assert tail and len(tail) > len(gadget) / 2
        assert begins_word(whole, len(whole) - len(tail))


PROSE = (
    "请用简单的语言解释一下什么是量子纠缠，并举一个日常生活中的例子。",
    "我明天要去上海出差，请帮我写一封请假邮件给我的经理。",
    "如何在家里做出好吃的红烧肉？需要哪些材料和步骤？",
    "日本の首都はどこですか。また、その人口はおよそ何人ですか。",
    "来週の会議の議事録を簡潔にまとめてください。よろしくお願いします。",
    "猫を飼い始めたいのですが、必要なものを教えていただけますか。",
    "대한민국의 수도는 어디이며, 인구는 몇 명입니까?",
    "다음 주 회의를 위한 발표 자료를 어떻게 준비하면 좋을까요?",
    "김치찌개를 맛있게 끓이는 방법을 알려 주세요.",
    "ما هي عاصمة المغرب، وكم يبلغ عدد سكانها اليوم؟",
    "اكتب لي رسالة قصيرة أعتذر فيها لصديقي عن تأخري في الرد عليه.",
    "كيف يمكنني تعلم اللغة الإنجليزية بسرعة في البيت من دون معلم؟",
    "भारत की राजधानी क्या है और वहाँ कितने लोग रहते हैं?",
    "मुझे अपने मित्र की शादी के लिए एक छोटा सा भाषण लिखकर दीजिए।",
    "घर पर स्वादिष्ट पनीर की सब्ज़ी बनाने की विधि बताइए।",
)


@pytest.fixture(scope="module")
def unigram():
    """A Unigram tokenizer of 2,000 Latin words by frequency, then of the characters of PROSE, which are rarer."""
    letters = "abcdefghijklmnopqrst"
    words = [f"▁w{a}{b}{c}" for a in letters[:5] for b in letters for c in letters]
    signs = sorted(set("".join(PROSE)) - {" "})
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁", *words, *signs, *letters, "w"]
    made = Tokenizer(models.Unigram([(piece, -float(i)) for i, piece in enumerate(pieces)], unk_id=3))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.add_special_tokens(pieces[:4])
    return made


def test_words_of_a_unigram_vocabulary_are_ranked_among_those_of_their_script(unigram):
    scores, size = rarity(unigram), unigram.get_vocab_size()
    found = scripts(unigram)
    assert [found[unigram.token_to_id(piece)] for piece in ("▁waaa", "的", "の", "수", "<s>", "▁", "？")] == [
        *("LATIN", "CJK", "CJK", "HANGUL", "LATIN", "", "")
    ]
    assert scores[unigram.token_to_id("▁wett")] == pytest.approx(np.log(2000 * np.log(2000) / size))
    assert scores[unigram.token_to_id("▁waaa")] == scores[0] == scores[4] == scores[unigram.token_to_id("a")] == -1.0
    assert all(scores[unigram.token_to_id(sign)] < 0 for sign in set("".join(PROSE)) - {" "})


def test_ordinary_prose_of_other_scripts_keeps_its_end(unigram):
    guard = SuffixGuard(unigram)
    for text in PROSE:
        assert 3 not in unigram.encode(text).ids
        assert guard.tail(text) is None
        assert guard.tail(f"waab waac waad: {text}") is None  # a request in another language before it
        assert guard.tail(f"{text} waab") is None  # a foreign word at its end


def test_random_tokens_of_many_scripts_or_of_one_are_found(unigram):
    guard, generator = SuffixGuard(unigram), np.random.default_rng(0)
    for text in PROSE:
        rare = unigram.decode(generator.integers(1000, 2000, 20).tolist()).replace("▁", " ")
        mixed = " ".join(
            f"wd{a}{b} {sign}" for a, b, sign in zip("fghijklmno", "abcdefghij", "学수عकか術인لम表", strict=True)
        )
        for gadget in (rare, mixed):
            tail = guard.tail(f"{text} {gadget}")
            assert tail and len(tail) > len(gadget) / 2


class Marked:
    """A guard that takes what follows a marker for the tail."""

    def tail(self, text: str) -> str | None:
        _, marker, tail = text.partition(" | ")
        return marker + tail if tail else None


@pytest.fixture
def router(tiny_checkpoint):
    made = make_steerable_router(tiny_checkpoint, QUERIES)
    made.pipeline.guard = Marked()
    return made


QUERIES = ["prove that two is the root", "write python code", "who is a prime", "where is the code of python"]
SUFFIXES = ["write a prime", "the root of two", "who who who", "code code code", "x y z q q q", "( ( ) ) ["]
ATTACKED = [f"{query} | {suffix}" for query in QUERIES for suffix in SUFFIXES]


def test_the_guard_leaves_out_only_tails_that_change_a_route(router):
    plain = router.route(ATTACKED, pool="both", dial=0)
    guarded = router.route(ATTACKED, pool="both", dial=0, guard=True)
    flagged = [decision.flagged is not None for decision in guarded]
    assert 0 < sum(flagged) < len(ATTACKED)
    assert {before.model for before, is_flagged in zip(plain, flagged, strict=True) if is_flagged} == {"large", "small"}
    for query, before, after in zip(ATTACKED, plain, guarded, strict=True):
        kept, _, tail = query.partition(" | ")
        alone = router.route(kept, pool="both", dial=0)
        assert after.query == query and before.flagged is None
        if after.flagged:
            assert after.flagged == f" | {tail}"
            assert after.model == alone.model != before.model
            assert after.quality == pytest.approx(alone.quality, abs=1e-5)
        else:
            assert after == before
            assert alone.model == before.model


def test_a_flagged_query_is_priced_whole_since_the_model_gets_it_whole(router):
    flagged = next(d for d in router.route(ATTACKED, pool="both", dial=0, guard=True) if d.flagged)
    alone = router.route(flagged.query.partition(" | ")[0], pool="both", dial=0)
    price_in = {"large": 2.5, "small": 0.1}[alone.model]
    assert flagged.cost_usd - alone.cost_usd == pytest.approx(len(flagged.flagged) / 4 * price_in / 1e6, rel=1e-2)


def test_the_decision_says_what_was_flagged_in_json_and_nothing_without_the_guard(router):
    flagged = next(d for d in router.route(iter(ATTACKED), pool="both", dial=0, guard=True) if d.flagged)
    assert flagged.to_json()["flagged"] == flagged.flagged
    assert router.route(flagged.query, pool="both", dial=0).to_json()["flagged"] is None


def test_a_router_makes_its_guard_of_its_own_tokenizer(tiny_checkpoint):
    router = Router(tiny_checkpoint)
    decision = router.route("prove that two is a prime", guard=True)
    assert decision.flagged is None and decision == router.route("prove that two is a prime")
    assert router.pipeline.guard.tokenizer is tiny_checkpoint.encoder.described.tokenizer


def test_the_guard_judges_a_list_at_the_weights_that_meet_its_goal(router):
    def flagged(**options):
        return [decision.flagged for decision in router.route(ATTACKED, pool="both", guard=True, **options)]

    mean = float(np.mean([decision.quality for decision in router.route(ATTACKED, pool="both", dial=3)])) - 0.02
    plain = router.route(ATTACKED, pool="both", quality_at_least=mean)
    assert {decision.dial for decision in plain} != {3.0}
    judged = flagged(quality_at_least=mean)
    assert judged == flagged(dial=[decision.dial for decision in plain])
    assert judged != flagged()
