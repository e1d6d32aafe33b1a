"""An embedding that is cheap to build on the meta device."""

from __future__ import annotations

from torch import nn


class Embedding(nn.Embedding):
    """`nn.Embedding` that draws no initial numbers on the meta device.

    There torch computes the draw by reference code that imports its compiler: a second at start-up.
    """

    def reset_parameters(self) -> None:
        """Initialise the weight, except on the meta device."""
        if not self.weight.is_meta:
            super().reset_parameters()
