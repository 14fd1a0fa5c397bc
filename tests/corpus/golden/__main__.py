"""Writes tests/corpus/golden/*.txt anew; `git diff` then shows what a change does to the letters that we know."""

import os
import time

from tests.corpus import golden

os.environ["TZ"] = golden.ZONE
time.tzset()
golden.write()
