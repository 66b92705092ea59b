# make demo    set up, start everything, seed the demo, print a sign-in link; Ctrl-C stops it all
# make test    set up, then every check and every test: what .ci/run runs
# make check   the checks alone, without the tests
# make bench   ours beside its peers on this machine; ROWS=dpo STEPS=3 measures one row with few rounds
# make bench-gpu   the same on a GPU
# make bench-data  import and export: PAIRS=1000000 in, VOTED=100000 in with their votes and out in every format
# make bench-queue   the labelling queue under load: a crowd that is killed at random, then speed at a million comparisons
#
# PORT=8001 moves the demo to another port, PYTHON=/path/to/python3 names the Python to build .venv with.

PORT = 8000
RUN = .venv/bin/python
SETUP = python=`sh tools/python.sh` && "$$python" tools/setup.py

# Of the hundred processes that the tests start none shall compile what another one has compiled.
unexport PYTHONDONTWRITEBYTECODE

# What the bench measures; empty means all of it, or as much as suits. See the README's performance section.
ROWS =
KINDS =
ARMS =
PRECISION =
STEPS = 0
DATA =
BENCH = -m bench --rows "$(ROWS)" --kinds "$(KINDS)" --arms "$(ARMS)" --steps "$(STEPS)" --data "$(DATA)"
MODEL = 0.5b
PAIRS = 1000000
VOTED = 100000

.PHONY: demo test check bench bench-gpu bench-queue bench-data

demo:
	@$(SETUP) demo
	@exec $(RUN) manage.py up --demo --port $(PORT)

test:
	@$(SETUP) test
	@$(SETUP) browser
	@$(RUN) tools/checks.py -m pytest --numprocesses logical --maxprocesses 4 --dist loadscope --no-loadscope-reorder

check:
	@$(SETUP) test
	@$(RUN) tools/checks.py

bench:
	@$(SETUP) bench
	@$(RUN) $(BENCH) --precision "$(PRECISION)"

bench-gpu:
	@$(SETUP) bench
	@$(RUN) $(BENCH) --precision bf16 --device cuda --model $(MODEL)

bench-data:
	@$(SETUP) demo
	@$(RUN) -m bench.import_export --pairs $(PAIRS) --voted $(VOTED)

bench-queue:
	@$(SETUP) test
	@$(RUN) -m bench.queue_load --write bench/results/queue.json
