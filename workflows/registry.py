"""Every workflow the worker runs; a new matter adds one line."""

from workflows.purchase import PurchaseWorkflow
from workflows.trial import TrialWorkflow

WORKFLOWS = [PurchaseWorkflow, TrialWorkflow]
