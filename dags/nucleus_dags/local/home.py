"""The folder of everything that the servers and tasks of one person write, and the record of what runs.

The folder is `nucleus-data/` of the repository, or `NUCLEUS_HOME`: `inbox/` (plates to work on), `results/` (segmented
plates by name), `store/` (all results), `experiments/` (a person's own matrices), `airflow/`, `mlflow/` and `logs/` of
the servers, which no other user of the machine reads, `login.json`, and `servers.json`, which says what runs.

`python -m nucleus_dags.local.home` prints it, for the Makefile.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path

from nucleus_dags.files import make_folder, read_if_whole, write_whole
from nucleus_dags.local.processes import Server

RESTORING = "restoring.json"
"""Is in the folder while a backup is being restored into it."""
REPOSITORY = Path(__file__).resolve().parents[3]
VISIBLE, HIDDEN = "nucleus-data", ".nucleus"
"""Names of the folder in the repository, now and in earlier versions."""
ACCOUNT = "admin"
OPEN_FOLDERS = ("inbox", "results", "store", "experiments")
"""Others may put plates or matrices of experiments into them, and read results, if the owner lets them."""
PRIVATE_FOLDERS = ("airflow", "mlflow", "logs")
"""They hold databases, keys and logs: who reads the keys can be anybody to Airflow."""


@dataclass
class Servers:
    """What `servers.json` holds."""

    airflow_url: str
    mlflow_url: str
    processes: dict[str, Server] = field(default_factory=dict)


@dataclass(frozen=True)
class Home:
    """The folder of everything that the servers and tasks write."""

    folder: Path

    @property
    def inbox(self) -> Path:
        return self.folder / "inbox"

    @property
    def store(self) -> Path:
        return self.folder / "store"

    @property
    def results(self) -> Path:
        """Segmented plates by the names of plate and model."""
        return self.folder / "results"

    @property
    def manifest(self) -> Path:
        """What tasks and methods say of themselves, those of installed packages too."""
        return self.folder / "manifest.json"

    @property
    def is_half_restored(self) -> bool:
        return (self.folder / RESTORING).exists()

    def database(self, program: str) -> Path:
        """Of "airflow" or "mlflow"."""
        return self.folder / program / f"{program}.db"

    @property
    def login_file(self) -> Path:
        """The password of this installation by the name of its account, for Airflow and for MLflow."""
        return self.folder / "login.json"

    def log(self, server: str) -> Path:
        return self.folder / "logs" / f"{server}.log"

    def make_folders(self) -> None:
        for name in OPEN_FOLDERS + PRIVATE_FOLDERS:
            make_folder(self.folder / name)
        for name in PRIVATE_FOLDERS:
            (self.folder / name).chmod(0o700)

    def login(self) -> tuple[str, str]:
        """Give name and password of this installation's account; the password is made when there is none yet."""
        accounts = read_if_whole(self.login_file)
        if not accounts:
            accounts = {ACCOUNT: secrets.token_urlsafe(18)}
            write_whole(self.login_file, accounts, mode=0o600)
        self.login_file.chmod(0o600)
        return next(iter(accounts.items()))

    def read_servers(self) -> Servers | None:
        """Give what runs; None when nothing does, and no processes if the record of them is damaged."""
        if not self._servers_file.exists():
            return None
        content = read_if_whole(self._servers_file)
        if content is None:
            return Servers("", "")
        processes = {name: Server(**server) for name, server in content.pop("processes").items()}
        return Servers(**content, processes=processes)

    def write_servers(self, servers: Servers) -> None:
        write_whole(self._servers_file, asdict(servers))

    def forget_servers(self) -> None:
        self._servers_file.unlink(missing_ok=True)

    @property
    def _servers_file(self) -> Path:
        return self.folder / "servers.json"


def home_of_environment() -> Home:
    chosen = os.environ.get("NUCLEUS_HOME")
    return Home((Path(chosen) if chosen else home_in(REPOSITORY)).resolve())


def home_in(repository: Path) -> Path:
    """Give the folder in a repository. What an earlier version began in the hidden one goes on there.

    It isn't moved by itself: notes, what waits in Airflow's database and the environments of third-party tools name it.
    """
    visible, hidden = repository / VISIBLE, repository / HIDDEN
    return hidden if (hidden / "store").is_dir() and not (visible / "store").is_dir() else visible


if __name__ == "__main__":
    print(home_of_environment().folder)
