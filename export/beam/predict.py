"""Asks a SavedModel about many picture files, by an Apache Beam pipeline.

    python predict.py --model serving/edram/1 --images "photos/*.png" \
        --out answers --bad bad

Needs `apache-beam` and `tensorflow`, and not keras_edram. What is not known
here goes to Beam: `--runner` and the options of runners.
"""

import argparse
import json
import re

import apache_beam as beam
from apache_beam.io import fileio
from apache_beam.io.fileio import EmptyMatchTreatment
from apache_beam.io.tfrecordio import ReadAllFromTFRecord
from apache_beam.ml.inference.base import (
    KeyedModelHandler,
    ModelHandler,
    RunInference,
)
from apache_beam.options.pipeline_options import PipelineOptions

BATCH_SIZE = 64
CONTENT = "image/encoded"
NAME = "image/filename"


class SavedModelHandler(ModelHandler):
    """Runs the signature `serving_bytes` of a SavedModel on picture files.

    A file that is no picture would fail its whole batch. So each is decoded
    first as the signature does it, and those that cannot be are left out.

    Args:
        path: Path of the folder that has `saved_model.pb`.
        batch_size: Integer, pictures that the model sees at once, at most.

    Returns:
        Of each picture, the dictionary of an answer, or of a `reason`.

    Example:

    >>> handler = SavedModelHandler("serving/edram/1")
    >>> handler.run_inference([picture, b"text"], handler.load_model())
    [{'sequence': '7', ...}, {'reason': 'Unknown image file format. ...'}]
    """

    def __init__(self, path, batch_size=BATCH_SIZE):
        super().__init__(max_batch_size=batch_size)
        self.path = path

    def load_model(self):
        """The SavedModel, once for each process."""
        import tensorflow as tf

        return tf.saved_model.load(self.path)

    def run_inference(self, batch, model, inference_args=None):
        """An answer or a reason for each content of a file in the batch."""
        import tensorflow as tf

        _, inputs = model.signatures[
            "serving_default"
        ].structured_input_signature
        channels = inputs["images"].shape[-1]
        reasons = [_reason(content, channels) for content in batch]
        pictures = [
            content
            for content, reason in zip(batch, reasons, strict=True)
            if reason is None
        ]
        answers = iter(())
        if pictures:
            outputs = model.signatures["serving_bytes"](
                image_bytes=tf.constant(pictures)
            )
            answers = iter(_answers(outputs))
        return [
            next(answers) if reason is None else {"reason": reason}
            for reason in reasons
        ]


def read_images(pipeline, pattern):
    """Reads picture files.

    Args:
        pipeline: `beam.Pipeline`.
        pattern: String, a path with wildcards, on any file system of Beam's.

    Returns:
        `PCollection` of `(path, content)`.
    """
    return (
        pipeline
        | "Find" >> fileio.MatchFiles(pattern, EmptyMatchTreatment.DISALLOW)
        | "Open" >> fileio.ReadMatches()
        | "Read" >> beam.Map(lambda file: (file.metadata.path, file.read()))
    )


def read_tfrecord(pipeline, pattern):
    """Reads the pictures of TFRecord files: messages `tf.train.Example`.

    Each has the content of a picture file as `image/encoded`, and may have its
    name as `image/filename`; without one it has the name of the TFRecord file.

    Args:
        pipeline: `beam.Pipeline`.
        pattern: String, a path with wildcards, on any file system of Beam's.

    Returns:
        `PCollection` of `(name, content)`; the content is empty when a record
        is no such message.
    """
    return (
        pipeline
        | "Find" >> fileio.MatchFiles(pattern, EmptyMatchTreatment.DISALLOW)
        | "Path" >> beam.Map(lambda metadata: metadata.path)
        | "Read" >> ReadAllFromTFRecord(with_filename=True)
        | "Parse" >> beam.MapTuple(_picture_of_record)
    )


def predict(pictures, model, batch_size=BATCH_SIZE):
    """Asks a model what is in pictures.

    Args:
        pictures: `PCollection` of `(name, content)`.
        model: Path of the SavedModel, the folder that has `saved_model.pb`.
        batch_size: Integer, pictures that the model sees at once, at most.

    Returns:
        Two `PCollection` of dictionaries: answers, with `file`, `sequence`,
        `names`, `probability` and `boxes`; and those files that are no
        pictures, with `file` and `reason`.
    """
    handler = KeyedModelHandler(SavedModelHandler(model, batch_size))
    results = (
        pictures
        | "Ask" >> RunInference(handler)
        | "Name" >> beam.MapTuple(lambda name, found: {"file": name, **found})
    )
    return (
        results | "Answers" >> beam.Filter(lambda row: "reason" not in row),
        results | "Bad" >> beam.Filter(lambda row: "reason" in row),
    )


def run(options, beam_options=None):
    """Reads, asks and writes, until all is done.

    Args:
        options: What the command's own arguments are: `model`, `images` or
            `tfrecord`, `out`, `bad` and `batch_size`.
        beam_options: List of strings, arguments for Beam.
    """
    with beam.Pipeline(options=PipelineOptions(beam_options)) as pipeline:
        if options.images:
            pictures = read_images(pipeline, options.images)
        else:
            pictures = read_tfrecord(pipeline, options.tfrecord)
        answers, bad = predict(pictures, options.model, options.batch_size)
        for name, rows, prefix in (
            ("answers", answers, options.out),
            ("bad", bad, options.bad),
        ):
            _ = (
                rows
                | f"JSON of {name}" >> beam.Map(json.dumps)
                | f"Write {name}" >> beam.io.WriteToText(prefix, ".jsonl")
            )


def _reason(content, channels):
    """Why the model could not decode a file; `None` if it can."""
    import tensorflow as tf

    if not content:
        return f"There is no content: an empty file, or no `{CONTENT}`"
    try:
        tf.io.decode_image(content, channels, expand_animations=False)
    except tf.errors.InvalidArgumentError as error:
        # Without its notes where in TensorFlow it came about.
        message = re.sub(r"\{\{.*?\}\}|\[Op:.*?\]", " ", error.message)
        return " ".join(message.split())
    return None


def _answers(outputs):
    """Answers in plain Python values, up to the last object of each."""
    columns = (
        outputs[name].numpy().tolist()
        for name in ("lengths", "names", "probability", "boxes")
    )
    for length, names, probability, boxes in zip(*columns, strict=True):
        names = [name.decode() for name in names[:length]]
        # Names of one letter follow each other closely.
        close = all(len(name) == 1 for name in names)
        yield {
            "sequence": ("" if close else " ").join(names),
            "names": names,
            "probability": probability,
            "boxes": boxes[:length],
        }


def _picture_of_record(path, record):
    """Name and content of a picture in a TFRecord file."""
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    try:
        features = tf.train.Example.FromString(record).features.feature
    except DecodeError:
        return path, b""

    def value(name):
        values = features[name].bytes_list.value
        return values[0] if values else b""

    return value(NAME).decode() or path, value(CONTENT)


def main(arguments=None):
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--model",
        required=True,
        help="the folder NAME/VERSION that has saved_model.pb",
    )
    pictures = parser.add_mutually_exclusive_group(required=True)
    pictures.add_argument(
        "--images", metavar="GLOB", help="picture files: PNG, JPEG, ..."
    )
    pictures.add_argument(
        "--tfrecord",
        metavar="GLOB",
        help=f"files of tf.train.Example with `{CONTENT}` and `{NAME}`",
    )
    parser.add_argument(
        "--out", required=True, metavar="PREFIX", help="of the answers' files"
    )
    parser.add_argument(
        "--bad",
        required=True,
        metavar="PREFIX",
        help="of the files that list what is no picture, and why",
    )
    parser.add_argument("--batch-size", type=int, default=BATCH_SIZE)
    run(*parser.parse_known_args(arguments))


if __name__ == "__main__":
    main()
