"""Keeps a conversation with its model while that costs little utility, so that prompt caches live and hard work is
ended by whoever began it.

Knows utilities, not queries nor HTTP. What a turn needs of a model m is its regret: the utility that m gives away to
the best model of that turn. What the conversation needs is its turns' greatest regret, each turn back counting less:

    need(m) = max(regret now, decay x need before)

A model that was not up to the conversation's hardest recent turn therefore stays behind on an easy "commit it", where
by itself it would be the better choice; some turns later that is forgotten. Per process: replicas do not know each
other's sessions.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

from router.errors import NoCandidateError, UsageError
from router.serving.dispatch.session_keys import named_session, prefix_digests, response_digest

DECAY = 0.7  # a turn; after six a regret of 0.4 counts 0.05


@dataclass(frozen=True)
class Choice:
    """The model that a turn goes to."""

    model: str
    reason: str  # why it stayed or switched, for a person
    kept: bool  # whether the session had this model before


@dataclass
class _State:
    """Where a conversation stands after a turn."""

    conversation: str
    seen_s: float
    model: str | None = None
    need: dict[str, float] = field(default_factory=dict)  # by model
    wish: Hashable = None
    next: str | None = None  # digest of the turn that went on from here


class Sessions:
    """The conversations of one process, at most `max_sessions` turns of them. Safe from any thread."""

    def __init__(
        self,
        threshold: float,
        ttl_s: float,
        max_sessions: int,
        clock: Callable[[], float] = time.monotonic,
        *,
        decay: float = DECAY,
        secret: bytes | None = None,
    ) -> None:
        """`threshold`: the utility that may be lost by staying; `ttl_s`: seconds after which an idle one is forgotten.

        A session that the client names takes one of `max_sessions`, another one each turn; the oldest go first. Each
        holds a number for every model. `secret` keys the digests, by default one that ends with the process.
        Raises UsageError for a value not allowed.
        """
        if not (threshold >= 0 and ttl_s > 0 and max_sessions >= 1 and 0 <= decay <= 1):
            raise UsageError(
                f"sessions: got threshold {threshold}, ttl_s {ttl_s}, max_sessions {max_sessions} and decay {decay}; "
                "allowed are a threshold from 0, a ttl_s above 0, max_sessions from 1 and a decay from 0 to 1"
            )
        self.threshold, self.ttl_s, self.max_sessions, self.decay = threshold, ttl_s, max_sessions, decay
        self._clock = clock
        self._secret = secrets.token_bytes() if secret is None else secret
        self._lock = threading.Lock()
        self._states: OrderedDict[str, _State] = OrderedDict()  # by digest, the longest unused first

    def key(self, headers: Mapping[str, str], body: Mapping[str, Any], owner: str = "") -> str | None:
        """What names the request's session to the other methods and in the log; None for a request without any.

        `CONVERSATION` where the client names it, else `CONVERSATION.TURN`: the turn goes on from the longest beginning
        that was seen before, with what was known there, and two that go on from one turn become two conversations.
        `headers` has lower-case names; `owner` is the id of the client's key.
        """
        named = named_session(headers, body, owner, self._secret)
        if named is not None:
            return named
        digests = prefix_digests(body, owner, self._secret)
        if not digests:
            return None
        turn = digests[-1]
        with self._lock:
            before = next((digest for digest in reversed(digests) if self._find(digest)), None)
            if before != turn:
                self._keep(turn, self._continue(before, turn))
            return f"{self._states[turn].conversation}.{turn}"

    def choose(
        self,
        session: str | None,
        utilities: Mapping[str, float],
        admitted: Collection[str],
        *,
        wish: Hashable = None,
        kept_upstream: bool = False,
    ) -> Choice:
        """The model for the session's turn, among those `admitted`, and why.

        `utilities` are of this turn, of every model, in the units of `threshold`: at dial 10, where utility is in USD,
        give minus the cost over the least cost. `wish` is what the client weighs by, such as the dial: with another
        one the session begins anew. `kept_upstream`: only the model that answered before can go on.
        Raises NoCandidateError where no model is admitted.
        """
        possible = [model for model in utilities if model in admitted]
        if not possible:
            raise NoCandidateError(f"none of the {len(utilities)} models is admitted for this request")
        greatest = max(utilities[model] for model in possible)
        regret = {model: greatest - utility for model, utility in utilities.items()}
        if session is None:
            return Choice(
                min(possible, key=regret.__getitem__), "the best of this request, which names no session", False
            )
        digest = session.rpartition(".")[2]
        with self._lock:
            state = self._find(digest) or _State(session.partition(".")[0], self._clock())
            before = state.need if state.wish == wish else {}
            current = state.model if state.wish == wish or kept_upstream else None
            need = {model: max(lost, self.decay * before.get(model, lost)) for model, lost in regret.items()}
            choice = self._decide(current, need, regret, possible, kept_upstream)
            state.model, state.need, state.wish = choice.model, need, wish
            self._keep(digest, state)
        return choice

    def answered(self, session: str | None, model: str, response_id: str | None = None) -> None:
        """Note which model answered the turn, after a fallback another than was chosen, and the id of its response."""
        if session is None:
            return
        with self._lock:
            state = self._find(session.rpartition(".")[2])
            if state is None:
                return
            state.model = model
            if response_id is not None:
                kept = _State(state.conversation, self._clock(), model, state.need, state.wish)
                self._keep(response_digest(response_id, self._secret), kept)

    def __len__(self) -> int:
        return len(self._states)

    def _decide(
        self, current: str | None, need: dict[str, float], regret: dict[str, float], possible: list[str], bound: bool
    ) -> Choice:
        best = min(possible, key=lambda model: (need[model], regret[model]))
        if current is None:
            return Choice(best, "the best; no earlier turn of this session was weighed like this one", False)
        if current not in possible:
            return Choice(best, f"switched: {current} is not available to this request", False)
        if bound:
            return Choice(current, "kept: the conversation lies with this model's provider", True)
        loss = need[current] - need[best]
        if best != current and loss >= self.threshold:
            return Choice(
                best, f"switched from {current}: it loses {loss:.4f} utility, {self.threshold:g} are allowed", False
            )
        rival = min(possible, key=regret.__getitem__)
        if not regret[current]:
            reason = "kept: also the best of this turn"
        elif regret[current] < self.threshold:
            reason = f"kept: {rival} gains {regret[current]:.4f} utility, below the threshold of {self.threshold:g}"
        else:
            reason = (
                f"kept: {rival} gains {regret[current]:.4f} utility on this turn, but a recent one, which counts "
                f"{need[rival]:.4f}, was too hard for it"
            )
        return Choice(current, reason, True)

    def _continue(self, before: str | None, turn: str) -> _State:
        """The state that a new turn starts from."""
        if before is None:
            return _State(turn, self._clock())
        parent = self._states[before]
        goes_on = parent.next in (None, turn)
        parent.next = parent.next or turn
        conversation = parent.conversation if goes_on else turn
        return _State(conversation, self._clock(), parent.model, parent.need, parent.wish)

    def _find(self, digest: str) -> _State | None:
        """The state, unless it has been idle for too long; it counts as used."""
        state = self._states.get(digest)
        if state is None or self._clock() - state.seen_s > self.ttl_s:
            return None
        state.seen_s = self._clock()
        self._states.move_to_end(digest)
        return state

    def _keep(self, digest: str, state: _State) -> None:
        state.seen_s = self._clock()
        self._states[digest] = state
        self._states.move_to_end(digest)
        while len(self._states) > self.max_sessions or self._oldest_idle_s() > self.ttl_s:
            self._states.popitem(last=False)

    def _oldest_idle_s(self) -> float:
        return self._clock() - next(iter(self._states.values())).seen_s
