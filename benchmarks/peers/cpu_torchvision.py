"""Imported before what imports torchvision: PyPI's is built for CUDA, and beside a CPU torch its import asks for this.

Without its compiled operators `torchvision::nms` is unknown to torch, and torchvision describes it as it is imported.
"""

import torch

_OPERATORS = torch.library.Library("torchvision", "FRAGMENT")
if not hasattr(torch.ops.torchvision, "nms"):
    _OPERATORS.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
