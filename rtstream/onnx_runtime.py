"""ONNX Runtime, told to keep to itself: import it from here.

Since 1.29 it reports its use to Microsoft, and keeps a number of this machine for it, unless an environment variable
stands there before it is imported.
"""

from __future__ import annotations

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime

onnxruntime.disable_telemetry_events()  # where somebody else has imported it before

__all__ = ["onnxruntime"]
