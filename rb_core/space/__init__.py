"""The web page: the only package that imports gradio."""

import os

# Before gradio is imported: the page makes no request off its machine.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
# Statistics over the last events, recomputed after each event. Their route is closed, see server.py.
os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "1")
