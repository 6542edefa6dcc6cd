# `make` alone lists the commands.
.DEFAULT_GOAL := help
SHELL := /bin/sh

AIRFLOW_PORT ?= 8080
MLFLOW_PORT ?= 5000
PORTS = --airflow-port $(AIRFLOW_PORT) --mlflow-port $(MLFLOW_PORT)
RUN = PYTHONPATH=dags .venv/bin/python -m
# Where an installation keeps its data. Only recipes use it, since they come after `install`.
HOME_FOLDER = $(or $(shell $(RUN) nucleus_dags.local.home),$(error the folder of the data is not known))
# Of the servers' home, whether they run or not.
AT_HOME = home='$(HOME_FOLDER)'; db="$$home/mlflow/mlflow.db"; \
	if [ -f "$$db" ]; then export MLFLOW_TRACKING_URI="sqlite:///$$db"; fi; .venv/bin/python -m
LOCK = --quiet --generate-hashes --override requirements.overrides --custom-compile-command "make lock"
IMAGES = cpu gpu airflow mlflow
TOOLS = stardist cellpose
TAG = dev
SBOM = $(or $(OUT),$(HOME_FOLDER)/sbom)
# What the images begin from.
BASE_IMAGE = $(shell sed -n 's/^ARG BASE_IMAGE=//p' images/Dockerfile)
IS_SUPPORTED = -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null

.PHONY: help demo up down status backup restore clean-up check-store clean-store lineage manifest tool annotation-library test test-long pictures test-cluster lint bench \
	bench-dsb2018 paper-plates paper-tables findings base-model images sbom install lock

help: ## list the commands
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "make %-14s %s\n", $$1, $$2 }'

demo: install ## segment and train on small synthetic plates and show the scores; PLATES=<folder of plates> takes your own
	@$(RUN) nucleus_dags.local.demo $(PORTS) $(if $(PLATES),--plates '$(PLATES)')

up: install ## start Airflow and MLflow; AIRFLOW_PORT=8080 MLFLOW_PORT=5000
	@$(RUN) nucleus_dags.local.servers up $(PORTS)

down: install ## stop them; a training resumes after its last cycle when they start again
	@$(RUN) nucleus_dags.local.servers down

status: install ## say what runs and where
	@$(RUN) nucleus_dags.local.servers status

backup: install ## copy store, databases, artefacts and inbox to TO=<folder>, while all works; again, it copies what is new
	@$(if $(TO),,echo "Give a folder for backups, best on another disk: make backup TO=<folder>" >&2; exit 1)
	@$(RUN) nucleus_dags.upkeep.backup save '$(TO)' $(if $(VOLUME),--volume '$(VOLUME)')

restore: install ## restore FROM=<folder of backups> where nothing is yet; AT=<backup>, default the newest
	@$(if $(FROM),,echo "Give a folder of backups: make restore FROM=<folder>" >&2; exit 1)
	@$(RUN) nucleus_dags.upkeep.backup restore '$(FROM)' $(if $(AT),--at '$(AT)') $(if $(VOLUME),--volume '$(VOLUME)') \
	  $(if $(filter yes,$(WITHOUT_DAMAGED)),--without-damaged)

clean-up: install ## list what is old in databases, logs and store; REALLY=yes removes it
	@$(RUN) nucleus_dags.upkeep.clean_up $(if $(VOLUME),--volume '$(VOLUME)') $(if $(filter yes,$(REALLY)),--really)

check-store: install ## find and name what is incomplete, altered or orphaned in the store
	@$(AT_HOME) tasks.store.check --store "$$home/store"

clean-store: install ## list what nothing refers to; REALLY=yes removes it
	@$(AT_HOME) tasks.store.check --store "$$home/store" --clean $(if $(filter yes,$(REALLY)),--really)

test: install ## all tests but the benchmarks, the longest and those that need a cluster
	.venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --ignore tests/benchmarks --ignore tests/cluster -m "not long"

lineage: install ## where a model comes from and what it segmented: MODEL=champion, MODEL=3 or PLATE=<name>
	@$(AT_HOME) tasks.store.lineage --store "$$home/store" $(if $(PLATE),--plate '$(PLATE)',--model '$(or $(MODEL),champion)')

manifest: install ## write down what tasks and methods say of themselves, for the DAGs
	.venv/bin/python -m tasks.manifest

tool: install ## install a third-party tool for the method "external": TOOL=stardist or TOOL=cellpose
	@[ -f 'tasks/methods/external/adapters/$(TOOL).lock' ] || { echo "TOOL=$(TOOL): give stardist or cellpose." >&2; exit 1; }
	@folder='$(HOME_FOLDER)/tools/$(TOOL)'; echo "Installing $(TOOL) into $$folder ..."; \
	.venv/bin/python -m venv "$$folder" && \
	"$$folder/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
	  -r 'tasks/methods/external/adapters/$(TOOL).lock'

annotation-library: install ## install an annotation tool's own library, for tests: TOOL=cvat, napari, ...
	@[ -f 'tests/annotation/sdk/$(TOOL).txt' ] || { echo "TOOL=$(TOOL): give one of $(basename $(notdir $(wildcard tests/annotation/sdk/*.txt)))." >&2; exit 1; }
	@folder='$(HOME_FOLDER)/annotation/$(TOOL)'; echo "Installing $(TOOL) into $$folder ..."; \
	.venv/bin/python -m venv "$$folder" && \
	"$$folder/bin/python" -m pip install --quiet --disable-pip-version-check -r 'tests/annotation/sdk/$(TOOL).txt'

test-long: install ## a laboratory's month in small, several methods in one run, killed servers; two to three hours
	.venv/bin/python -m pytest --ignore tests/benchmarks --ignore tests/cluster -m long

pictures: install ## take the pictures of dags/README.md anew, in a browser that does what it describes; some minutes
	NUCLEUS_PICTURES=dags/pictures .venv/bin/python -m pytest tests/end_to_end/test_page.py

test-cluster: install ## tests with pods of the cluster that KUBECONFIG names, with images of `make images`
	.venv/bin/python -m pytest tests/cluster

lint: install ## ruff and mypy
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

bench: install ## benchmarks, some minutes
	.venv/bin/python -m pytest tests/benchmarks --benchmark-only

base-model: install ## train the base model anew, for hours; resumes where it was; OUT=<folder> DATA=<folder of real images>
	.venv/bin/python -m tasks.recipes.base_model '$(or $(OUT),$(HOME_FOLDER)/base_model)' $(if $(DATA),--data '$(DATA)')
	.venv/bin/python -m tasks.manifest

paper-plates: install ## make plates of the paper's own images and labels: FROM=<folder of its authors>; they go into the inbox
	@$(if $(FROM),,echo "Give the folder with the authors' images and labels: make paper-plates FROM=<folder>" >&2; exit 1)
	@.venv/bin/python -m tasks.recipes.paper_plates '$(FROM)' '$(HOME_FOLDER)/inbox'

paper-tables: install ## run the paper's experiments and make its tables and figures; PLAN=yes SCALE=0.1 MATRIX=<name>
	@$(RUN) nucleus_dags.local.paper_tables $(PORTS) --scale $(or $(SCALE),1) --matrix '$(or $(MATRIX),paper)' \
	  $(if $(filter yes,$(PLAN)),--plan)

findings: install ## try the paper's findings in small and write them down, ten CPU hours; resumes; PLAN=yes HOURS=3 OUT=<folder> DATA=<images>
	@$(RUN) nucleus_dags.local.findings '$(or $(OUT),$(HOME_FOLDER)/findings)' dags/experiments \
	  $(if $(DATA),--data '$(DATA)') $(if $(filter yes,$(PLAN)),--plan) $(if $(HOURS),--hours '$(HOURS)')

bench-dsb2018: install ## train three times on real images and score, about three hours of CPU time; resumes
	.venv/bin/python -m tests.benchmarks.train_on_dsb2018 '$(HOME_FOLDER)/bench-dsb2018'

images: ## build the container images with docker, podman or buildah; TAG=dev, IMAGES="cpu gpu airflow mlflow", BASE_IMAGE=<another base>
	@for tool in docker podman buildah none; do $$tool info >/dev/null 2>&1 && break; done; \
	[ $$tool != none ] || { echo "Building images needs docker, podman or buildah, able to run." >&2; exit 1; }; \
	for image in $(IMAGES); do \
	  echo "Building nucleus-$$image:$(TAG) with $$tool ..."; \
	  BUILDAH_LAYERS=true $$tool build --file images/Dockerfile --tag nucleus-$$image:$(TAG) \
	    --build-arg IMAGE=$$image --build-arg BASE_IMAGE='$(BASE_IMAGE)' --build-arg COMMIT=$$(git rev-parse HEAD) . \
	    || exit 1; \
	done

sbom: install ## write a list of what is in each image, in CycloneDX's format; OUT=<folder>, TAG and BASE_IMAGE as for images
	@mkdir -p '$(SBOM)'; for image in $(IMAGES); do \
	  images/debian-packages.sh nucleus-$$image:$(TAG) >'$(SBOM)'/$$image.debian 2>/dev/null || rm '$(SBOM)'/$$image.debian; \
	done
	.venv/bin/python images/sbom.py '$(SBOM)' --base-image '$(BASE_IMAGE)' --commit "$$(git rev-parse HEAD)" $(IMAGES)

install: .venv/installed ## make the environment .venv; PYTHON=<a Python 3.11 to 3.13>

.venv/installed: requirements.lock
	@python='$(PYTHON)'; \
	if [ -z "$$python" ]; then \
	  for candidate in python3.12 python3.13 python3.11 python3; do \
	    if $$candidate $(IS_SUPPORTED); then python=$$candidate; break; fi; \
	  done; \
	fi; \
	if [ -z "$$python" ] || ! $$python $(IS_SUPPORTED); then \
	  echo "This needs Python 3.11, 3.12 or 3.13. Found: $${python:-none}; say where one is: make install PYTHON=/path/to/python3.12" >&2; \
	  exit 1; \
	fi; \
	echo "Installing into .venv with $$($$python --version) ..."; \
	if command -v uv >/dev/null 2>&1; then \
	  [ -x .venv/bin/python ] || uv venv --quiet --python "$$python" .venv || exit 1; \
	  uv pip sync --quiet --compile-bytecode --python .venv --require-hashes requirements.lock || exit 1; \
	else \
	  [ -x .venv/bin/pip ] || $$python -m venv .venv || exit 1; \
	  .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock || exit 1; \
	fi; \
	touch $@

lock: ## resolve requirements.txt into requirements.lock, and the lists of images and third-party tools into theirs; needs uv
	uv pip compile $(LOCK) --universal --python-version 3.11 requirements.txt -o requirements.lock
	for image in $(IMAGES); do \
	  uv pip compile $(LOCK) --python-version 3.12 --python-platform x86_64-manylinux_2_28 --constraint requirements.lock \
	    images/$$image/requirements.txt -o images/$$image/requirements.lock || exit 1; \
	done
	for tool in $(TOOLS); do \
	  uv pip compile $(LOCK) --universal --python-version 3.11 tasks/methods/external/adapters/$$tool.txt \
	    -o tasks/methods/external/adapters/$$tool.lock || exit 1; \
	done
