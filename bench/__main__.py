"""``python -m bench``: our arms and the peers' in one run, taking turns; proves, measures, prints, writes the results.

make bench                                   everything: see the README for how long it takes
make bench ROWS=dpo STEPS=3                  one row, few rounds
make bench ROWS=dpo,sft KINDS=short PRECISION=fp32
make bench-gpu                               the same on a GPU in bf16 with a random 0.5B model
"""

import os
import signal
import sys
import warnings

# Before torch starts its threads, and as in the arms.
os.environ.setdefault("GOMP_SPINCOUNT", "20000")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
if not any("cuda" in argument for argument in sys.argv):
    os.environ["CUDA_VISIBLE_DEVICES"] = ""

warnings.simplefilter("ignore")  # what libraries say about their own futures
from bench.command import main  # noqa: E402

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the arms too, as Ctrl-C does
    sys.exit(main(sys.argv[1:]))
