"""What can be said in a recipe: the fields, their defaults and their ranges.

A field that came later leaves nothing in the recipe's JSON where it has its default (`_later`), so that a recipe that
does not use it goes on giving the lock, and the digest, that it gave before.
"""

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    StringConstraints,
    model_serializer,
    model_validator,
)

from curation.chunks import ActionForm
from curation.recipe_problems import Place, Problem, problems_error
from schema.embodiment import Name
from schema.layout import DEFAULT_WIDTH, LayoutName
from schema.picture import IMAGE_SIZE

TextKind = Literal["instruction", "task", "segment"]
Normalization = Literal["z_score", "quantile"]
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

    _later: ClassVar[frozenset[str]] = frozenset({"seconds", "rate_hz"})
    steps: int = Field(default=50, ge=1, le=1000)
    """H; where `seconds` are given it follows from them."""
    seconds: float | None = Field(default=None, gt=0)
    rate_hz: float | None = Field(default=None, gt=0, le=1000)
    """The rate of the steps, to which actions are resampled; None: each robot's own."""

    @model_validator(mode="before")
    @classmethod
    def _steps_of_seconds(cls, found: Any) -> Any:
        """`steps` follows from `seconds` and `rate_hz`."""
        if not isinstance(found, dict) or found.get("seconds") is None:
            return found
        seconds, rate_hz = found["seconds"], found.get("rate_hz")
        if not isinstance(seconds, int | float) or not isinstance(rate_hz, int | float | None):
            return found  # told by the fields' own types
        if seconds <= 0 or (rate_hz is not None and rate_hz <= 0):
            return found  # told by the fields' own ranges
        if rate_hz is None:
            raise ValueError(
                "a chunk in seconds needs the rate of its steps, since all chunks are of one length: add `rate_hz`"
            )
        steps = round(seconds * rate_hz)
        if abs(steps - seconds * rate_hz) > 1e-6 or found.get("steps", steps) != steps:
            raise ValueError(
                f"{seconds:g} s at {rate_hz:g} Hz are {seconds * rate_hz:g} steps: expected a whole number of them, "
                "and no other number of `steps` beside it"
            )
        return {**found, "steps": steps}


class Reference(_Part):
    """A published share, beside which a plan tells the recipe's own."""

    name: Text
    sources: tuple[Text, ...] = Field(min_length=1)
    """Names or patterns of the sources that it is of."""
    share: float = Field(ge=0, le=1)


class Frames(_Part):
    """At which frames chunks start."""

    every: int = Field(default=1, ge=1)
    """At every so many-th frame of a run."""
    min_steps: int = Field(default=1, ge=1, le=1000)
    """Only where so many steps of the chunk were recorded, and kept."""
    skip_start_s: float = Field(default=0.0, ge=0)
    skip_end_s: float = Field(default=0.0, ge=0)


class FrameWeight(_Part):
    """How often the frames that it fits stand in their component's numbering; all others do once."""

    weight: int = Field(ge=0, le=100)
    """0: no chunk starts there."""
    where: Text | None = None
    """The episodes of which it is true, as in a source."""
    segment: Text | None = None
    """A pattern with * and ?, whatever the case, of the annotations of parts of an episode: the frames in these."""

    @model_validator(mode="after")
    def _fits_something(self) -> Self:
        if self.where is None and self.segment is None:
            raise ValueError("a frame weight needs `where`, `segment` or both, to say of which frames it is")
        return self


class Prompt(_Part):
    """What training reads as text."""

    _later: ClassVar[frozenset[str]] = frozenset({"text", "dropout"})
    tag: bool = False
    """Whether the robot, its action space and its rate stand before the instruction."""
    text: tuple[TextKind, ...] = Field(default=("instruction",), min_length=1)
    """Kinds of texts of which one is drawn for each sample: instructions of the whole episode, its task's name, or
    annotations of the part in which the chunk starts."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """How often training leaves the instruction away; a tag stays."""


class Limit(_Part):
    """At most so much of each component, by a keyed hash: a smaller limit is a subset of a larger one."""

    _later: ClassVar[frozenset[str]] = frozenset({"hours"})
    episodes: int | None = Field(default=None, ge=1)
    hours: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _one_at_least(self) -> Self:
        if self.episodes is None and self.hours is None:
            raise ValueError("a limit needs `episodes`, `hours` or both")
        return self


TableName = Literal["episodes", "annotations", "scores", "verdicts"]
HeldOutBy = Literal["episode", "scene", "operator", "task"]
Group = Literal["embodiment_task", "embodiment", "source"]


def _success(value: object) -> object:
    """YAML's true and false as the words that they are written as."""
    return str(value).lower() if isinstance(value, bool) else value


class Recipe(_Part):
    """What to train on, and how it is to be presented."""

    _later: ClassVar[frozenset[str]] = frozenset(
        {
            "quality",
            "group",
            "tasks",
            "versions",
            "held_out_by",
            "frames",
            "frame_weight",
            "verdicts",
            "camera_choice",
            "camera_dropout",
            "normalization",
            "references",
            "statistics",
        }
    )
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
    """Model slot → camera names in order of preference, or `exterior` or `wrist` for every camera of that role; the
    first that an episode has is shown."""
    camera_choice: dict[Name, Literal["first", "any"]] = {}
    """Slots that show any one of their cameras that the episode has, drawn for each sample."""
    camera_dropout: dict[Name, Annotated[float, Field(ge=0, lt=1)]] = {}
    """How often training leaves a slot empty; a sample that would lose all its pictures keeps them."""
    image_size: int = Field(default=IMAGE_SIZE, ge=14, le=1024)
    success: Annotated[Literal["any", "true", "false"], BeforeValidator(_success)] = "any"
    prompt: Prompt = Prompt()
    statistics: Literal["agreeing", "pooled", "by_source"] = "agreeing"
    """Whether all sources of a robot are normalized together: only where they agree, always, or each by itself."""
    normalization: Normalization = "z_score"
    """(x − mean) / std, or −1 … 1 from the 1 % to the 99 % quantile."""
    held_out: float = Field(default=0.0, ge=0, lt=1)
    """Share of episodes that no training sample is drawn from; the same episodes for every seed."""
    held_out_by: HeldOutBy = "episode"
    """What is held out whole: no episode of a held-out scene, operator or task is trained on."""
    limit: Limit | None = None
    frames: Frames = Frames()
    frame_weight: tuple[FrameWeight, ...] = ()
    """Of those that fit a frame the first counts."""
    references: tuple[Reference, ...] = ()
    verdicts: Literal["hold", "ignore"] = "hold"
    """Whether episodes and frames that the newest verdict on them drops are left out."""
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
