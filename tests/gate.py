"""The whole gate in three processes at once, for tests wait more than they work (`make test`).

One runs what uses a stack that is shared; one what kills programs and waits for what they had
leased, and a part of the first one's besides; one what starts programs of its own, and enough
besides to end with the first. All are plain pytest. What the others say comes after the first, and
the last line sums all up.

A few files with failed tests are asked once more, alone: what a busy machine alone turned red is
named `flaky` in the last lines, and does not hide what is broken.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Final

from devstack.options import ROOT

KILLING: Final = (
    "tests/integration/faults",
    "tests/integration/upgrade",
    "tests/integration/operators",
    "tests/integration/timeline",
    "tests/integration/workflows",
    "tests/integration/changes",
    "tests/integration/integrity",
    "tests/integration/dunning/test_customer_pauses.py",
    "tests/integration/dunning/test_many_open_invoices.py",
    "tests/integration/dunning/test_recovery.py",
    "tests/integration/reversals",
)
STARTING: Final = (
    "tests/test_architecture.py",
    "tests/test_determinism.py",
    "tests/test_documents.py",
    "tests/test_gate.py",
    "tests/test_layers.py",
    "tests/test_mutants.py",
    "tests/test_noted.py",
    "tests/test_text_ranges.py",
    "tests/test_time.py",
    "tests/unit",
    "tests/replay",
    "clients/python/tests",
    "tests/integration/rebuild",
    "tests/integration/credits",
    "tests/integration/walk",
    "tests/integration/payments",
    "tests/integration/arrears",
    "tests/integration/coupons",
    "tests/integration/taxes",
    "tests/integration/invoices",
)
KILLS: Final = "tests/integration/faults/test_kills.py"
FAST_PATH: Final = "tests/integration/usage/test_fast_path.py"
EARLY: Final = "tests/integration/changes/test_early_renewals.py"
PRODUCTION: Final = "tests/integration/stack/test_production.py"
WHOLE: Final = (
    "tests/integration/client",
    "tests/integration/packaging/test_client_wheel.py",
    "tests/integration/packaging/test_containers.py",
    "tests/integration/packaging/test_postgres_tls.py",
    "tests/integration/insight/test_other_locale.py",
    "tests/integration/sandbox",
    "tests/integration/timeline/test_future_lives.py",
    "tests/integration/workflows/test_lives_in_rows.py",
    "tests/integration/workflows/test_state_table.py",
    "tests/integration/usage/test_soak.py",
    "tests/integration/usage/test_months_away.py",
    "tests/integration/credits/test_soak.py",
    "tests/integration/credits/test_batches.py",
    "tests/integration/payments/test_two_flows.py",
    "tests/integration/payments/test_canceled_purchases.py",
    "tests/integration/payments/test_reading_payments.py",
    "tests/integration/dunning/test_small_rests.py",
    "tests/integration/operators/test_inbox.py",
    "tests/integration/stack/test_traces.py",
    "tests/integration/stack/test_stack_refuses.py",
    "tests/integration/stack/test_stack_survives.py",
    "tests/integration/stack/test_programs.py",
    "tests/integration/stack/test_commands.py",
    "tests/integration/rebuild/test_commands.py",
    "tests/integration/rebuild/test_rebuild.py",
    "tests/integration/rebuild/test_restore.py",
    "tests/integration/invoices/test_operating.py",
    "tests/integration/dunning/test_unpaid_days.py",
    "tests/integration/payments/test_manual_beside_dunning.py",
    "tests/integration/arrears/test_unpaid_uses.py",
    "tests/integration/payment_methods/test_account_matter.py",
    "tests/integration/workflows/test_intervals.py",
    "tests/integration/faults/test_parts_away.py",
    "tests/integration/faults/test_event_orders.py",
    "tests/integration/workflows/test_yearly_credits.py",
    "tests/integration/workflows/test_long_lives.py",
    "tests/integration/timeline/test_future.py",
    "tests/integration/faults/test_usage_survives.py",
    "tests/integration/credits/test_hold_ways.py",
    "tests/integration/arrears/test_tiered_overage.py",
    "tests/integration/arrears/test_free_overage.py",
    "tests/integration/arrears/test_single_charges.py",
    "tests/integration/faults/test_provider_faults.py::test_whatever_stripe_does_it_is_done_once",
    "tests/integration/arrears/test_voids.py",
    "tests/integration/coupons/test_nothing_renews_nothing.py",
    "tests/integration/usage/test_tiered_prices.py",
    "tests/integration/reversals/test_outside.py",
    "tests/integration/reversals/test_credits_of_others.py",
    "tests/integration/reversals/test_disputed_cards.py",
    "tests/integration/changes/test_golden_changes.py",
    "tests/integration/walk/test_walk.py",
    "tests/integration/payments/test_pay_page_in_browser.py",
    "tests/integration/payments/test_manual.py",
    "tests/integration/payments/test_late_reports.py",
    "tests/integration/workflows/test_subscriptions.py",
    "tests/integration/coupons/test_coupons.py",
    "tests/integration/upgrade/test_partitioning.py",
    "tests/integration/upgrade/test_upgrade.py",
    "tests/integration/stack/test_first_integration.py",
    "tests/integration/operators/test_parking.py",
    "tests/integration/rebuild/test_waiting_rows.py",
    "tests/integration/rebuild/test_unknown_before.py",
    f"{PRODUCTION}::test_a_program_with_too_many_rights_ends_with_one_sentence",
    f"{PRODUCTION}::test_a_program_that_postgres_has_no_room_for_ends_with_one_sentence[program1]",
    f"{PRODUCTION}::test_a_program_that_postgres_has_no_room_for_ends_with_one_sentence[program0]",
    (
        "tests/integration/stack/test_stack_serves.py"
        "::test_migrating_again_changes_nothing_even_from_two_places"
    ),
    "tests/integration/rebuild/test_workflow_check.py",
    (
        "tests/integration/reversals/test_refunds.py"
        "::test_an_operator_gives_money_back_by_the_command_line"
    ),
    "tests/integration/workflows/test_passes.py",
    "tests/integration/workflows/test_updates_in_place.py",
    (
        "tests/integration/dunning/test_recovery.py"
        "::test_fifteen_declines_in_thirty_days_are_the_most_a_card_gets"
    ),
    "tests/integration/stack/test_programs_refuse.py",
    "tests/integration/stack/test_builds.py",
    "tests/integration/stack/test_step_back.py",
    "tests/integration/upgrade/test_prepared.py",
    "tests/integration/upgrade/test_kinds_of_notes.py",
    "tests/integration/operators/test_locks.py",
    "tests/integration/changes/test_given_days.py",
    "tests/integration/changes/test_long_trials.py",
    "tests/integration/dunning/test_slots.py",
    "tests/integration/dunning/test_unpaid_minimum.py",
    "tests/integration/arrears/test_add_ons.py",
    "tests/integration/arrears/test_contracts.py",
    "tests/integration/arrears/test_contract_periods.py",
    "tests/integration/arrears/test_contract_currencies.py",
    "tests/integration/arrears/test_small_changes.py",
    "tests/integration/arrears/test_minimum_and_money_back.py",
    "tests/integration/payments/test_cancels.py",
    "tests/integration/credits/test_rollover_lives.py",
    "tests/integration/usage/test_cut_cycles.py",
    "tests/integration/changes/test_levels.py",
    "tests/integration/changes/test_refunded_ends.py",
    "tests/integration/changes/test_given_back.py",
    "tests/integration/changes/test_late_money.py",
    "tests/integration/changes/test_replaced_credits.py",
    "tests/integration/changes/test_wrong_prices.py",
    "tests/integration/changes/test_price_moves.py",
    "tests/integration/changes/test_terms_of_their_time.py",
    "tests/integration/changes/test_used_allowance.py",
    "tests/integration/changes/test_used_meanwhile.py",
    "tests/integration/changes/test_notes_within.py",
    "tests/integration/arrears/test_thresholds.py",
    "tests/integration/arrears/test_agreed_limits.py",
    "tests/integration/arrears/test_unpaid_overage.py",
    "tests/integration/arrears/test_offered_charges.py",
    "tests/integration/arrears/test_never_paid.py",
    "tests/integration/arrears/test_charged_anew.py",
    "tests/integration/arrears/test_charges_away.py",
    "tests/integration/arrears/test_scheduled_add_ons.py",
    "tests/integration/payments/test_bank_debits.py",
    "tests/integration/payments/test_card_rules.py",
    "tests/integration/payments/test_transfers.py",
    "tests/integration/payments/test_events_of_moved_payments.py",
    "tests/integration/payments/test_switched_off.py",
    "tests/integration/payments/test_whole_steps.py",
    "tests/integration/dunning/test_debts_given_up.py",
    "tests/integration/dunning/test_small_rests.py",
    "tests/integration/dunning/test_pay_overdue.py",
    "tests/integration/dunning/test_backup_card.py",
    "tests/integration/dunning/test_bulk_acts.py",
    "tests/integration/dunning/test_several_invoices.py",
    "tests/integration/usage/test_one_month.py",
    "tests/integration/usage/test_voids.py",
    "tests/integration/usage/test_dry_run.py",
    "tests/integration/credits/test_rollover.py",
    "tests/integration/payment_methods/test_named_cards.py",
    "tests/integration/payment_methods/test_portal.py",
    "tests/integration/payment_methods/test_expiring_cards.py",
    "tests/integration/payment_methods/test_keeping_cards.py",
    "tests/integration/workflows/test_outages.py",
    "tests/integration/workflows/test_trial_ends.py",
    "tests/integration/workflows/test_retention.py",
    "tests/integration/workflows/test_steps_apart.py",
    "tests/integration/changes/test_previews.py",
    "tests/integration/changes/test_periods.py",
    "tests/integration/changes/test_endings.py",
    "tests/integration/changes/test_seats.py",
    "tests/integration/changes/test_unpaid_changes.py",
    "tests/integration/dunning/test_dunning_commands.py",
    "tests/integration/dunning/test_debtors.py",
    "tests/integration/dunning/test_refused_payments.py",
    "tests/integration/taxes/test_vat_ids.py",
    "tests/integration/payments/test_pay_page.py",
    "tests/integration/payments/test_paypal.py",
    "tests/integration/faults/test_races.py",
    "tests/integration/insight/test_recounting.py",
    "tests/integration/credits/test_ledger_model.py",
    "tests/integration/credits/test_debit_ways.py",
    "tests/integration/invoices/test_reading_invoices.py",
    "tests/integration/overview/test_overview.py",
    "tests/integration/integrity/test_hourly.py",
    "tests/integration/integrity/test_free_credits.py",
    "tests/integration/integrity/test_openings.py",
    "tests/integration/workflows/test_schedules.py",
    "tests/integration/operators/test_walls.py",
    "tests/integration/taxes/test_tax_provider.py",
    "tests/integration/arrears/test_prices_of_their_time.py",
    "tests/unit/api/test_tracing.py::test_without_a_collector_nothing_of_the_sdk_is_loaded",
    "tests/integration/operators/test_mistyped.py",
    "tests/integration/operators/test_halted_acts.py",
    "tests/integration/usage/test_agreed_limits.py",
    "tests/integration/usage/test_given_back.py",
    "tests/integration/api/test_long_histories.py",
    "tests/integration/catalog/test_open_currency.py",
    "tests/integration/changes/test_pauses.py",
    "tests/integration/changes/test_bound_previews.py",
    "tests/integration/reversals/test_moved_money.py",
    "tests/integration/payments/test_money_balance.py",
    "tests/integration/arrears/test_paid_both_ways.py",
    "tests/integration/arrears/test_use_of_its_plan.py",
    "tests/integration/coupons/test_changes_with_coupons.py",
    "tests/integration/changes/test_given_back_meanwhile.py",
    "tests/integration/credits/test_rollover_room.py",
    "tests/integration/payments/test_refused_looks.py",
    "tests/integration/operators/test_matters.py::test_the_providers_event_frees_a_halted_matter",
    (
        "tests/integration/operators/test_left_events.py"
        "::test_the_owner_of_a_stray_is_looked_for_less_and_less_often"
    ),
    (
        "tests/integration/dunning/test_recovery.py"
        "::test_a_bank_that_takes_weeks_puts_the_end_of_service_off_by_two_of_them"
    ),
    (
        "tests/integration/dunning/test_recovery.py"
        "::test_3d_secure_that_nobody_told_of_is_found_by_the_calendar"
    ),
    (
        "tests/integration/dunning/test_final_actions.py"
        "::test_out_of_unpaid_by_a_card_confirmed_in_the_browser"
    ),
    (
        "tests/integration/dunning/test_resumed_tries.py"
        "::test_one_command_charges_at_once_what_an_outage_left_for_its_hour"
    ),
    f"{EARLY}::test_a_change_of_plan_credits_what_is_left_of_it[renewed_early]",
    f"{EARLY}::test_a_cancel_gives_back_what_is_left_of_it[renewed_early]",
    f"{EARLY}::test_the_subscription_ends_once_all_its_money_went_back[renewed_early]",
    (
        "tests/integration/coupons/test_next_periods.py"
        "::test_a_coupon_of_a_year_is_off_no_use_of_that_year"
    ),
    f"{KILLS}::test_nothing_is_lost_or_done_twice_when_it_dies_there[api at",
    f"{KILLS}::test_nothing_is_lost_or_done_twice_when_it_dies_there[temporal at",
    f"{KILLS}::test_nothing_is_lost_or_done_twice_when_it_dies_there[postgres at",
    f"{FAST_PATH}::test_a_statement_does_what_the_long_way_would[1]",
    f"{FAST_PATH}::test_a_statement_does_what_the_long_way_would[2]",
)
"""Run with WHOLE=1 alone, for two cores have twenty minutes: tests that start, stop or kill
programs, soaks, and lives by the workflows. The arithmetic of these is tested in memory by the gate
(tests/unit/lives, worked, golden); what their SQL and their routes alone know is not."""
BESIDE: Final = (KILLING, STARTING)
"""The lanes beside the first."""
FIRST: Final = ("tests",)
"""The first lane runs all other tests of these. It names them: pytest would run the settings' test
paths though they are ignored."""
AGAIN: Final = 3
"""So many files with failed tests are asked once more; of more, something is broken. Files are
counted, not tests: all of a file's may wait for one thing that came too late."""
_OPTIONS: Final = ("-o", "empty_parameter_set_mark=fail_at_collect")
"""Cases that are computed, such as one for each route, are an error once there are none."""
_COUNT: Final = re.compile(r"(\d+) (passed|failed|errors?|skipped|xfailed|deselected|warnings?)\b")
_SKIPPED: Final = re.compile(r"^SKIPPED \[(\d+)\] (?:\S+: )?(.+)$", re.M)
_SUMMARY: Final = re.compile(r"^=*\s*(\d+ \w+.*) in [\d.]+s")


def lane(arguments: list[str], cache: Path, output: IO[str] | int | None) -> subprocess.Popen[str]:
    """One pytest on a part of the tests, which notes in `cache` what failed."""
    command = [sys.executable, "-m", "pytest", *_OPTIONS, "-o", f"cache_dir={cache}", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=output, text=True)


def _left_out(path: str) -> str:
    """The option that leaves out a folder, a file, or one test of a file."""
    return f"--deselect={path}" if "::" in path else f"--ignore={path}"


def shown_live(process: subprocess.Popen[str]) -> str:
    """Everything it says, line by line as it comes."""
    said = []
    for line in process.stdout or ():
        sys.stdout.write(line)
        sys.stdout.flush()
        said.append(line)
    return "".join(said)


def counts(said: str) -> Counter[str]:
    """Counts in the last line of a pytest run."""
    last = next((line for line in reversed(said.splitlines()) if _SUMMARY.match(line)), "")
    return Counter({word.rstrip("s"): int(number) for number, word in _COUNT.findall(last)})


def skipped(said: str) -> list[str]:
    """Return each reason with the count of its tests: this machine has no run of them."""
    reasons: Counter[str] = Counter()
    for number, reason in _SKIPPED.findall(said):
        reasons[reason] += int(number)
    return [f"SKIPPED {number}: {reason}" for reason, number in sorted(reasons.items())]


def failed(caches: list[Path]) -> list[str]:
    """The names of the tests that failed in these lanes."""
    noted = (cache / "v/cache/lastfailed" for cache in caches)
    return sorted(name for file in noted if file.exists() for name in json.loads(file.read_text()))


def only_flaky(codes: list[int], names: list[str], folder: Path, left: list[str]) -> bool:
    """True if the lanes ended, tests of a few files in them failed, and those files pass now.

    The whole files, for a test may judge what those before it have left behind.
    """
    files = sorted({name.partition("::")[0] for name in names})
    if not 0 < len(files) <= AGAIN or not set(codes) <= {0, 1}:
        return False
    sys.stdout.write(f"=== once more, alone: {' '.join(files)} ===\n")
    sys.stdout.flush()
    return lane([*files, *left], folder / "again", None).wait() == 0


def verdict(codes: list[int], said: list[str]) -> int:
    """Return 0 if each lane was green and told its counts: a signal's code is below zero."""
    return int(any(codes) or not all(counts(one) for one in said))


def main() -> int:
    """Run all lanes; 0 when all are green."""
    begun = time.monotonic()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        words = [stack.enter_context(tempfile.TemporaryFile("w+")) for _ in BESIDE]
        beside: list[subprocess.Popen[str]] = []
        left = [] if os.environ.get("WHOLE") else [_left_out(path) for path in WHOLE]
        for paths, output in zip(BESIDE, words, strict=True):
            beside.append(lane([*paths, *left], folder / str(len(beside)), output))
            stack.callback(beside[-1].terminate)  # nothing to end, unless this was interrupted
        taken = [path for paths in BESIDE for path in paths]
        own = [*FIRST, *(f"--ignore={path}" for path in taken), *left]
        first = lane(own, folder / "first", subprocess.PIPE)
        said = [shown_live(first)]
        codes = [first.wait(), *(one.wait() for one in beside)]
        for output in words:
            output.seek(0)
            said.append(output.read())
        sys.stdout.write("".join(said[1:]))
        names = failed(list(folder.iterdir()))
        flaky = names if only_flaky(codes, names, folder, left) else []
    for name in flaky:
        sys.stdout.write(f"FLAKY {name}\n")
    for line in skipped("".join(said)):
        sys.stdout.write(f"{line}\n")
    total = sum((counts(one) for one in said), Counter[str]())
    if flaky:
        total["flaky"] = total.pop("failed", 0) + total.pop("error", 0)
    summed = ", ".join(f"{number} {word}" for word, number in sorted(total.items()))
    if left:
        sys.stdout.write(f"{len(left)} files or tests are left to WHOLE=1 (tests/gate.py)\n")
    sys.stdout.write(f"=== {summed} in {time.monotonic() - begun:.2f}s ===\n")
    return 0 if flaky else verdict(codes, said)


if __name__ == "__main__":
    sys.exit(main())
