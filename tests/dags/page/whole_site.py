"""A site with something of every kind that pages read, and the addresses of all of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import tifffile
from fastapi.dependencies.utils import get_flat_dependant
from fastapi.routing import APIRoute

from nucleus_dags.page.app import app
from nucleus_dags.plates.uploads import new_upload
from tests.dags.page.filled_store import add_drift
from tests.dags.page.inspections import run_next_inspection
from tests.dags.page.recorded_runs import RecordedRun
from tests.dags.page.registered_models import add_judgement, add_model, add_scores, key_of, result
from tests.dags.page.segmented import B07_1, Segmented
from tests.dags.page.sent_annotations import JPEG, add_answer, add_sent
from tests.dags.page.site import Site
from tests.fields import round_nuclei

Addresses = dict[str, dict[str, Any]]
"""By the beginning of the templates of addresses, what their parameters are."""


def fill(site: Site, segmented: Segmented) -> list[str]:
    """Put it into the site's store and inbox; gives an address for every route that shows something."""
    store = site.home.store
    result_key = segmented.put(store, name="p", role="test", ome_zarr=True)
    [plate] = [path.relative_to(store).as_posix() for path in store.glob("ingest/p@*")]
    for number in (1, 2):
        add_model(store, number, [plate], number - 1 or None)
        add_scores(store, number, [plate])
        result(store, f"find_model/{number}", {}, values={"model": {"key": key_of(number), "version": number}})
    add_drift(store, "c" * 16, plate, ["It is darker."])
    request = add_sent(store, 1, plate, patches=2)
    figure = result(store, f"learning_curves/{key_of(9)}", {}, {"figure": "curves.jpg"}, values={})
    (figure / "curves.jpg").write_bytes(JPEG)
    run = RecordedRun(site, "train_models")
    network = f"train_fpn2_ws/{key_of(1)}"
    (store / network / "history.json").write_text('[{"cycle": 1, "loss": 0.1, "validation_loss": 0.2, "seconds": 9}]')
    run.receipt("train", 0, task="train_fpn2_ws", outputs={"network": network})
    inspected, upload = _inspected(site)
    [preview] = [path.name for path in store.glob("inspect_plate/*/previews/*")]
    in_field = {"field": B07_1, "y": 9, "x": 9}
    known: Addresses = {
        "/": {},
        "/plates": {"name": "p", "digest": plate.rpartition("@")[2]},
        "/plates/-": {"upload": upload, "run": inspected, "file": preview},
        "/runs": {"dag_id": run.dag_id, "run_id": run.run_id},
        "/models": {"version": 1, "a": 1, "b": 2},
        "/models/judged": {"key": add_judgement(store, 1, 2), "figure": "gained"},
        "/results": {"plate": "p", "model": "v3", "key": result_key, "name": "nuclei.csv", **in_field},
        "/annotate": {"key": request, "queue": request, "rank": "0001"},
        "/annotate/corrections": {"key": add_answer(store, 2, request, kept=9)},
        "/annotate/curves": {"key": key_of(9)},
    }
    return list(_addresses(known))


def _addresses(known: Addresses) -> Iterator[str]:
    for route in app.routes:
        if isinstance(route, APIRoute) and "GET" in route.methods:
            values = next(known[begin] for begin in sorted(known, reverse=True) if route.path.startswith(begin))
            asked = get_flat_dependant(route.dependant)
            query = [field.name for field in asked.query_params if field.field_info.is_required()]
            yield route.path.format(**values) + "?" + urlencode({name: values[name] for name in query})


def _inspected(site: Site) -> tuple[str, str]:
    """Leave an upload that was looked at; gives the ids of the run and of the upload."""
    upload = new_upload(site.home.inbox, "new")
    (upload.folder / "images").mkdir()
    tifffile.imwrite(upload.folder / "images/a.tif", round_nuclei(1, (64, 64), 2)[0])
    run = site.api.trigger("inspect_plate", {"folder": upload.path})
    run_next_inspection(site)
    return run, upload.id
