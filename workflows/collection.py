"""A collection: pursue one open invoice whose subscription has ended."""

from temporalio import workflow

from billing.money.collecting.rules import Collecting, CollectionState, collection_agenda
from workflows.contracts import MatterRef
from workflows.dunning_updates import CollectingWorkflow
from workflows.policies import FOLLOWS_RELEASES


@workflow.defn(name="Collection", versioning_behavior=FOLLOWS_RELEASES)
class CollectionWorkflow(CollectingWorkflow[CollectionState]):
    """One workflow per invoice, `collection/{invoice}`; closes when paid, forgiven or given up."""

    kind = "collection"
    state_type = CollectionState
    agenda = staticmethod(collection_agenda)

    @workflow.run
    async def run(self, _: MatterRef) -> None:
        """Run until the agenda is empty."""
        await self.run_until_done()

    def collected(self) -> tuple[Collecting, ...]:
        invoice = self.state.invoice if self.state is not None else None
        return (invoice,) if invoice is not None else ()
