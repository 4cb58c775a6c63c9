"""Every way in which given weights do not fit a model, in one error."""

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from model.weight_names import Shape


class WeightsError(ValueError):
    """Weights that do not fit the model, or cannot be read; the message lists everything that is wrong."""

    def __init__(self, misfits: Sequence[str]) -> None:
        super().__init__("\n".join(["these weights cannot be used:", *(f"  - {misfit}" for misfit in misfits)]))


def shapes_of(tensors: Mapping[str, Tensor]) -> dict[str, Shape]:
    """The shape of each."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def refuse_misfits(
    wanted: Mapping[str, Shape],
    found: Mapping[str, Shape],
    *,
    describe: Callable[[Mapping[str, Shape]], dict[str, int]],
) -> None:
    """WeightsError unless names and shapes are equal; `describe` tells the sizes that shapes show.

    Sizes in which the two differ come first: they are what is wrong where a config disagrees with a file.
    """
    misfits = [f"missing: {name} {list(wanted[name])}" for name in sorted(wanted.keys() - found.keys())]
    misfits += [f"unexpected: {name} {list(found[name])}" for name in sorted(found.keys() - wanted.keys())]
    misfits += [
        f"mis-shaped: {name} is {list(found[name])}, expected {list(wanted[name])}{_hint(wanted[name], found[name])}"
        for name in sorted(wanted.keys() & found.keys())
        if wanted[name] != found[name]
    ]
    if misfits:
        expected = describe(wanted)
        differing = {what: size for what, size in describe(found).items() if expected.get(what, size) != size}
        lines = [
            f"{what} is {size} by the shapes of the weights, {expected[what]} by the config"
            for what, size in differing.items()
        ]
        raise WeightsError([*lines, *misfits])


def _hint(wanted: Shape, found: Shape) -> str:
    return ": it is transposed" if wanted == found[::-1] else ""
