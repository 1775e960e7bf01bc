"""Every kind of refusal that a store is known to give, and the tests that hold what is made of it.

The table is the index of those tests: whoever takes one away, or gives it another name, is told here which kind of
refusal nobody looks at any more. What the tests themselves are worth is seen by breaking the code.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]

AWS, AWS_LOGIN, AWS_WRITER = (
    "unit/stores/test_aws.py",
    "unit/stores/test_aws_login.py",
    "unit/stores/test_aws_writer.py",
)
AWS_RENEWAL = "unit/stores/test_aws_renewal.py"
VAULT, VAULT_TRANSPORT = "unit/stores/test_vault.py", "unit/stores/test_vault_transport.py"
VAULT_FRESH, REAL_VAULT = "unit/stores/test_vault_fresh.py", "integration/test_vault.py"
AZURE, REAL_AZURE = "unit/stores/test_azure.py", "integration/test_azure.py"
FAULTS, GITHUB = "unit/sync/test_faults.py", "integration/test_github_client.py"

# By the store and what it answers: each test is FILE::TEST, or FILE::CLASS::TEST.
TABLE: dict[str, tuple[str, ...]] = {
    "AWS: throttling, too many requests, 5xx, a reset": (
        f"{AWS}::test_what_may_pass_is_tried_again",
        f"{AWS}::test_what_does_not_pass_ends_with_the_deadline",
    ),
    "AWS: ResourceNotFound": (f"{AWS}::test_what_is_not_there_is_missing",),
    "AWS: no version with the label AWSCURRENT": (f"{AWS}::test_what_is_not_there_is_missing",),
    "AWS: scheduled for deletion": (
        f"{AWS}::test_what_is_not_there_is_missing",
        f"{AWS_WRITER}::test_what_aws_has_against_a_new_secret_is_said_at_once",
    ),
    "AWS: AccessDenied for the secret, for its KMS key, DecryptionFailure": (
        f"{AWS}::test_a_refusal_says_what_to_do_and_is_not_repeated",
        f"{AWS_LOGIN}::test_a_refused_role_shows_the_claims_beside_the_conditions",
    ),
    "AWS: ExpiredToken while reading": (
        f"{AWS_RENEWAL}::test_a_read_goes_on_with_a_new_session_and_a_fresh_id_token",
        f"{AWS_RENEWAL}::test_a_session_that_is_over_again_is_the_error",
    ),
    "AWS: ExpiredToken, InvalidIdentityToken at the login": (
        f"{AWS_LOGIN}::test_a_token_out_of_time_is_replaced_and_tried_again",
        f"{AWS_LOGIN}::test_a_token_that_stays_out_of_time_is_an_error_with_the_claims_and_the_clock",
    ),
    "AWS: clocks that differ": (
        f"{AWS}::test_a_wrong_clock_is_told_by_the_date_of_the_answer",
        f"{AWS}::test_a_wrong_clock_is_told_without_a_date_too",
    ),
    "AWS: a quota that is full": (f"{AWS_WRITER}::test_what_aws_has_against_a_new_secret_is_said_at_once",),
    "Vault: 503 sealed, 501 not initialised, 502": (
        f"{VAULT}::test_a_vault_that_is_down_is_asked_why",
        f"{VAULT}::test_each_refusal_has_its_text",
        f"{REAL_VAULT}::test_a_sealed_vault_is_waited_for_and_then_named",
    ),
    "Vault: 429 for a quota, 412 before a write has arrived": (
        f"{VAULT_TRANSPORT}::test_what_passes_is_tried_again",
        f"{VAULT_TRANSPORT}::test_retry_after_is_honoured_up_to_a_limit",
        f"{VAULT_TRANSPORT}::test_dynamic_credentials_are_asked_for_again_while_vault_has_not_begun",
    ),
    "Vault: 472 and 473 of standbys": (
        f"{VAULT_TRANSPORT}::test_what_passes_is_tried_again",
        f"{VAULT}::test_each_refusal_has_its_text",
    ),
    "Vault: 307 to the leader": (
        f"{VAULT_TRANSPORT}::test_the_hop_from_a_standby_to_its_leader_is_made",
        f"{VAULT_TRANSPORT}::test_there_is_no_second_hop",
        f"{VAULT_TRANSPORT}::test_no_other_redirect_is_followed",
    ),
    "Vault: 403": (
        f"{VAULT}::test_a_denied_read_names_the_rule_to_write",
        f"{VAULT}::test_a_denied_listing_names_the_rule_to_write",
        f"{REAL_VAULT}::test_denials_name_the_rule",
    ),
    "Vault: 403 right after the login": (
        f"{VAULT_FRESH}::test_a_denial_right_after_the_login_is_asked_once_more",
        f"{VAULT_FRESH}::test_a_denial_that_stays_says_the_same_and_the_next_cost_no_wait",
    ),
    "Vault: 404 that is empty, deleted, destroyed": (
        f"{VAULT}::test_what_is_missing_is_told_apart",
        f"{REAL_VAULT}::test_versions_are_read_deleted_and_destroyed",
    ),
    "Vault: version 1 taken for version 2, and the other way round": (
        f"{VAULT}::test_the_mount_is_found_by_shape_where_vault_does_not_tell",
        f"{VAULT}::test_a_denied_path_of_the_api_says_so",
        f"{VAULT}::test_a_version_is_refused_where_there_are_none",
    ),
    "Azure: 404 SecretNotFound, soft-deleted": (
        f"{REAL_AZURE}::TestRefused::test_what_is_not_there_is_told_apart",
        f"{REAL_AZURE}::TestRefused::test_without_the_right_to_see_deleted_secrets_it_is_just_not_there",
    ),
    "Azure: 409 ObjectIsDeletedButRecoverable": (
        f"{AZURE}::TestRefusals::test_a_name_that_a_deleted_secret_has_is_taken",
        "integration/test_migrate.py::test_azure_has_a_secret_for_each_key",
    ),
    "Azure: 403 by firewall, role, state, dates": (
        f"{REAL_AZURE}::TestRefused::test_each_kind_of_forbidden_has_its_remedy",
        f"{REAL_AZURE}::TestRefused::test_the_kinds_are_all_tested",
        f"{REAL_AZURE}::TestRefused::test_a_denial_is_not_tried_again_whatever_it_asks_for",
    ),
    "Azure: 401 again and again": (
        f"{REAL_AZURE}::TestRefused::test_a_token_that_the_vault_does_not_take_is_not_sent_for_ever",
        f"{REAL_AZURE}::TestRefused::test_a_vault_of_another_tenant_is_said_to_be_one",
        f"{AZURE}::TestRefusals::test_a_token_that_is_not_accepted_names_the_tenant",
    ),
    "GitHub: 403 not accessible by integration": (
        f"{FAULTS}::test_the_job_s_own_token_can_never_do_it",
        f"{FAULTS}::test_a_missing_permission_is_named_as_github_s_pages_name_it",
    ),
    "GitHub: 404 where there is no access": (f"{FAULTS}::test_all_four_meanings_of_a_404_are_told",),
    "GitHub: 422 for a key that has changed": (
        f"{GITHUB}::test_a_key_that_changes_between_is_read_once_more",
        f"{GITHUB}::test_a_key_that_is_refused_again_is_told",
    ),
    "any: 200 with HTML, bad JSON, another form": (
        f"{AWS}::test_an_answer_of_another_form_is_an_error_that_shows_none_of_it",
        f"{AWS}::test_an_answer_without_a_value_may_be_followed_by_one_with_it",
        f"{VAULT_TRANSPORT}::test_what_is_not_vaults_json_is_an_error",
        f"{REAL_AZURE}::TestFaults::test_what_stays_is_one_error",
        f"{GITHUB}::test_a_listing_of_another_form_is_no_listing",
    ),
}


@cache
def written_in(file: str) -> frozenset[str]:
    """Return the tests in a file, those of a class after its name."""
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    for group in tree.body:
        if isinstance(group, ast.ClassDef):
            names += [f"{group.name}::{node.name}" for node in group.body if isinstance(node, ast.FunctionDef)]
    return frozenset(names)


@pytest.mark.parametrize("row", TABLE)
def test_every_kind_of_refusal_has_its_tests(row: str) -> None:
    named = [test.partition("::") for test in TABLE[row]]
    assert named
    assert [f"{file}::{name}" for file, _, name in named if name not in written_in(file)] == []
    assert all(name.rpartition("::")[2].startswith("test_") for _, _, name in named)


def test_a_test_that_is_not_there_is_noticed() -> None:
    assert "test_that_nobody_wrote" not in written_in(AWS)
    assert "test_what_is_not_there_is_missing" in written_in(AWS)
    assert "TestRefused::test_the_kinds_are_all_tested" in written_in(REAL_AZURE)
    assert "test_the_kinds_are_all_tested" not in written_in(REAL_AZURE)
