"""Starts the parts of a stack in order, keeps them alive, and stops them in reverse.

Each part is its own child process; every wait is for health, never a fixed sleep.
"""

import asyncio
import logging
import shutil
import sys
from collections.abc import Callable, Coroutine
from os import getpid
from typing import Any, Final

from cli.errors import StackError
from devstack.control_socket import Orders
from devstack.data_folder import SUPERVISOR, DataFolder, write_private
from devstack.options import CHILDREN, ChildName, Options
from devstack.ports import HOST, Ports
from devstack.postgres import Postgres
from devstack.process import Child, Spec
from devstack.process_specs import (
    NAME,
    api_spec,
    product_settings,
    program_environment,
    sandbox_spec,
    worker_spec,
    working_folder,
)
from devstack.stack import StackInfo
from devstack.temporal import NAMESPACE, Temporal

log = logging.getLogger(__name__)

Report = Callable[[str, str], None]
"""Told what happens while starting: (part, state)."""

PROVISION: Final = "provision"


class Supervisor:
    """One stack on one locked folder; `run_folder` holds its sockets."""

    def __init__(
        self, options: Options, folder: DataFolder, ports: Ports, postgres: Postgres, report: Report
    ) -> None:
        self.options = options
        self.folder = folder
        self.ports = ports
        self.postgres = postgres
        self.report = report
        self.control = postgres.sockets.parent / "control.sock"
        self.temporal = Temporal(folder=folder, ports=ports, ui=options.ui)
        self.settings = product_settings(options, ports, postgres, self.control)
        self.env = program_environment(options, self.settings)
        self.children = self._children()
        self._database_ready = asyncio.Event()
        self.orders = Orders(self.children, self.temporal.forget_everything)

    async def start(self) -> StackInfo:
        """Start everything. Errors: StackError with the sentence of the part that failed."""
        self._keep_last_logs()
        self.folder.note_run_folder(self.control.parent)
        await self._together(
            self._start_postgres(),
            self._provision(),
            self._start("temporal"),
            self._start("sandbox"),
        )
        await self._together(self._start("worker"), self._start("api"))
        await self.orders.listen(self.control)
        info = self._info()
        write_private(self.folder.stack_file, info.model_dump_json(indent=1))
        return info

    async def stop(self) -> None:
        """Stop every part after the parts that use it; leave no process and no socket."""
        self.folder.stack_file.unlink(missing_ok=True)
        self.orders.close()
        for name in reversed(CHILDREN):
            if child := self.children.get(name):
                log.info("stopping %s", name)
                await child.close()
        shutil.rmtree(self.control.parent, ignore_errors=True)
        self.folder.unlock()

    def _children(self) -> dict[ChildName, Child]:
        makers: dict[ChildName, Callable[[], Spec]] = {
            "postgres": self.postgres.spec,
            "temporal": self.temporal.spec,
            "sandbox": lambda: sandbox_spec(self.options, self.ports, self.env),
            "worker": lambda: worker_spec(self.options, self.ports, self.env),
            "api": lambda: api_spec(self.options, self.ports, self.env),
        }
        return {
            name: Child(makers[name](), self.folder)
            for name in CHILDREN
            if name in self.options.children
        }

    async def _start(self, name: ChildName) -> None:
        if child := self.children.get(name):
            self.report(name, "starting")
            await child.start()
            self.report(name, "ready")

    async def _start_postgres(self) -> None:
        if "postgres" not in self.children:
            return
        self.report("postgres", "starting")
        await asyncio.to_thread(self.postgres.initialize)
        await self.children["postgres"].start()
        await self.postgres.set_roles()
        self._database_ready.set()
        self.report("postgres", "ready")

    async def _provision(self) -> None:
        """Run migrations and catalog in a process that loads while the database starts."""
        if "postgres" not in self.children or not self.options.provision:
            return
        self.report(PROVISION, "starting")
        file = self.folder.logs / f"{PROVISION}.log"
        with file.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "cli.provision", "--wait"),
                env=self.env,
                cwd=working_folder(self.options),
                stdin=asyncio.subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=self.folder.inherited,
            )
        self.folder.note(PROVISION, process.pid)
        try:
            await self._database_ready.wait()
            await process.communicate(b"go\n")
        except asyncio.CancelledError:
            process.terminate()
            await process.wait()
            raise
        finally:
            self.folder.forget(PROVISION)
        if process.returncode != 0:
            said = file.read_text(errors="replace").strip().splitlines()[-1:]
            raise StackError(f"the database could not be set up: {' '.join(said)} (see {file})")
        self.report(PROVISION, "ready")

    @staticmethod
    async def _together(*starts: Coroutine[Any, Any, None]) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for start in starts:
                    group.create_task(start)
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    def _keep_last_logs(self) -> None:
        """Keep one log per part and run; the previous run's becomes `<part>.last.log`."""
        for file in self.folder.logs.glob("*.log"):
            part = file.name.split(".")[0]
            if part != SUPERVISOR and not file.name.endswith(".last.log"):
                file.replace(file.with_name(f"{part}.last.log"))

    def _info(self) -> StackInfo:
        at = f"http://{HOST}"
        secrets = self.postgres.secrets
        return StackInfo(
            pid=getpid(),
            data=self.options.data,
            logs=self.folder.logs,
            control=self.control,
            profile=self.options.profile,
            children=tuple(self.children),
            ui=self.options.ui,
            ports=self.ports,
            api_url=f"{at}:{self.ports.api}",
            api_docs_url=f"{at}:{self.ports.api}/docs",
            api_metrics_url=f"{at}:{self.ports.api_metrics}/metrics",
            worker_metrics_url=f"{at}:{self.ports.worker_metrics}/metrics",
            sandbox_url=f"{at}:{self.ports.sandbox}",
            temporal_address=self.temporal.address,
            temporal_namespace=NAMESPACE,
            temporal_ui_url=f"{at}:{self.ports.temporal_ui}/namespaces/{NAMESPACE}/workflows",
            temporal_metrics_url=f"{at}:{self.ports.temporal_metrics}/metrics",
            app_url=self.settings["DATABASE_URL"],
            operator_url=self.settings["DATABASE_OPERATOR_URL"],
            owner_url=self.settings["DATABASE_OWNER_URL"],
            superuser_url=self.postgres.url("postgres", secrets.superuser_password),
            postgres_url=self.postgres.tcp_url("billing_app", secrets.app_password),
            jwt_secret=self.settings["JWT_SECRET"],
            jwt_audience=NAME,
            jwt_issuer=NAME,
            stripe_secret_key=self.settings["STRIPE_SECRET_KEY"],
            stripe_webhook_secret=self.settings["STRIPE_WEBHOOK_SECRET"],
            env=self.settings,
        )
