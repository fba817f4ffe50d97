"""Allowed option values: backends, attitudes, index kinds, the range of the dial.

Imports nothing, so that `router --help` answers without numpy.
"""

BACKENDS = ("auto", "onnx", "onnx-int8", "torch", "torch-bf16")
ATTITUDES = {"optimistic": 1.0, "neutral": 0.0, "pessimistic": -1.0}  # standard deviations of an unsure profile
INDEX_CHOICES = ("auto", "exact", "flat", "ivf")
HNSW_REMOVED = (
    "hnsw was removed, since ivf is as fast, half as large and built sooner: take auto, exact, flat or ivf; "
    "`router index --pool POOL` builds a saved index anew"
)
DIAL_MAX = 10.0
DEFAULT_DIAL = 3.0
CHARS_PER_TOKEN = 4  # of prompts and answers whose tokens nobody counted, docs/method.md
