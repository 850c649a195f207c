"""An integrator that follows the events of an account as docs/integrate.md says."""

from dataclasses import dataclass, field

from tests.integration.actors import Customer

PATH = "/billing/events"


@dataclass
class Follower:
    """It keeps what it was told by number."""

    customer: Customer
    after: int = 0
    told: dict[int, str] = field(default_factory=dict)
    rewound_to: list[int] = field(default_factory=list)

    async def go_on(self) -> None:
        """Handle all that there is."""
        while True:
            answer = await self.customer.call("GET", f"{PATH}?after={self.after}&limit=3")
            page = answer.json()
            if page.get("code") == "EVENTS_REWOUND":
                self.after = page["next_after"]
                self.rewound_to.append(self.after)
                continue
            assert answer.status_code == 200, answer.text
            for event in page["data"]:
                known = self.told.setdefault(event["seq"], event["event_id"])
                assert known == event["event_id"], f"{event['seq']} was another event's before"
            self.after = page["next_after"]
            if not page["has_more"]:
                return

    async def missed(self) -> list[str]:
        """Numbers and types of what the database has and nobody told."""
        rows = await self.customer.rows(
            "SELECT seq, type FROM events WHERE account_id = %(me)s ORDER BY seq"
        )
        return [f"{row['seq']} {row['type']}" for row in rows if row["seq"] not in self.told]
