"""Writes trained models for deployment: SavedModel, TFLite and ONNX.

Every signature that reads images has the same named outputs, those of
`decoding.decode`: `labels`, `lengths`, `probability`, `probabilities`,
`boxes`, `transforms` and `locations`. Two more, `start` and `look`, take one
glimpse at a time, so that the caller decides when to stop. What is written is
loaded again in another process and compared with the model before it gets its
name.

A format is an object, see `formats.Format`, in a module of its own and a line
of the table in `registry`.
"""

from keras_edram.serving.interpreter import tflite_operators
from keras_edram.serving.onnx import export_onnx, run_onnx
from keras_edram.serving.registry import run_steps
from keras_edram.serving.report import report_tflite
from keras_edram.serving.saved_model import export_saved_model, run_saved_model
from keras_edram.serving.signatures import class_names, deployable
from keras_edram.serving.tflite import export_tflite, run_tflite

__all__ = [
    "class_names",
    "deployable",
    "export_onnx",
    "export_saved_model",
    "export_tflite",
    "report_tflite",
    "run_onnx",
    "run_saved_model",
    "run_steps",
    "run_tflite",
    "tflite_operators",
]
