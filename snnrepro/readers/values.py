"""Every value of a graph while it is read: constants, with what they would be for another batch, and variables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Mapping, Union

import numpy as np

from snnrepro.errors import ModelError
from snnrepro.readers.constants import FREE_BATCH, LARGEST_COMPUTED, OTHER_BATCH, evaluate_constant, one_row
from snnrepro.readers.operators import Variable

if TYPE_CHECKING:
    import onnx

    from snnrepro.arrays import AnyArray

Value = Union["AnyArray", Variable, None]

_ROW_BY_ROW = ("Add", "Concat", "Div", "Max", "Min", "Mul", "PRelu", "Sub", "Sum", "Where")


class Values(Dict[str, Value]):
    """The values by name: a constant, a Variable, or None for an input that is left out (the empty name).

    Where the batch axis is free, what is computed from its size is computed for two sizes: shapes may differ between
    them, numbers that images are computed with may not.

    Parameters
    ----------
    initializers : mapping
        The constants that the model holds.
    batch : int
        The size of the batch axis, or `FREE_BATCH`.
    """

    def __init__(self, initializers: Mapping[str, Value], batch: int) -> None:
        super().__init__(initializers)
        self._batch = batch
        self._of_other_batch: dict[str, AnyArray] = {}
        self._room = LARGEST_COMPUTED  # how many numbers the constants still to be computed may have

    def is_constant(self, name: str) -> bool:
        """Whether a value is there and not computed at run time; the empty name is."""
        return name in self and not isinstance(self[name], Variable)

    def compute(self, proto: onnx.NodeProto, attributes: Mapping[str, Any], opset: int) -> None:
        """Compute and keep what a node gives whose inputs are constants; errors as `evaluate_constant`."""
        arrays = [value for value in map(self.__getitem__, proto.input) if not isinstance(value, Variable)]
        results = evaluate_constant(proto, arrays, attributes, opset, self._batch, self._room)
        self.update(results)
        if proto.op_type == "Constant":
            return
        self._room -= sum(one_row(array, self._batch).size for array in results.values())
        if self._of_other_batch.keys().isdisjoint(proto.input):
            return
        others = [self._of_other_batch.get(name, array) for name, array in zip(proto.input, arrays)]
        for name, other in evaluate_constant(proto, others, attributes, opset, OTHER_BATCH, self._room).items():
            self.differs(name, results[name], other)

    def differs(self, name: str, value: AnyArray, other: AnyArray) -> None:
        """Remember a constant that is another one for a batch of `OTHER_BATCH`."""
        if self._batch == FREE_BATCH and not np.array_equal(value, other):
            self._of_other_batch[name] = other

    def inputs(self, proto: onnx.NodeProto) -> list[Value]:
        """Return the inputs of a node that is computed at run time, one row of those that are as long as the batch.

        Raises
        ------
        ModelError
            A constant depends on the size of the batch, or is as long as it and not read image by image.
        """
        given = [self[name] for name in proto.input]
        ranks = {value.rank for value in given if isinstance(value, Variable)}
        for index, (name, value) in enumerate(zip(proto.input, given)):
            if not isinstance(value, np.ndarray) or value.dtype.kind in "iu":  # whole numbers are shapes
                continue
            row, other = one_row(value, self._batch), self._of_other_batch.get(name)
            if other is not None and not np.array_equal(row, one_row(other, OTHER_BATCH)):
                raise ModelError(
                    f"its input {name!r} depends on how many images there are in the batch: an image must have the "
                    "same answer in every batch"
                )
            if row is not value and (proto.op_type not in _ROW_BY_ROW or ranks != {value.ndim}):
                raise ModelError(f"its input {name!r} is as long as the batch, and it does not go image by image")
            given[index] = row
        return given
