"""The only room that runs the network."""

import importlib.util
import sys

if importlib.util.find_spec("torchao") and "torchao" not in sys.modules:
    # transformers would import it with its first model, which takes seconds and prints warnings;
    # only --quantize needs it. None hides it while transformers looks, and what it finds is kept.
    sys.modules["torchao"] = None  # type: ignore[assignment]
    from transformers.utils import is_torchao_available

    is_torchao_available()
    del sys.modules["torchao"]
