"""What a function compiled by torch calls outside of its graph. Importing this imports the compiler."""

from __future__ import annotations

import torch

from lossary.misuse import callsites as lookout

# A compiler breaks its graph at this call, and the values of the call can be read.
attend = torch.compiler.disable(lookout.attend_compiled)  # type: ignore[no-untyped-call]
