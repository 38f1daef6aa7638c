"""`python -m keras_edram.cli` is `keras-edram`."""

import sys

from keras_edram import cli

sys.exit(cli.main())
