"""Arrays of views, unpacked as their scripts do."""

import base64

import numpy as np


def unpacked(packed):
    """As ``unpack`` in common.mjs: little-endian numbers in the order of the array."""
    return np.frombuffer(base64.b64decode(packed["base64"]),
                         "<" + packed["dtype"]).reshape(packed["shape"])
