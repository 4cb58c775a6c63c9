"""What can be said in a recipe: the fields, their defaults and their ranges.

A field that came later leaves nothing in the recipe's JSON where it has its default (`_later`), so that a recipe that
does not use it goes on giving the lock, and the digest, that it gave before.
"""

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    StringConstraints,
    model_serializer,
)

from curation.chunks import ActionForm
from curation.recipe_problems import Place, Problem, problems_error
from schema.embodiment import Name
from schema.layout import DEFAULT_WIDTH, LayoutName
from schema.picture import IMAGE_SIZE

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    _later: ClassVar[frozenset[str]] = frozenset()
    """Fields that are left out of the JSON where they have their defaults."""

    @model_serializer(mode="wrap")
    def _without_defaults(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = type(self).model_fields
        unused = {name for name in self._later if getattr(self, name) == fields[name].default}
        return {name: value for name, value in dump(self).items() if name not in unused}


class SourceChoice(_Part):
    """Episodes of one source of the lake, or of several."""

    source: Text
    """A source's name, or a pattern with * and ? of which every source is taken that fits."""
    where: Text | None = None
    """A Polars SQL expression over the columns of `episodes`, the metrics of `scores` by their names, and the newest
    verdict on the whole episode (`verdict_keep`, `verdict_reason`, `verdict_author`); episodes where it is true are
    taken."""
    action_space: Name | None = None
    """None: the embodiment's default."""
    boost: float = Field(default=1.0, gt=0)
    """Multiplies the weight of the components that it fills."""


class Weighting(_Part):
    """A component of n frames weighs boost * quality * n**alpha; its share is held between a floor and a cap."""

    _later: ClassVar[frozenset[str]] = frozenset({"cap", "floor"})

    alpha: float = Field(default=0.43, ge=0, le=2)
    """The π0 paper's 0.43; 0 draws all components alike, 1 in proportion to their frames."""
    cap: float = Field(default=1.0, gt=0, le=1)
    """The largest share that a component may have."""
    floor: float = Field(default=0.0, ge=0, lt=1)
    """The smallest."""


class Quality(_Part):
    """Multiplies a component's weight by the mean of a score over its frames."""

    score: Text
    """A metric of the lake's `scores`."""


class Chunk(_Part):
    """How many actions the policy gives at once."""

    steps: int = Field(default=50, ge=1, le=1000)


class Prompt(_Part):
    """What stands before the instruction."""

    tag: bool = False
    """Whether the robot, its action space and its rate do."""


class Limit(_Part):
    """At most so much of each component, by a keyed hash: a smaller limit is a subset of a larger one."""

    episodes: int = Field(ge=1)


TableName = Literal["episodes", "annotations", "scores", "verdicts"]
Group = Literal["embodiment_task", "embodiment", "source"]


def _success(value: object) -> object:
    """YAML's true and false as the words that they are written as."""
    return str(value).lower() if isinstance(value, bool) else value


class Recipe(_Part):
    """What to train on, and how it is to be presented."""

    _later: ClassVar[frozenset[str]] = frozenset({"quality", "group", "tasks", "versions"})
    name: Text
    sources: tuple[SourceChoice, ...] = Field(min_length=1)
    weighting: Weighting = Weighting()
    quality: Quality | None = None
    group: Group = "embodiment_task"
    """What a component is of: an embodiment at a task, an embodiment, or an embodiment in a source."""
    tasks: dict[Text, Text] = {}
    """Pattern of a task as the logs name it (with * and ?, whatever the case) → the task that it is; first come first
    served, and what fits none keeps its name."""
    versions: dict[TableName, Annotated[int, Field(ge=0)]] = {}
    """Versions of the lake's tables to go by; the newest of those that are not named."""
    layout: LayoutName = "pi"
    width: int = Field(default=DEFAULT_WIDTH, ge=1, le=4096)
    chunk: Chunk = Chunk()
    action_form: ActionForm = "stored"
    cameras: dict[Name, Annotated[tuple[Name, ...], Field(min_length=1)]] = Field(
        default={"base": ("base",), "left_wrist": ("left_wrist",), "right_wrist": ("right_wrist",)}, min_length=1
    )
    """Model slot → camera names in order of preference; the first that an episode has is shown."""
    image_size: int = Field(default=IMAGE_SIZE, ge=14, le=1024)
    success: Annotated[Literal["any", "true", "false"], BeforeValidator(_success)] = "any"
    prompt: Prompt = Prompt()
    held_out: float = Field(default=0.0, ge=0, lt=1)
    """Share of episodes that no training sample is drawn from; the same episodes for every seed."""
    limit: Limit | None = None
    seed: int = Field(default=0, ge=0, lt=2**63)
    _lines: dict[Place, int] = PrivateAttr(default_factory=dict)
    _where: str = PrivateAttr(default="recipe")

    def stands(self, where: str, lines: dict[Place, int]) -> None:
        """Remember the file and its lines, for messages only."""
        self._where = where
        self._lines = lines

    def refuse(self, found: Iterable[Problem]) -> None:
        """ConfigError with every problem and the line of the file on which it stands; nothing where there is none."""
        if problems := list(found):
            raise problems_error(problems, self._lines, where=self._where)
