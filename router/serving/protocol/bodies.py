"""Bodies of requests as pydantic models: they check what comes and are the schemas of the OpenAPI document.

The gateway's own endpoints take no key that their model lacks. Of OpenAI's bodies the models have the fields that the
gateway reads; everything else is passed on unread, and of messages no more is looked at here than that they are a list.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SkipValidation, ValidationError

from router.errors import BodyError, QueryError
from router.options import DIAL_MAX
from router.policy.decision import GOALS
from router.validation import NotNegative, Says, Section, Share, Whole, read

MOST_ALTERNATIVES = 64  # models of a large pool that are ranked for a request
MOST_QUERIES = 1000  # of a batch
MOST_NAMES, LONGEST_NAME = 100, 200  # of `allow` or `deny`; Python caches about so many compiled wildcards
LONGEST_COMMENT = 10_000  # characters
Role = Literal["system", "developer", "user", "assistant", "tool", "function"]
ROLES: tuple[str, ...] = get_args(Role)
B = TypeVar("B", bound=Section)


def _short(names: list[str]) -> list[str]:
    """The names themselves. The time to read a wildcard grows with the square of its length."""
    if len(names) <= MOST_NAMES and all(len(each) <= LONGEST_NAME for each in names):
        return names
    raise ValueError(f"write at most {MOST_NAMES:,} names or wildcards of at most {LONGEST_NAME} characters")


def _few(queries: list[str]) -> list[str]:
    if len(queries) <= MOST_QUERIES:
        return queries
    raise ValueError(f"got {len(queries):,} queries; at most {MOST_QUERIES:,} are routed together")


_RANGE = "a number from 0 (quality at any price) to 10 (least predicted cost)"
DialNumber = Annotated[float, Field(ge=0, le=DIAL_MAX)]
Dial = Annotated[DialNumber, Says(f"write {_RANGE}")]
Dials = Annotated[DialNumber | list[DialNumber], Says(f"write {_RANGE}, or one for each query")]
Texts = Annotated[list[str], Says("write a list of texts")]
Globs = Annotated[Texts, AfterValidator(_short)]
Top = Annotated[int, Whole(1, MOST_ALTERNATIVES)]


class Options(Section):
    """The options of a decision on queries."""

    budget_usd_per_1k: NotNegative | None = None
    quality_at_least: Share | None = None
    allow: Globs | None = None
    deny: Globs | None = None
    tools: bool = False
    images: bool = False
    context_tokens: Annotated[int, Whole(0, 10**9)] | None = None
    max_price_usd_per_mtok: NotNegative | None = None
    guard: bool = False
    attitude: Literal["optimistic", "neutral", "pessimistic"] = "neutral"
    top: Top = 5

    def of_engine(self, dial: float) -> dict[str, Any]:
        """The keyword arguments of `Engine.route` or `route_many`; `dial` where neither dial nor goal is given."""
        given = self.model_dump(exclude_unset=True, exclude={"query", "queries", "user"}) | {"top": self.top}
        return {"dial": None if any(name in given for name in GOALS) else dial} | given


class Route(Options):
    """A query to decide on."""

    query: str = Field(
        description="give the text to route on, or messages or input in its place", json_schema_extra={"minLength": 1}
    )
    dial: Dial | None = Field(None, description=_RANGE)
    user: str | None = None


class Batch(Options):
    """Queries to decide on; a budget or a quality is met by them as a whole."""

    queries: Annotated[Texts, AfterValidator(_few)] = Field(
        description="give a list of texts", json_schema_extra={"maxItems": MOST_QUERIES}
    )
    dial: Dials | None = Field(None, description=f"{_RANGE}, or one for each query")


class ConversationOptions(Section):
    """The options of a decision on a conversation, beside the fields of a chat or response request."""

    dial: Dial | None = None
    model: str | None = None
    stream: bool = False
    top: Top = 5


class Feedback(Section):
    """A score for a logged decision."""

    decision_id: str = Field(description="name the decision")
    score: Share = Field(description="give a number from 0 to 1")
    comment: (
        Annotated[str, Field(max_length=LONGEST_COMMENT), Says(f"write text of at most {LONGEST_COMMENT:,} characters")]
        | None
    ) = None


def read_own(model: type[B], values: Mapping[str, Any]) -> B:
    """The body of a request to an endpoint of the gateway's own. QueryError that lists every problem."""
    problems: list[str] = []
    found = read(model, dict(values), "", problems)
    if problems:
        raise QueryError("; ".join(problems))
    return found


class OpenAIBody(BaseModel):
    """A body in OpenAI's protocol; the description of a field says what it must be."""

    model_config = ConfigDict(strict=True, frozen=True)

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """The fields in a body. BodyError that lists every wrong one."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            found = error.errors(include_url=False, include_context=False, include_input=False)
            wrong = dict.fromkeys(str(each["loc"][0]) for each in found)
            told = (
                f"{name} must be {cls.model_fields[name].description}, got {brief(values.get(name))}" for name in wrong
            )
            raise BodyError("; ".join(told)) from None


Tokens = Annotated[int, Field(ge=0)]
Tools = list[SkipValidation[dict[str, Any]]]


class Message(BaseModel):
    """A message of a chat."""

    role: Role
    content: str | list[dict[str, Any]] | None = None
    tool_calls: list[dict[str, Any]] = []


class ChatFields(OpenAIBody):
    """What is read of a chat completion's body to decide on it."""

    messages: list[SkipValidation[Message]] = Field(min_length=1, description="a list of at least one message")
    stream: bool | None = Field(None, description="true or false")
    tools: Tools | None = Field(None, description="a list")
    functions: Tools | None = Field(None, description="a list")
    response_format: Any = None
    max_tokens: Tokens | None = Field(None, description="a whole number of tokens")
    max_completion_tokens: Tokens | None = Field(None, description="a whole number of tokens")


class ResponseFields(OpenAIBody):
    """What is read of a response request's body to decide on it."""

    input: str | list[SkipValidation[dict[str, Any]]] | None = Field(None, description="text or a list of items")
    instructions: str | list[Any] | dict[str, Any] | None = Field(None, description="text or a list of parts")
    stream: bool | None = Field(None, description="true or false")
    tools: Tools | None = Field(None, description="a list")
    text: Any = None
    max_output_tokens: Tokens | None = Field(None, description="a whole number of tokens")
    previous_response_id: str | None = Field(None, description="text")


class _Named(BaseModel):
    model: str = Field(min_length=1, description="auto, auto:0 to auto:10, or a model of GET /v1/models")


class Chat(ChatFields, _Named):
    """A chat completion's body, as far as the gateway reads it."""


class Response(ResponseFields, _Named):
    """A response request's body, as far as the gateway reads it."""


class Decision(BaseModel):
    """The decision on a query."""

    id: str
    model: str
    quality: Share
    cost_usd: NotNegative
    alternatives: list[dict[str, Any]]
    order: list[str]
    why: str


class Problem(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: Any = None
    code: str | None


class Error(BaseModel):
    """An error in OpenAI's shape."""

    error: Problem


def brief(value: object) -> str:
    """A wrong value for an error message, shortened, since it may be long or private."""
    names = {dict: "an object", list: "a list", bool: str(value).lower(), type(None): "nothing"}
    if type(value) in names:
        return names[type(value)] if value != [] else "an empty list"
    return f"{str(value)[:40]!r}" if isinstance(value, str) else f"{value}"[:40]
