"""Every workflow the worker runs; a new matter adds one line."""

from workflows.purchase import PurchaseWorkflow

WORKFLOWS = [PurchaseWorkflow]
