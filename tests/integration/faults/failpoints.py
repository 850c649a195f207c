"""Places in the running product where somebody is held (billing.core.failpoints)."""

from devstack.stack import StackInfo


class Failpoints:
    """The folder of failpoints of a stack: whoever passes an armed place is held there, once."""

    def __init__(self, stack: StackInfo) -> None:
        self.folder = stack.data / "failpoints"

    def arm(self, place: str, action: str = "pause") -> None:
        """Hold the next one who passes."""
        (self.folder / place).write_text(action)

    def holds(self, place: str) -> bool:
        """True if somebody waits there."""
        return (self.folder / f"{place}.hit").exists()

    def release(self) -> None:
        """Let everybody go, and disarm the rest."""
        for file in self.folder.iterdir():
            file.unlink()
