"""Every workflow the worker runs; a new matter adds one line."""

from workflows.account import AccountWorkflow
from workflows.card_usage import ChargeUsageWorkflow
from workflows.clock import ClockWorkflow
from workflows.collection import CollectionWorkflow
from workflows.job import JobWorkflow
from workflows.purchase import PurchaseWorkflow
from workflows.reconciliation import ReconciliationWorkflow
from workflows.reversal import ReversalWorkflow
from workflows.subscription import SubscriptionWorkflow
from workflows.trial import TrialWorkflow

WORKFLOWS = [
    PurchaseWorkflow,
    TrialWorkflow,
    SubscriptionWorkflow,
    CollectionWorkflow,
    ChargeUsageWorkflow,
    ReversalWorkflow,
    AccountWorkflow,
    ClockWorkflow,
    ReconciliationWorkflow,
    JobWorkflow,
]
