"""SECURITY.md says what holds each promise, and packages are what they were."""

import ast
import re

import pytest

from tests.repository import REPOSITORY

TEXT = (REPOSITORY / "SECURITY.md").read_text()
PROMISES = TEXT.partition("## What is promised")[2].partition("## What isn't promised")[0]
TOOLS = REPOSITORY / "tasks/methods/external/adapters"
LOCKS = sorted(
    [REPOSITORY / "requirements.lock", *REPOSITORY.glob("images/*/requirements.lock"), *TOOLS.glob("*.lock")]
)


HOLDS = {
    "tests/annotation/test_data_pickle.py": ["a_pickle_that_runs_a_command_is_refused_and_nothing_runs"],
    "tests/annotation/test_image_files.py": ["a_label_image_of_more_pixels_than_a_field_has_is_refused_by_its_header"],
    "tests/annotation/test_outlines.py": ["outlines_that_cannot_be_are_refused_before_they_take_memory"],
    "tests/annotation/test_package.py": [
        "archives_with_links_or_paths_out_of_them_leave_nothing_behind",
        "a_pipe_in_the_place_of_an_answer_keeps_nobody_waiting",
        "bombs_are_refused_before_they_are_unpacked",
    ],
    "tests/annotation/test_supervisely.py": ["what_cannot_be_read_is_refused_with_the_file"],
    "tests/annotation/test_text_files.py": ["what_cvat_does_not_write_is_refused_with_the_file"],
    "tests/cluster/test_rights.py": ["a_task_changes_nothing_of_the_store_but_its_own", "a_task_cannot_run_as_root"],
    "tests/cluster/test_train_models.py": ["a_person_may_do_what_their_role_allows_until_the_account_is_taken_away"],
    "tests/dags/access/test_approval.py": ["only_people_who_are_named_are_asked"],
    "tests/dags/access/test_auth_manager.py": [
        "a_role_starts_what_it_may_and_sees_the_rest",
        "a_role_that_changes_an_account_that_is_taken_away_and_a_new_password_count_at_once",
        "people_who_are_named_approve_alone_and_nobody_gets_around_them",
    ],
    "tests/dags/access/test_oidc.py": ["nobody_else_comes_in", "a_token_that_another_key_signed_lets_nobody_in"],
    "tests/dags/launchers/test_pods.py": ["a_task_writes_to_its_own_results_and_its_receipt_alone"],
    "tests/dags/local/test_servers.py": [
        "the_servers_listen_on_this_machine_only",
        "every_installation_has_a_password_of_its_own_that_stays",
        "no_other_user_of_the_machine_reads_passwords_keys_and_databases",
        "airflow_answers_under_the_names_of_this_machine_alone",
    ],
    "tests/dags/page/test_results.py": [
        "what_is_not_of_a_result_is_not_given",
        "a_result_that_names_a_file_elsewhere_is_not_shown",
    ],
    "tests/dags/planning/test_inspect_plate.py": ["any_other_folder_is_refused"],
    "tests/dags/planning/test_retrain_champion.py": ["what_the_form_says_of_the_approval_goes_before_the_gate"],
    "tests/dags/planning/test_segment_plate.py": ["a_name_that_leads_out_of_the_store_is_no_plate"],
    "tests/dags/plates/test_inbox.py": ["a_plate_that_links_to_all_of_the_machine_arrives_without_being_followed"],
    "tests/dags/plates/test_no_plate.py": ["a_link_out_of_a_folder_is_not_followed_and_who_put_it_there_is_told"],
    "tests/dags/plates/test_plate_json.py": [
        "what_is_put_in_the_place_of_a_plate_json_keeps_nobody_from_the_other_plates"
    ],
    "tests/dags/plates/test_returned.py": ["a_pipe_in_the_inbox_keeps_nobody_waiting"],
    "tests/dags/plates/test_stored.py": ["a_path_that_is_not_one_of_an_imported_plate_is_not_read"],
    "tests/dags/plates/test_uploads.py": [
        "an_archive_with_a_path_out_of_it_is_refused_and_leaves_nothing",
        "some_of_the_disk_stays_free",
        "any_other_folder_of_the_server_is_refused",
        "a_plate_is_handed_over_whole_under_its_name",
    ],
    "tests/dags/test_retrain_champion.py": [
        "the_outcome_is_told_in_one_sentence_with_who_decided_and_a_failure_has_none"
    ],
    "tests/methods/external/test_command.py": ["a_tool_changes_nothing_elsewhere_and_reads_what_it_likes"],
    "tests/nuclei/plates/test_file_kinds.py": ["a_file_that_is_no_image_or_has_no_good_name_is_refused_in_one_line"],
    "tests/nuclei/plates/test_untrusted_plates.py": [
        "a_link_that_leads_out_of_a_plate_is_refused_by_name",
        "paths_in_ome_zarr_that_lead_out_are_refused",
        "what_is_not_a_file_in_a_plate_is_refused_by_name_and_keeps_nobody_waiting",
        "tables_of_a_plate_are_its_own_files_whoever_looks_at_them_first",
        "nothing_that_arrives_is_decoded_beyond_the_bound",
        "files_of_a_plate_that_arrives_are_read_in_one_place",
    ],
    "tests/nuclei/test_inside.py": ["a_path_that_leads_out_is_refused_by_its_text"],
    "tests/nuclei/test_tables.py": ["texts_that_a_spreadsheet_would_run_are_written_as_text_and_read_as_they_were"],
    "tests/steps/test_report.py": ["names_are_escaped_in_the_page"],
    "tests/store/test_attempts.py": [
        "a_plate_whose_import_was_killed_three_times_is_refused_with_what_to_do_then_tried_anew"
    ],
    "tests/dags/test_in_store.py": ["a_path_that_leads_out_of_the_store_is_refused"],
    "tests/store/test_ways_out.py": [
        "no_step_follows_a_path_that_leads_out_of_the_store",
        "the_name_of_a_tool_is_no_path",
        "a_tag_of_a_model_version_that_is_no_key_is_refused_and_names_the_version",
        "nothing_joins_the_store_and_a_path_but_in_the_place_that_checks_it",
    ],
    "tests/test_documentation.py": ["no_page_has_a_person_put_a_secret_among_the_arguments_of_a_command"],
    "tests/test_images.py": ["the_list_of_what_is_in_an_image_has_every_package_of_its_lock_with_its_hashes"],
    "tests/test_k8s.py": [
        "no_secret_is_in_the_repository",
        "no_command_of_the_cluster_has_a_secret_among_its_arguments",
        "nothing_may_talk_to_anything_but_for_what_is_named",
        "names_are_asked_for_at_the_clusters_own_name_servers_alone",
    ],
    "tests/test_mlflow_login.py": [
        "nobody_gets_in_without_the_right_password",
        "another_account_looks_and_searches_but_makes_no_model_the_champion",
    ],
    "tests/test_secrets_of_a_cluster.py": [
        "secrets_are_random_and_no_command_has_them_among_its_arguments",
        "a_person_gets_an_account_with_a_random_password_of_which_only_the_hash_is_kept",
    ],
    "tests/test_security.py": ["every_package_is_named_with_its_hashes_which_are_required"],
}
"""The tests that hold the promises, by the files that SECURITY.md names; each without `test_`."""


def test_every_promise_is_held_by_tests_that_are_there() -> None:
    rows = [line for line in PROMISES.splitlines() if line.startswith("| ")][1:]
    named = [re.findall(r"`(tests/[\w/]+\.py)`", row.rpartition(" | ")[2]) for row in rows]
    assert [row for row, files in zip(rows, named, strict=True) if not files] == []
    assert {file for files in named for file in files} == HOLDS.keys()


@pytest.mark.parametrize("file", HOLDS)
def test_the_tests_that_hold_a_promise_are_there(file) -> None:
    defined = {node.name for node in ast.parse((REPOSITORY / file).read_text()).body if hasattr(node, "name")}
    assert [name for name in HOLDS[file] if f"test_{name}" not in defined] == []


def test_the_bounds_in_the_text_are_those_of_the_code() -> None:
    from tasks.annotation import package
    from tasks.nuclei.plates.file_kinds import MAX_FIELD_BYTES
    from tasks.nuclei.plates.raster import MAX_FIELD_PIXELS
    from tasks.store.attempts import MOST_CRASHES

    assert f"at most {MAX_FIELD_PIXELS:,} px" in TEXT
    assert f"at most {MAX_FIELD_BYTES:,} bytes" in TEXT
    assert f"allowed are {package.MOST_FILES:,} files and {package.MOST_BYTES:,} bytes" in TEXT
    assert MOST_CRASHES == 3
    assert "after three crashes" in TEXT


@pytest.mark.parametrize("lock", sorted(LOCKS), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_package_is_named_with_its_hashes_which_are_required(lock) -> None:
    entries = re.split(r"\n(?=\S)", re.sub(r"(?m)^\s*#.*\n", "", lock.read_text()).strip())
    packages = [entry for entry in entries if "==" in entry.splitlines()[0]]
    assert len(packages) > 5
    assert [entry.splitlines()[0] for entry in packages if "--hash=sha256:" not in entry] == []
    for file in ("Makefile", "images/Dockerfile"):
        assert "--require-hashes" in (REPOSITORY / file).read_text(), file


@pytest.mark.parametrize("wanted", sorted(TOOLS.glob("*.txt")), ids=lambda path: path.stem)
def test_a_third_party_tool_is_installed_as_it_is_locked(wanted) -> None:
    lock = wanted.with_suffix(".lock").read_text()
    for package in re.findall(r"(?m)^[a-z0-9_]+==\S+$", wanted.read_text()):
        assert f"\n{package.replace('_', '-')} \\\n" in lock, package
    makefile = (REPOSITORY / "Makefile").read_text()
    recipe = makefile.partition("\ntool: ")[2].partition("\n\n")[0]
    assert "--no-deps --require-hashes" in recipe
    assert recipe.count("adapters/$(TOOL).lock") == 2
    [locked] = re.findall(r"(?m)^TOOLS = (.*)$", makefile)
    assert wanted.stem in locked.split()
