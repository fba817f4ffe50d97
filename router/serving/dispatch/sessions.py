"""Sticky sessions: a conversation keeps its model while that costs little utility, which keeps prompt caches warm.

This module knows utilities, neither queries nor HTTP. The regret of a model m in one turn is the utility that m loses
against the best model of that turn. The need(m) of a conversation is the greatest regret of its turns, where older
turns count less:

    need(m) = max(regret now, decay x need before)

So a model that was too weak for a hard recent turn does not take over at an easy "commit it", where it would be the
better choice for that turn alone. Some turns later its regret is forgotten. Replicas do not share sessions.
"""

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

from router.errors import NoCandidateError, UsageError
from router.serving.dispatch.session_keys import named_session, prefix_digests, response_digest

DECAY = 0.7  # per turn; after six turns a regret of 0.4 counts 0.05


@dataclass(frozen=True)
class Choice:
    """The model for a turn, with the reason."""

    model: str
    reason: str  # for a person: why the session stayed or switched
    kept: bool  # whether the session had this model already


@dataclass
class _State:
    """A conversation after one turn."""

    conversation: str
    seen_s: float
    model: str | None = None
    need: dict[str, float] = field(default_factory=dict)  # by model
    dial: Hashable = None
    next: str | None = None  # digest of the first turn that continued from here


class Sessions:
    """The conversations of one process, at most `max_sessions` turns of them. Thread-safe."""

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
        """`threshold`: the utility that staying may cost; `ttl_s`: seconds after which an idle session is forgotten.

        A session that the client names takes one of `max_sessions` places, another session one place each turn; the
        oldest are dropped first. A place holds one number for every model. `secret` keys the digests, by default a
        random one. Raises UsageError for a value that is not allowed.
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
        """The session key of a request, for the other methods and the log; None for a request without messages.

        It is `CONVERSATION` if the client names it, otherwise `CONVERSATION.TURN`. Such a turn continues from the
        longest known beginning and inherits its state; two turns that continue from one become two conversations.
        `headers` has lower-case names; `owner` is the id of the client key.
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
        dial: Hashable = None,
        kept_upstream: bool = False,
    ) -> Choice:
        """The model for the session's turn, one of those `admitted`, with the reason.

        `utilities` holds this turn's utility of every model in the units of `threshold`; at dial 10, where utility is
        in USD, minus the cost over the least cost. With another `dial` than before the session begins anew.
        `kept_upstream`: only the model that answered before can continue. Raises NoCandidateError if no model is
        admitted.
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
            before = state.need if state.dial == dial else {}
            current = state.model if state.dial == dial or kept_upstream else None
            need = {model: max(lost, self.decay * before.get(model, lost)) for model, lost in regret.items()}
            choice = self._decide(current, need, regret, possible, kept_upstream)
            state.model, state.need, state.dial = choice.model, need, dial
            self._keep(digest, state)
        return choice

    def answered(self, session: str | None, model: str, response_id: str | None = None) -> None:
        """Remember the model that answered the turn, which a fallback may have changed, and the id of its response."""
        if session is None:
            return
        with self._lock:
            state = self._find(session.rpartition(".")[2])
            if state is None:
                return
            state.model = model
            if response_id is not None:
                kept = _State(state.conversation, self._clock(), model, state.need, state.dial)
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
        """The initial state of a new turn."""
        if before is None:
            return _State(turn, self._clock())
        parent = self._states[before]
        goes_on = parent.next in (None, turn)
        parent.next = parent.next or turn
        conversation = parent.conversation if goes_on else turn
        return _State(conversation, self._clock(), parent.model, parent.need, parent.dial)

    def _find(self, digest: str) -> _State | None:
        """The state, None if it was idle for too long. Finding it counts as use."""
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
