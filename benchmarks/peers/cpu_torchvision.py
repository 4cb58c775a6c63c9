"""Imported before what imports torchvision: PyPI's is built for CUDA, and beside a CPU torch its import asks for this.

Without its compiled operators these two are unknown to torch, and torchvision describes them as it is imported.
"""

import torch

_OPERATORS = torch.library.Library("torchvision", "FRAGMENT")
for _name in ("nms", "qnms"):
    if not hasattr(torch.ops.torchvision, _name):
        _OPERATORS.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
