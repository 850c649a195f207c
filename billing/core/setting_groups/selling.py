"""Settings of what is sold, and of how long records are kept."""

from typing import Literal

from pydantic import BaseModel, Field

from billing.core.setting_groups.forms import KeptDays


class SellingSettings(BaseModel):
    """Trials, purchases, credits and events of usage."""

    trial_days: int = Field(14, ge=1, le=730)
    trial_credits: int = Field(500, ge=1, le=10**12)
    purchase_expiry_hours: int = Field(
        24, ge=1, le=17_520, validation_alias="BILLING_PURCHASE_EXPIRY_HOURS"
    )
    manual_expiry_days: int = Field(14, ge=1, le=730, validation_alias="BILLING_MANUAL_EXPIRY_DAYS")
    cycle_credits_at: Literal["payment", "start"] = Field(
        "payment", validation_alias="BILLING_CYCLE_CREDITS_AT"
    )
    expiry_notice_days: int = Field(7, ge=1, le=90, validation_alias="BILLING_EXPIRY_NOTICE_DAYS")
    # True: publish an event for each recorded use, not only for reached thresholds.
    publish_usage: bool = Field(False, validation_alias="BILLING_PUBLISH_USAGE")
    manual_four_eyes: bool = Field(False, validation_alias="BILLING_MANUAL_FOUR_EYES")


class ComparingSettings(BaseModel):
    """The daily comparison with the provider."""

    # So many discrepancies raise no alert.
    reconcile_alert_above: int = Field(0, ge=0, validation_alias="BILLING_RECONCILE_ALERT_ABOVE")


class RetentionSettings(BaseModel):
    """Days of real time that records are kept; 0: forever. Financial records are never deleted."""

    retention_inbox_days: KeptDays = Field(90, validation_alias="BILLING_RETENTION_INBOX_DAYS")
    retention_outbox_days: KeptDays = Field(30, validation_alias="BILLING_RETENTION_OUTBOX_DAYS")
    retention_claims_days: KeptDays = Field(7, validation_alias="BILLING_RETENTION_CLAIMS_DAYS")
    retention_reconciliations_days: KeptDays = Field(
        90, validation_alias="BILLING_RETENTION_RECONCILIATIONS_DAYS"
    )
